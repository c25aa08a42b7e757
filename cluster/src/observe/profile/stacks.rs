//! The sampled stacks of one process.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// How often a process is interrupted per second of processor time, on each of its cores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hertz(u32);

impl Hertz {
    /// From 1 to 1000: a higher rate would distort the profile.
    ///
    /// # Errors
    /// If it is out of range.
    pub fn new(per_second: u32) -> Result<Self> {
        const MAX: u32 = 1000;
        match per_second {
            1..=MAX => Ok(Self(per_second)),
            _ => Err(Error::Profile(format!(
                "{per_second} samples a second: must be from 1 to {MAX}"
            ))),
        }
    }

    /// The rate.
    pub fn per_second(self) -> u32 {
        self.0
    }

    /// The time that a sample represents.
    pub(crate) fn period_nanos(self) -> u64 {
        1_000_000_000 / u64::from(self.0)
    }
}

impl Default for Hertz {
    /// 99, so that work done a hundred times a second is not always met at the same point.
    fn default() -> Self {
        Self(99)
    }
}

/// A function, or an inlined part of one, on a stack.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Function {
    /// Its name in the source.
    pub(crate) name: String,
    /// Its file; empty if unknown.
    pub(crate) file: String,
    /// Its line; 0 if unknown.
    pub(crate) line: u32,
}

/// A stack of threads with one name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stack {
    pub(crate) thread: String,
    /// Indices of functions, the innermost first.
    pub(crate) frames: Vec<u32>,
    pub(crate) samples: u64,
}

/// The stacks of one process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stacks {
    pub(crate) hertz: Hertz,
    pub(crate) functions: Vec<Function>,
    pub(crate) stacks: Vec<Stack>,
    /// Samples of stacks that were left out because there were too many.
    pub(crate) omitted: u64,
}

impl Stacks {
    /// The number of samples.
    pub(crate) fn samples(&self) -> u64 {
        self.stacks.iter().map(|stack| stack.samples).sum()
    }

    /// The functions of a stack, the innermost first. The data of a machine is not trusted.
    pub(crate) fn frames<'a>(
        &'a self,
        stack: &'a Stack,
    ) -> impl DoubleEndedIterator<Item = &'a Function> {
        stack.frames.iter().filter_map(|index| self.functions.get(*index as usize))
    }
}
