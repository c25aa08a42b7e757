//! A slice as text: verbs, exchanges, and the operators that the optimizer chose.

use std::collections::HashMap;
use std::fmt::Write;
use std::sync::Arc;

use crate::pipeline::slice::Slice;
use crate::pipeline::slice::tree::node::{Exchange, Node, Op, Shards, Split};
use crate::row::Row;

impl<T: Row> Slice<T> {
    /// How the slice is computed: a line for each verb with its place, the last first; what it
    /// reads stands below it. A line `stage` begins what one task does for one shard, and says how
    /// its rows are split for the stage above. Verbs with expressions show their operators; `input
    /// 0` and so on are what stands below.
    ///
    /// ```
    /// use bigslice::expr::{col, lit};
    /// use bigslice::prelude::*;
    ///
    /// let sums = Slice::const_(2, [(1i64, 2i64), (1, 3)])
    ///     .filter_expr(col("_1").gt(lit(2)))?
    ///     .reduce(|a, b| a + b);
    /// let text = sums.explain();
    /// assert!(text.contains("stage 0, split by a hash of 1 column"), "{text}");
    /// assert!(text.contains("FilterExec"), "{text}");
    /// # Ok::<(), Error>(())
    /// ```
    pub fn explain(&self) -> String {
        let mut text = Text::default();
        let stage = text.node(&self.node, 1);
        format!("stage {}, the result\n{stage}", text.stages)
    }
}

#[derive(Default)]
struct Text {
    /// The stages so far: they are numbered as they are cut, inputs first.
    stages: usize,
    /// The stages that a wide node reads, by its address.
    wide: HashMap<usize, Vec<usize>>,
}

impl Text {
    fn node(&mut self, node: &Arc<Node>, depth: usize) -> String {
        let mut text = String::new();
        line(&mut text, depth, &format!("{} at {}", node.verb, node.place));
        let operators = match &node.op {
            Op::Source(source) => source.describe(),
            Op::Narrow { work, .. } => work.describe(),
            Op::Wide { work, .. } => work.describe(),
            Op::Union(_) => Some("union".to_owned()),
            Op::Sink { .. } => None,
        };
        operators.iter().for_each(|operators| lines(&mut text, depth + 1, operators));
        match &node.op {
            Op::Source(_) => {}
            Op::Narrow { input, .. } | Op::Sink { input, .. } => {
                text.push_str(&self.node(input, depth + 1))
            }
            Op::Union(inputs) => {
                inputs.iter().for_each(|input| text.push_str(&self.node(input, depth + 1)));
            }
            Op::Wide { inputs, shards, .. } => {
                if let Shards::Exactly(n) = shards {
                    line(&mut text, depth + 1, &format!("shards: {n}"));
                }
                let address = Arc::as_ptr(node).addr();
                if let Some(stages) = self.wide.get(&address) {
                    for stage in stages {
                        line(&mut text, depth + 1, &format!("stage {stage}, as shown elsewhere"));
                    }
                    return text;
                }
                let mut stages = Vec::new();
                for exchange in inputs {
                    text.push_str(&self.exchange(exchange, depth + 1));
                    stages.push(self.stages - 1);
                }
                self.wide.insert(address, stages);
            }
        }
        text
    }

    fn exchange(&mut self, exchange: &Exchange, depth: usize) -> String {
        let below = self.node(&exchange.input, depth + 1);
        let mut text = String::new();
        let split = match &exchange.split {
            Split::Keep => "each shard as it is".to_owned(),
            Split::ByHash(1) => "split by a hash of 1 column".to_owned(),
            Split::ByHash(n) => format!("split by a hash of {n} columns"),
            Split::By(by) => match by.describe() {
                Some(exprs) => format!("split by a hash of {exprs}"),
                None => "split by a function".to_owned(),
            },
            Split::One => "to one shard".to_owned(),
        };
        line(&mut text, depth, &format!("stage {}, {split}", self.stages));
        self.stages += 1;
        let before = exchange.before.as_ref().and_then(|before| before.describe());
        before.iter().for_each(|operators| lines(&mut text, depth + 1, operators));
        text + &below
    }
}

fn line(text: &mut String, depth: usize, words: &str) {
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{:1$}{words}", "", 2 * depth);
}

fn lines(text: &mut String, depth: usize, words: &str) {
    words.lines().for_each(|words| line(text, depth, words));
}
