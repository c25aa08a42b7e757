//! All funcs of this binary, by name. They register themselves when the program is linked, so that
//! the order of calls and files means nothing; driver and worker compare their registries.

use std::collections::BTreeMap;
use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, LazyLock};

use crate::error::{Error, Result};
use crate::pipeline::func::Call;
use crate::pipeline::slice::{Node, Slice, Steps, recording};
use crate::row::Row;

/// A func as it registers itself.
#[derive(Debug, Clone, Copy)]
pub struct Func {
    /// Its path: the module's and its own name.
    pub name: &'static str,
    /// The file it is in.
    pub file: &'static str,
    /// The line it begins at.
    pub line: u32,
    /// Decodes arguments and builds the slice.
    pub build: fn(&[u8]) -> Result<Built>,
}

inventory::collect!(Func);

/// The slice that a func has built.
pub struct Built {
    pub(crate) root: Arc<Node>,
    pub(crate) steps: Steps,
}

impl Built {
    /// Of a slice of any rows.
    pub fn of<T: Row>(slice: Slice<T>) -> Self {
        Self { root: slice.into_node(), steps: Steps::default() }
    }
}

impl fmt::Debug for Built {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Built").field("steps", &self.steps).finish_non_exhaustive()
    }
}

/// What a func may return.
pub trait IntoSlice {
    /// What the slice is of.
    type Row: Row;

    /// The slice, or why there is none.
    ///
    /// # Errors
    /// What the func returned.
    fn into_slice(self) -> Result<Slice<Self::Row>>;
}

impl<T: Row> IntoSlice for Slice<T> {
    type Row = T;

    fn into_slice(self) -> Result<Self> {
        Ok(self)
    }
}

impl<T: Row, E: fmt::Display> IntoSlice for Result<Slice<T>, E> {
    type Row = T;

    fn into_slice(self) -> Result<Slice<T>> {
        self.map_err(|e| Error::query(e.to_string()))
    }
}

/// The funcs of this binary.
#[derive(Debug)]
pub(crate) struct Registry {
    funcs: BTreeMap<&'static str, Func>,
    twice: Option<(Func, Func)>,
    digest: u64,
}

static REGISTRY: LazyLock<Registry> =
    LazyLock::new(|| Registry::of(inventory::iter::<Func>().copied()));

/// The registry of this process.
pub(crate) fn registry() -> &'static Registry {
    &REGISTRY
}

impl Registry {
    fn of(found: impl Iterator<Item = Func>) -> Self {
        let mut funcs = BTreeMap::new();
        let mut twice = None;
        for func in found {
            if let Some(other) = funcs.insert(func.name, func) {
                twice = Some((other, func));
            }
        }
        let mut hasher = DefaultHasher::new();
        for func in funcs.values() {
            (func.name, func.file, func.line).hash(&mut hasher);
        }
        Self { funcs, twice, digest: hasher.finish() }
    }

    /// Equal in processes with the same funcs at the same places.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// One line for each func, in order.
    pub(crate) fn lines(&self) -> Vec<String> {
        let funcs = self.funcs.values();
        funcs.map(|func| format!("{} at {}:{}", func.name, func.file, func.line)).collect()
    }

    /// Calls a func.
    pub(crate) fn build(&self, call: &Call) -> Result<Built> {
        if let Some((one, other)) = &self.twice {
            return Err(Error::query(format!(
                "there are two funcs \"{}\", at {}:{} and at {}:{}",
                one.name, one.file, one.line, other.file, other.line
            )));
        }
        let Some(func) = self.funcs.get(call.name.as_str()) else {
            let hint = bigslice_files::did_you_mean(&call.name, self.funcs.keys().copied());
            let message = format!("this program has no func \"{}\"", call.name);
            return Err(Error::query(message).hinted(hint));
        };
        let (built, steps) = recording(|| (func.build)(&call.arguments));
        let built = built.map_err(|e| e.within(&format!("in the func \"{}\"", call.name)))?;
        Ok(Built { steps, ..built })
    }
}

/// The lines that only one of two lists has, marked `-` for the first and `+` for the second.
pub(crate) fn difference(ours: &[String], theirs: &[String]) -> String {
    let only = |mark: char, these: &[String], those: &[String]| {
        let alone = these.iter().filter(|line| !those.contains(line));
        alone.map(|line| format!("{mark} {line}")).collect::<Vec<_>>()
    };
    let mut lines = only('-', ours, theirs);
    lines.extend(only('+', theirs, ours));
    lines.join("\n")
}
