//! All funcs of this binary, by name. They register themselves when the program is linked, so that
//! the order of calls and files does not matter. Driver and worker compare their registries.

use std::fmt;
use std::sync::{Arc, LazyLock};

pub(crate) use bigslice_cluster::difference;
use bigslice_cluster::{Linked, LinkedItems, NotLinked};

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
    funcs: LinkedItems<Func>,
    digest: u64,
}

static REGISTRY: LazyLock<Registry> = LazyLock::new(|| {
    let funcs = LinkedItems::new(inventory::iter::<Func>());
    Registry { digest: funcs.digest(), funcs }
});

/// The registry of this process.
pub(crate) fn registry() -> &'static Registry {
    &REGISTRY
}

impl Linked for Func {
    const KIND: &'static str = "func";

    fn name(&self) -> &'static str {
        self.name
    }

    fn location(&self) -> (&'static str, u32) {
        (self.file, self.line)
    }
}

impl Registry {
    /// Equal in processes with the same funcs at the same places.
    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// One line for each func, in order.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.funcs.lines()
    }

    /// Calls a func.
    pub(crate) fn build(&self, call: &Call) -> Result<Built> {
        self.funcs.check().map_err(Error::query)?;
        let missing = |NotLinked { message, hint }| Error::query(message).hinted(hint);
        let func = self.funcs.find(&call.name).map_err(missing)?;
        let (built, steps) = recording(|| (func.build)(&call.arguments));
        let built = built.map_err(|e| e.within(&format!("in the func \"{}\"", call.name)))?;
        Ok(Built { steps, ..built })
    }
}
