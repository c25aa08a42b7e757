//! The invocation of a func: its name and its encoded arguments. The function that `#[func]`
//! generates in place of the user's makes it, [`Session::run`](crate::Session::run) runs it.

use std::fmt;
use std::marker::PhantomData;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::pipeline::func::held::{Held, holding, receiving};

/// Most bytes of encoded arguments. They are sent to each machine: larger data belongs into a file
/// or a slice.
const ARGUMENT_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A call of a func, for [`Session::run`](crate::Session::run).
///
/// Calling a function that is marked with [`func`](macro@crate::func) does not run it, but returns
/// an invocation. Every process that needs the slice runs the function with these arguments.
pub struct Invocation<T> {
    call: Result<Call>,
    /// The values that the arguments refer to, such as results of runs.
    held: Vec<Held>,
    row: PhantomData<fn() -> T>,
}

/// The name of a func and its arguments.
#[derive(Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) arguments: Arc<[u8]>,
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}({} bytes)", self.name, self.arguments.len())
    }
}

impl<T> Invocation<T> {
    /// The call, and the values that it holds.
    ///
    /// # Errors
    /// When its arguments could not be encoded.
    pub(crate) fn into_parts(self) -> Result<(Call, Vec<Held>)> {
        Ok((self.call?, self.held))
    }
}

impl<T> Clone for Invocation<T> {
    fn clone(&self) -> Self {
        Self { call: self.call.clone(), held: self.held.clone(), row: PhantomData }
    }
}

impl<T> fmt::Debug for Invocation<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Invocation").field(&self.call).finish()
    }
}

/// Makes an invocation. Called by the code that `#[func]` generates.
pub fn invoke<T, A: Serialize>(name: &'static str, arguments: &A) -> Invocation<T> {
    let (arguments, held) = holding(|| encode(name, arguments));
    let call = arguments.map(|arguments| Call { name: name.to_owned(), arguments });
    Invocation { call, held, row: PhantomData }
}

fn encode(name: &str, arguments: &impl Serialize) -> Result<Arc<[u8]>> {
    let bytes = postcard::to_allocvec(arguments).map_err(|e| {
        Error::query(format!("the arguments of the func \"{name}\" cannot be encoded: {e}"))
    })?;
    if bytes.len() > ARGUMENT_BYTES_MAX {
        let (mib, most) = (bytes.len() >> 20, ARGUMENT_BYTES_MAX >> 20);
        return Err(Error::query(format!(
            "the arguments of the func \"{name}\" take {mib} MiB, but at most {most} MiB can be sent to \
             a machine"
        )));
    }
    Ok(bytes.into())
}

/// Decodes arguments. Called by the code that `#[func]` generates.
pub fn decode<A: DeserializeOwned>(bytes: &[u8]) -> Result<A> {
    receiving(|| postcard::from_bytes(bytes)).map_err(|e| {
        Error::query(format!(
            "the arguments of a func cannot be decoded: {e} (types whose encoding is not fixed, such \
             as untagged enums, cannot be arguments)"
        ))
    })
}
