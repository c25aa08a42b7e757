//! The services of this program. They register themselves when it is linked, so that the order of
//! files means nothing; driver and worker compare what they have before a machine is taken.

use std::any::Any;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures::future::BoxFuture;
use serde::de::DeserializeOwned;

use crate::error::BoxError;
use crate::requirements::{Requirements, Services};
use crate::service::context::ServiceContext;
use crate::service::incoming::{Answering, Incoming};

/// Methods that only one of two programs has; more than these say nothing more.
const DIFFERENCES_SHOWN_MAX: usize = 8;

/// The value of a service, whatever its type.
pub(crate) type Shared = Arc<dyn Any + Send + Sync>;

/// A service's value on its way: decoded, then set up by its `init`.
pub type SettingUp = BoxFuture<'static, Result<Arc<dyn Any + Send + Sync>, BoxError>>;

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
    /// Its types, as they are written.
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

/// Decodes a service's value or a call's arguments.
///
/// # Errors
/// If they are not what the other side says they are.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, BoxError> {
    postcard::from_bytes(bytes).map_err(|e| format!("could not decode its value: {e}").into())
}

/// Gives a value to all calls of a service.
pub fn share<S: Send + Sync + 'static>(service: S) -> Arc<dyn Any + Send + Sync> {
    Arc::new(service)
}

/// The services of this program by name.
///
/// # Errors
/// If two have the same.
pub(crate) fn registered() -> Result<BTreeMap<&'static str, &'static Registered>, String> {
    let mut services = BTreeMap::new();
    for service in inventory::iter::<Registered> {
        if let Some(other) = services.insert(service.name, service) {
            return Err(format!(
                "there are two services \"{}\", at {}:{} and at {}:{}",
                service.name, other.file, other.line, service.file, service.line
            ));
        }
    }
    Ok(services)
}

/// One line for each method of each service, in order: what driver and worker compare.
fn lines() -> Vec<String> {
    let mut lines: Vec<String> = inventory::iter::<Registered>
        .into_iter()
        .flat_map(|service| {
            let Registered { name, file, line, methods, .. } = *service;
            methods.iter().map(move |method| {
                let Entry { name: method, signature, .. } = method;
                format!("{name}::{method} {signature} at {file}:{line}")
            })
        })
        .collect();
    lines.sort_unstable();
    lines
}

impl Requirements {
    /// Those of a driver with `services`.
    pub fn of(services: &Services) -> Self {
        Self { registry: lines(), services: services.list().to_vec() }
    }

    /// Whether this program is the driver's, as far as services tell.
    pub(crate) fn compare(&self) -> Result<(), String> {
        let here = lines();
        if here == self.registry {
            return Ok(());
        }
        let only = |mark: char, these: &[String], those: &[String]| {
            let alone = || these.iter().filter(|line| those.binary_search(line).is_err());
            let shown = alone().take(DIFFERENCES_SHOWN_MAX);
            let mut text: String = shown.map(|line| format!("\n{mark} {line}")).collect();
            if let n @ 1.. = alone().count().saturating_sub(DIFFERENCES_SHOWN_MAX) {
                text.push_str(&format!("\n{mark} and {n} more"));
            }
            text
        };
        Err(format!(
            "driver and worker have different services (-: only the driver, +: only the worker); \
             start both from one build{}{}",
            only('-', &self.registry, &here),
            only('+', &here, &self.registry)
        ))
    }
}
