//! The plan of a run: its slice, split into stages. A stage ends where rows move: at each exchange
//! of a wide node, and at the root. Driver and workers split the same tree, so they name a stage by
//! its number.
//!
//! ```text
//!   source ─ map ─┐                         stages, inputs first:
//!                 ├ cogroup ─ map (root)    0: source ─ map
//!   source ───────┘                         1: source
//!                                           2: cogroup ─ map, reads 0 and 1
//! ```

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::SchemaRef;

use crate::base::wire::number;
use crate::error::Result;
use crate::pipeline::func::Built;
use crate::pipeline::slice::Steps;
use crate::pipeline::slice::{Narrow, Node, Op, Pragma, Shards, Source, Split};
use bigslice_files::sink::SinkSpec;

/// The number of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct StageId(pub(crate) usize);

/// A stage: its tasks run the same operators.
pub(crate) struct Stage {
    /// The last node of the stage; there is one task for each of its shards.
    pub(crate) node: Arc<Node>,
    pub(crate) before: Option<Arc<dyn Narrow>>,
    /// The schema of the stored rows.
    pub(crate) schema: SchemaRef,
    pub(crate) split: Split,
    /// The wide node that reads the rows, whose number of shards they are split into; `None` for
    /// the root, which is not split.
    pub(crate) reader: Option<Arc<Node>>,
    /// The stages that it reads.
    pub(crate) inputs: Vec<StageId>,
    /// The sources that it reads.
    pub(crate) sources: Vec<usize>,
    pub(crate) pragmas: Pragmas,
}

/// The pragmas of a stage, combined from those of its nodes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pragmas {
    /// Slots of a machine that a task takes; 0 is 1.
    pub(crate) procs: usize,
    /// True if a task takes all slots of a machine.
    pub(crate) exclusive: bool,
    /// True if a retried task gives the same rows, false if it may not; `None` if neither was
    /// declared.
    pub(crate) deterministic: Option<bool>,
}

impl Pragmas {
    /// The slots that a task takes of a machine that has `most`.
    pub(crate) fn slots(&self, most: usize) -> usize {
        if self.exclusive { most } else { self.procs.clamp(1, most.max(1)) }
    }

    /// The pragmas of the stage that ends with `node`. `rows_vary` is true if the work after it
    /// depends on an order that may change.
    fn of(node: &Arc<Node>, rows_vary: bool) -> Self {
        let mut pragmas = Self { deterministic: rows_vary.then_some(false), ..Self::default() };
        let mut node = node;
        loop {
            pragmas.note(node);
            node = match &node.op {
                Op::Narrow { input, .. } | Op::Sink { input, .. } => input,
                Op::Source(_) | Op::Wide { .. } => return pragmas,
                Op::Union(inputs) => {
                    let branches = inputs.iter().map(|input| Self::of(input, false));
                    let below = branches.reduce(|mut all, other| {
                        all.join(other);
                        all
                    });
                    let below = below.unwrap_or_default();
                    pragmas.procs = pragmas.procs.max(below.procs);
                    pragmas.exclusive |= below.exclusive;
                    pragmas.deterministic = pragmas.deterministic.or(below.deterministic);
                    return pragmas;
                }
            };
        }
    }

    /// Adds the pragma of a node below those seen so far.
    fn note(&mut self, node: &Node) {
        match node.pragma {
            Some(Pragma::Procs(n)) => self.procs = self.procs.max(n),
            Some(Pragma::Exclusive) => self.exclusive = true,
            Some(Pragma::Deterministic(said)) => {
                self.deterministic.get_or_insert(said);
            }
            None => {}
        }
        if node.rows_vary() {
            self.deterministic.get_or_insert(false);
        }
    }

    /// Adds the pragmas of another branch of the stage.
    fn join(&mut self, other: Self) {
        self.procs = self.procs.max(other.procs);
        self.exclusive |= other.exclusive;
        // One nondeterministic branch is enough; deterministic they must all be.
        self.deterministic = match (self.deterministic, other.deterministic) {
            (Some(false), _) | (_, Some(false)) => Some(false),
            (Some(true), Some(true)) => Some(true),
            _ => None,
        };
    }
}

/// A slice, split into stages.
pub(crate) struct Plan {
    pub(crate) steps: Steps,
    pub(crate) stages: Vec<Stage>,
    pub(crate) sources: Vec<Arc<dyn Source>>,
    /// The stages that each wide node reads, and the number of each source, by the addresses of the
    /// nodes, which the stages hold.
    wide: HashMap<usize, Vec<StageId>>,
    source_ids: HashMap<usize, usize>,
    /// The nodes of sinks, and the number of each by its address.
    sinks: Vec<Arc<Node>>,
    sink_ids: HashMap<usize, usize>,
}

impl Plan {
    /// Splits a slice into stages.
    pub(crate) fn of(built: Built) -> Self {
        let Built { root, steps } = built;
        let mut plan = Self {
            steps,
            stages: Vec::new(),
            sources: Vec::new(),
            wide: HashMap::new(),
            source_ids: HashMap::new(),
            sinks: Vec::new(),
            sink_ids: HashMap::new(),
        };
        let mut reads = Reads::default();
        plan.visit(&root, &mut reads);
        let schema = Arc::clone(&root.schema);
        let Reads { inputs, sources } = reads;
        let pragmas = Pragmas::of(&root, false);
        plan.stages.push(Stage {
            node: root,
            before: None,
            schema,
            split: Split::One,
            reader: None,
            inputs,
            sources,
            pragmas,
        });
        plan
    }

    /// Checks the numbers that the user gave to the verbs.
    ///
    /// # Errors
    /// See [`Node::check`].
    pub(crate) fn check(&self) -> Result<()> {
        self.stages.iter().try_for_each(|stage| check(&stage.node))
    }

    /// The stage whose shards are the result.
    pub(crate) fn root(&self) -> StageId {
        StageId(self.stages.len() - 1)
    }

    /// The stages that a wide node reads.
    pub(crate) fn exchanges(&self, node: &Arc<Node>) -> &[StageId] {
        self.wide.get(&address(node)).map_or(&[], Vec::as_slice)
    }

    /// The number of a source.
    pub(crate) fn source_id(&self, node: &Arc<Node>) -> Option<usize> {
        self.source_ids.get(&address(node)).copied()
    }

    /// The sinks, each with its number of shards.
    pub(crate) fn sinks(&self, source_shards: &[u32]) -> Vec<(Arc<SinkSpec>, usize)> {
        let sinks = self.sinks.iter().filter_map(|node| match &node.op {
            Op::Sink { spec, .. } => Some((Arc::clone(spec), self.shards(node, source_shards))),
            _ => None,
        });
        sinks.collect()
    }

    /// The node of a sink.
    pub(crate) fn sink(&self, id: u32) -> Option<&Arc<Node>> {
        self.sinks.get(id as usize)
    }

    /// The number of a sink.
    pub(crate) fn sink_id(&self, node: &Arc<Node>) -> Option<usize> {
        self.sink_ids.get(&address(node)).copied()
    }

    /// The sinks that one task of a stage writes, each with its shard; the last sink first.
    ///
    /// # Errors
    /// When there are more sinks or shards than a message can number.
    pub(crate) fn sinks_of(
        &self,
        stage: &Stage,
        task: usize,
        source_shards: &[u32],
    ) -> Result<Vec<(u32, u32)>> {
        let mut found = Vec::new();
        let (mut node, mut shard) = (&stage.node, task);
        loop {
            node = match &node.op {
                Op::Source(_) | Op::Wide { .. } => return Ok(found),
                Op::Narrow { input, .. } => input,
                Op::Sink { input, .. } => {
                    if let Some(id) = self.sink_id(node) {
                        found.push((number(id, "sinks")?, number(shard, "shards")?));
                    }
                    input
                }
                Op::Union(inputs) => {
                    let own = inputs.iter().find(|input| {
                        let shards = self.shards(input, source_shards);
                        let own = shard < shards;
                        shard -= if own { 0 } else { shards };
                        own
                    });
                    match own {
                        Some(input) => input,
                        None => return Ok(found),
                    }
                }
            };
        }
    }

    /// The number of shards of a node, given those of the sources.
    pub(crate) fn shards(&self, node: &Arc<Node>, source_shards: &[u32]) -> usize {
        match &node.op {
            Op::Source(_) => {
                let id = self.source_id(node);
                id.and_then(|id| source_shards.get(id)).map_or(0, |n| *n as usize)
            }
            Op::Narrow { input, .. } | Op::Sink { input, .. } => self.shards(input, source_shards),
            Op::Union(inputs) => inputs.iter().map(|i| self.shards(i, source_shards)).sum(),
            Op::Wide { shards: Shards::Exactly(n), .. } => *n,
            Op::Wide { inputs, shards: Shards::As(n), .. } => {
                inputs.get(*n).map_or(0, |e| self.shards(&e.input, source_shards))
            }
            Op::Wide { inputs, .. } => {
                let of_input = inputs.iter().map(|e| self.shards(&e.input, source_shards));
                of_input.max().unwrap_or(0)
            }
        }
    }

    /// The number of tasks of a stage.
    pub(crate) fn tasks(&self, stage: StageId, source_shards: &[u32]) -> usize {
        self.stages.get(stage.0).map_or(0, |stage| self.shards(&stage.node, source_shards))
    }

    /// The number of partitions that the rows of a stage are split into.
    pub(crate) fn splits(&self, stage: &Stage, source_shards: &[u32]) -> usize {
        match (&stage.split, &stage.reader) {
            (Split::Keep | Split::One, _) | (_, None) => 1,
            (_, Some(reader)) => self.shards(reader, source_shards),
        }
    }

    /// The shards of a source that one task of a stage reads.
    pub(crate) fn shards_read(
        &self,
        stage: &Stage,
        task: usize,
        source: usize,
        source_shards: &[u32],
    ) -> Vec<usize> {
        let mut found = Vec::new();
        self.find_shards(&stage.node, task, source, source_shards, &mut found);
        found
    }

    fn find_shards(
        &self,
        node: &Arc<Node>,
        shard: usize,
        source: usize,
        source_shards: &[u32],
        found: &mut Vec<usize>,
    ) {
        match &node.op {
            Op::Source(_) if self.source_id(node) == Some(source) => push_new(found, shard),
            Op::Source(_) | Op::Wide { .. } => {}
            Op::Narrow { input, .. } | Op::Sink { input, .. } => {
                self.find_shards(input, shard, source, source_shards, found);
            }
            Op::Union(inputs) => {
                let mut shard = shard;
                for input in inputs {
                    let shards = self.shards(input, source_shards);
                    if shard < shards {
                        self.find_shards(input, shard, source, source_shards, found);
                        return;
                    }
                    shard -= shards;
                }
            }
        }
    }

    fn visit(&mut self, node: &Arc<Node>, reads: &mut Reads) {
        match &node.op {
            Op::Source(source) => {
                let next = self.sources.len();
                let id = *self.source_ids.entry(address(node)).or_insert(next);
                if id == next {
                    self.sources.push(Arc::clone(source));
                }
                push_new(&mut reads.sources, id);
            }
            Op::Narrow { input, .. } => self.visit(input, reads),
            Op::Sink { input, .. } => {
                let next = self.sinks.len();
                let id = *self.sink_ids.entry(address(node)).or_insert(next);
                if id == next {
                    self.sinks.push(Arc::clone(node));
                }
                self.visit(input, reads);
            }
            Op::Union(inputs) => inputs.iter().for_each(|input| self.visit(input, reads)),
            Op::Wide { inputs, .. } => {
                let stages = match self.wide.get(&address(node)) {
                    Some(stages) => stages.clone(),
                    None => {
                        let cut = inputs.iter().map(|exchange| {
                            let mut reads = Reads::default();
                            self.visit(&exchange.input, &mut reads);
                            self.stages.push(Stage {
                                node: Arc::clone(&exchange.input),
                                before: exchange.before.clone(),
                                schema: Arc::clone(&exchange.schema),
                                split: exchange.split.clone(),
                                reader: Some(Arc::clone(node)),
                                inputs: reads.inputs,
                                sources: reads.sources,
                                pragmas: Pragmas::of(&exchange.input, exchange.rows_vary()),
                            });
                            StageId(self.stages.len() - 1)
                        });
                        let cut: Vec<StageId> = cut.collect();
                        self.wide.insert(address(node), cut.clone());
                        cut
                    }
                };
                stages.into_iter().for_each(|stage| push_new(&mut reads.inputs, stage));
            }
        }
    }
}

/// Checks a node and those that its stage computes it from.
fn check(node: &Node) -> Result<()> {
    node.check()?;
    match &node.op {
        Op::Narrow { input, .. } | Op::Sink { input, .. } => check(input),
        Op::Union(inputs) => inputs.iter().try_for_each(|input| check(input)),
        Op::Source(_) | Op::Wide { .. } => Ok(()),
    }
}

fn address(node: &Arc<Node>) -> usize {
    Arc::as_ptr(node).addr()
}

/// The stages and sources that a stage reads.
#[derive(Default)]
struct Reads {
    inputs: Vec<StageId>,
    sources: Vec<usize>,
}

fn push_new<T: PartialEq>(list: &mut Vec<T>, item: T) {
    if !list.contains(&item) {
        list.push(item);
    }
}
