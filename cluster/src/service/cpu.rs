//! The threads that run services' methods, separate from the I/O runtime: a method that computes
//! must not delay a lease. Started when the first service is set up; a worker without services has
//! none.

use std::fmt;

use parking_lot::Mutex;
use tokio::runtime::{Builder, Handle, Runtime};

use crate::error::{Error, Result};

/// One runtime with a thread per core. In-process machines share one, as they share the cores.
#[derive(Default)]
pub(crate) struct Cpu {
    runtime: Mutex<Option<Runtime>>,
}

impl Cpu {
    /// The runtime, started at the first use.
    pub(crate) fn handle(&self) -> Result<Handle> {
        let mut runtime = self.runtime.lock();
        if let Some(runtime) = runtime.as_ref() {
            return Ok(runtime.handle().clone());
        }
        let started = Builder::new_multi_thread()
            .thread_name("bigslice-service")
            .enable_all()
            .build()
            .map_err(Error::io("start the runtime of the services"))?;
        Ok(runtime.insert(started).handle().clone())
    }
}

impl Drop for Cpu {
    /// Does not wait for methods that compute: a thread of a runtime may drop this.
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.get_mut().take() {
            runtime.shutdown_background();
        }
    }
}

impl fmt::Debug for Cpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cpu").finish_non_exhaustive()
    }
}
