//! What `#[map]` makes of a function, and how a machine finds it: by its name, among those that
//! were linked into the program.

use std::fmt;
use std::pin::Pin;
use std::sync::LazyLock;

use bigslice_cluster::{Linked, LinkedItems, NotLinked};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Error, Result};

/// A function that [`Session::map`](crate::Session::map) can have called on machines: what
/// [`#[bigslice::map]`](macro@crate::map) makes of one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be mapped over items",
    label = "not marked with #[bigslice::map]",
    note = "machines call a function by its name: mark it with #[bigslice::map], and give it what a \
            closure would capture as a part of each item"
)]
pub trait MapFunction: Copy + Send + Sync + 'static {
    /// Its argument; a tuple if it has several.
    type Item: Serialize + DeserializeOwned + Send + 'static;
    /// Its result.
    type Output: Serialize + DeserializeOwned + Send + 'static;

    /// Its entry in the registry.
    #[doc(hidden)]
    const MAPPING: Mapping;
}

/// The encoded result of a call, or an error.
type Outcome = Result<Vec<u8>, String>;

/// A call whose item is decoded.
pub enum Pending {
    /// Computes or blocks; runs on a thread of its own.
    Blocking(Box<dyn FnOnce() -> Outcome + Send>),
    /// An async function.
    Waiting(Pin<Box<dyn Future<Output = Outcome> + Send>>),
}

impl fmt::Debug for Pending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Pending")
    }
}

impl Pending {
    /// A call of a function.
    ///
    /// # Errors
    /// When the item cannot be decoded.
    pub fn blocking<I, O>(bytes: &[u8], call: fn(I) -> Result<O, String>) -> Result<Self, String>
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize + 'static,
    {
        let item: I = decode(bytes)?;
        Ok(Self::Blocking(Box::new(move || call(item).and_then(|output| encode(&output)))))
    }

    /// A call of an async function.
    ///
    /// # Errors
    /// When the item cannot be decoded.
    pub fn waiting<I, O, F>(bytes: &[u8], call: fn(I) -> F) -> Result<Self, String>
    where
        I: DeserializeOwned + Send + 'static,
        O: Serialize,
        F: Future<Output = Result<O, String>> + Send + 'static,
    {
        let item: I = decode(bytes)?;
        Ok(Self::Waiting(Box::pin(async move { call(item).await.and_then(|o| encode(&o)) })))
    }
}

fn decode<I: DeserializeOwned>(bytes: &[u8]) -> Result<I, String> {
    postcard::from_bytes(bytes).map_err(|e| {
        format!(
            "the item cannot be decoded: {e} (types whose encoding is not fixed, such as untagged enums, \
             cannot be items)"
        )
    })
}

fn encode(output: &impl Serialize) -> Outcome {
    postcard::to_allocvec(output).map_err(|e| format!("the result cannot be encoded: {e}"))
}

/// A function as it registers itself.
#[derive(Debug, Clone, Copy)]
pub struct Mapping {
    /// Its path: the module's and its own name.
    pub name: &'static str,
    /// The file it is in.
    pub file: &'static str,
    /// The line it begins at.
    pub line: u32,
    /// Decodes an item and gets the call ready.
    pub call: fn(&[u8]) -> Result<Pending, String>,
}

inventory::collect!(Mapping);

impl Linked for Mapping {
    const KIND: &'static str = "#[map] function";

    fn name(&self) -> &'static str {
        self.name
    }

    fn location(&self) -> (&'static str, u32) {
        (self.file, self.line)
    }
}

static MAPPINGS: LazyLock<LinkedItems<Mapping>> =
    LazyLock::new(|| LinkedItems::new(inventory::iter::<Mapping>()));

impl Mapping {
    /// Its name and location, for errors.
    pub(super) fn place(&self) -> String {
        self.described()
    }

    /// The function with this name, which must be at the same place as in the caller's program.
    pub(super) fn find(name: &str, place: &str) -> Result<Self> {
        MAPPINGS.check().map_err(Error::query)?;
        let missing = |NotLinked { hint, .. }| {
            let message = format!("the program of this machine has no #[map] function \"{name}\"");
            Error::query(message).hinted(hint)
        };
        let mapping = MAPPINGS.find(name).map_err(missing)?;
        if mapping.place() != place {
            return Err(Error::query(format!(
                "the program of this machine differs from the driver's: it has {}, and the driver has \
                 {place}",
                mapping.place()
            )));
        }
        Ok(*mapping)
    }
}

/// The result of a function that can fail.
#[diagnostic::on_unimplemented(
    message = "a mapped function cannot return `{Self}`",
    label = "not a `Result` whose error can be shown",
    note = "a mapped function returns any value that serde can encode, or a `Result` of one"
)]
pub trait Fallible {
    /// The value of success.
    type Output;

    /// The result, with the error as text.
    ///
    /// # Errors
    /// What the function returned.
    fn into_text_error(self) -> Result<Self::Output, String>;
}

impl<T, E: fmt::Display> Fallible for Result<T, E> {
    type Output = T;

    fn into_text_error(self) -> Result<T, String> {
        self.map_err(|error| error.to_string())
    }
}
