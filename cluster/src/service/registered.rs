//! The services of this program. They register themselves when it is linked, so that the order of
//! files does not matter. Driver and worker compare them before a machine is used.

use std::fmt;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::error::BoxError;
use crate::linked::{Linked, LinkedItems, difference};
use crate::requirements::{Requirements, Services};
use crate::service::context::ServiceContext;
use crate::service::incoming::{Answering, Incoming};
use crate::service::value::Shared;

/// The future of a service's value: decoded, then set up by its `init`.
pub type SettingUp = BoxFuture<'static, Result<Shared, BoxError>>;

/// A service as it registers itself.
#[derive(Clone, Copy)]
pub struct Registered {
    /// Its path: the module's and its own name.
    pub name: &'static str,
    /// The file it is in.
    pub file: &'static str,
    /// The line it begins at.
    pub line: u32,
    /// Its methods.
    pub methods: &'static [Entry],
    /// Makes its value on a machine.
    pub set_up: fn(Bytes, ServiceContext) -> SettingUp,
}

/// A method of a service.
#[derive(Clone, Copy)]
pub struct Entry {
    /// Its name.
    pub name: &'static str,
    /// Its types, as in the source.
    pub signature: &'static str,
    /// Answers a call.
    pub answer: fn(Incoming) -> Answering,
}

inventory::collect!(Registered);

impl fmt::Debug for Registered {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Registered({} at {}:{})", self.name, self.file, self.line)
    }
}

impl fmt::Debug for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Entry({}{})", self.name, self.signature)
    }
}

impl Linked for Registered {
    const KIND: &'static str = "service";

    fn name(&self) -> &'static str {
        self.name
    }

    fn location(&self) -> (&'static str, u32) {
        (self.file, self.line)
    }

    /// One line for each method.
    fn lines(&self) -> Vec<String> {
        let Self { name, file, line, methods, .. } = *self;
        let line = |method: &Entry| {
            let Entry { name: method, signature, .. } = *method;
            format!("{name}::{method} {signature} at {file}:{line}")
        };
        methods.iter().map(line).collect()
    }
}

/// The services of this program.
pub(crate) fn registered() -> LinkedItems<Registered> {
    LinkedItems::new(inventory::iter::<Registered>())
}

impl Requirements {
    /// What a driver with `services` requires.
    pub fn of(services: &Services) -> Self {
        Self { registry: registered().lines(), services: services.list().to_vec() }
    }

    /// Checks that this program has the services of the driver's program.
    pub(crate) fn compare(&self) -> Result<(), String> {
        let here = registered().lines();
        if here == self.registry {
            return Ok(());
        }
        Err(format!(
            "driver and worker have different services (-: only the driver, +: only the worker); \
             start both from one build\n{}",
            difference(&self.registry, &here)
        ))
    }
}
