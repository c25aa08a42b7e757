//! The stages of a distributed plan as plain values: shown by `EXPLAIN STAGES` and compared in
//! tests.

use std::fmt;
use std::sync::Arc;

use datafusion::datasource::physical_plan::FileGroup;
use datafusion::physical_plan::{
    ExecutionPlan, ExecutionPlanProperties, Partitioning, displayable,
};
use datafusion_distributed::{
    DistributedExec, DistributedLeafExec, NetworkBoundaryExt, NetworkBroadcastExec,
    NetworkCoalesceExec, NetworkShuffleExec, Stage as DistributedStage,
};

use crate::files::file_scan;

/// The number of the stage that the driver runs. The others count from 1.
pub const DRIVER_STAGE: usize = 0;

/// Maximum length of an operator's text, in characters.
const OPERATOR_TEXT_MAX: usize = 160;
/// Maximum length of a line of the printed graph, in characters.
const LINE_MAX: usize = 100;

/// The stages of a plan, each before the stages that it reads from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageGraph {
    /// The stages; the first is the driver's.
    pub stages: Vec<Stage>,
}

/// A part of a plan without exchanges inside, which runs in one or more tasks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stage {
    /// The stage's number in the plan; [`DRIVER_STAGE`] for the driver's.
    pub id: usize,
    /// The number of tasks, each on one machine.
    pub tasks: usize,
    /// The number of partitions that each task writes.
    pub partitions: usize,
    /// The stages that it reads from.
    pub inputs: Vec<Input>,
    /// Its operators, one per line, indented by two spaces per level, without long lists of files.
    /// A line that starts with `<-` is an input.
    pub operators: Vec<String>,
    /// The machines of its tasks, once assigned.
    pub machines: Vec<String>,
}

/// A stage that another stage reads from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Input {
    /// The number of the stage that is read.
    pub stage: usize,
    /// How its rows are exchanged.
    pub exchange: Exchange,
}

/// How rows are exchanged between two stages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exchange {
    /// Each row goes to the task that owns its key.
    Shuffle {
        /// The key expressions.
        by: Vec<String>,
    },
    /// Each row goes to every task.
    Broadcast,
    /// Each row goes to the task that gathers its group of partitions.
    Coalesce,
}

impl StageGraph {
    /// Extracts the stages of a plan; a plan that is not distributed has one.
    pub fn of(plan: &Arc<dyn ExecutionPlan>) -> Self {
        let mut stages = Vec::new();
        read_stage(plan, DRIVER_STAGE, 1, Vec::new(), &mut stages);
        Self { stages }
    }
}

fn read_stage(
    plan: &Arc<dyn ExecutionPlan>,
    id: usize,
    tasks: usize,
    machines: Vec<String>,
    stages: &mut Vec<Stage>,
) {
    let partitions = plan.output_partitioning().partition_count();
    let mut reader = Reader { operators: Vec::new(), inputs: Vec::new(), below: Vec::new() };
    reader.read(plan, 0);
    let Reader { operators, inputs, below } = reader;
    stages.push(Stage { id, tasks, partitions, inputs, operators, machines });
    for stage in below {
        match stage {
            DistributedStage::Local(local) => {
                read_stage(&local.plan, local.num, local.tasks, Vec::new(), stages);
            }
            DistributedStage::Remote(remote) => stages.push(Stage {
                id: remote.num,
                tasks: remote.workers.len(),
                partitions: 0,
                inputs: Vec::new(),
                operators: Vec::new(),
                machines: remote
                    .workers
                    .iter()
                    .map(|url| machine_name(url.path(), url.authority()))
                    .collect(),
            }),
        }
    }
}

/// Collects the operators of a stage and the stages below it.
struct Reader<'a> {
    operators: Vec<String>,
    inputs: Vec<Input>,
    below: Vec<&'a DistributedStage>,
}

impl<'a> Reader<'a> {
    fn read(&mut self, plan: &'a Arc<dyn ExecutionPlan>, depth: usize) {
        let indent = "  ".repeat(depth);
        if let Some((stage, exchange)) = exchange(plan) {
            self.operators.push(format!("{indent}<- stage {}: {exchange}", stage.num()));
            self.inputs.push(Input { stage: stage.num(), exchange });
            self.below.push(stage);
            return;
        }
        if let Some(cut) = plan.downcast_ref::<DistributedExec>() {
            // This node represents the driver, which the stage's heading names.
            cut.children().into_iter().for_each(|child| self.read(child, depth));
            return;
        }
        self.operators.push(format!("{indent}{}", operator_text(plan.as_ref())));
        for child in plan.children() {
            self.read(child, depth + 1);
        }
    }
}

/// The stage below a boundary, and its exchange.
fn exchange(plan: &Arc<dyn ExecutionPlan>) -> Option<(&DistributedStage, Exchange)> {
    let stage = plan.as_network_boundary()?.input_stage();
    let exchange = if plan.is::<NetworkShuffleExec>() {
        let by = match plan.output_partitioning() {
            Partitioning::Hash(exprs, _) => exprs.iter().map(ToString::to_string).collect(),
            _ => Vec::new(),
        };
        Exchange::Shuffle { by }
    } else if plan.is::<NetworkBroadcastExec>() {
        Exchange::Broadcast
    } else {
        debug_assert!(plan.is::<NetworkCoalesceExec>());
        Exchange::Coalesce
    };
    Some((stage, exchange))
}

/// The machine's name is the path of its URL. Other URLs are shown as host and port.
fn machine_name(path: &str, authority: &str) -> String {
    let name = path.trim_matches('/');
    if name.is_empty() { authority.to_owned() } else { name.to_owned() }
}

/// An operator on one line, without file lists and the pruning details of a scan.
pub(crate) fn operator_text(plan: &dyn ExecutionPlan) -> String {
    let text = displayable(plan).one_line().to_string();
    let scan = match plan.downcast_ref::<DistributedLeafExec>() {
        Some(leaf) => file_scan(leaf.original().as_ref()),
        None => file_scan(plan),
    };
    let files = scan.map(|scan| scan.file_groups.iter().map(FileGroup::len).sum::<usize>());
    match files {
        Some(files) => short_text(&without_files(&text, files)),
        None => short_text(&text),
    }
}

/// Replaces `file_groups={...}` by the number of files.
fn without_files(text: &str, files: usize) -> String {
    let Some((before, list)) = text.split_once("file_groups={") else { return text.to_owned() };
    let after = list.split_once("]]}").map_or("", |(_, after)| after);
    format!("{before}files={files}{after}")
}

/// An operator's text, truncated to a readable length.
fn short_text(text: &str) -> String {
    let text = text.trim();
    let text = text.split_once(", pruning_predicate=").map_or(text, |(before, _)| before);
    // A scan that is split among several tasks is still one scan to the reader.
    cut(text.strip_prefix("DistributedLeafExec: ").unwrap_or(text), OPERATOR_TEXT_MAX)
}

fn cut(text: &str, chars_max: usize) -> String {
    if text.chars().count() <= chars_max {
        return text.to_owned();
    }
    let mut cut: String = text.chars().take(chars_max - 3).collect();
    cut.push_str("...");
    cut
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shuffle { by } => write!(f, "shuffle by {}", by.join(", ")),
            Self::Broadcast => f.write_str("broadcast"),
            Self::Coalesce => f.write_str("coalesce"),
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.id == DRIVER_STAGE {
            write!(f, "stage {} (driver)", self.id)?;
        } else {
            write!(f, "stage {}: {}", self.id, count(self.tasks, "task"))?;
            write!(f, ", {} each", count(self.partitions, "partition"))?;
            if !self.machines.is_empty() {
                write!(f, ", on {}", self.machines.join(", "))?;
            }
        }
        for operator in &self.operators {
            write!(f, "\n  {}", cut(operator, LINE_MAX - 2))?;
        }
        Ok(())
    }
}

fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

impl fmt::Display for StageGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, stage) in self.stages.iter().enumerate() {
            if index > 0 {
                f.write_str("\n\n")?;
            }
            write!(f, "{stage}")?;
        }
        Ok(())
    }
}
