//! The services of a driver's machines, with their values.

use crate::error::{Error, Result};
use crate::requirements::{Services, Setup};
use crate::service::method::Service;

impl Services {
    /// Adds `service`, whose value is sent to each machine.
    ///
    /// # Errors
    /// If there is already one of this type, or serde cannot encode the value.
    pub fn with<S: Service>(mut self, service: &S) -> Result<Self> {
        let refuse = |reason| Error::Service { service: S::NAME.to_owned(), reason };
        if self.list.iter().any(|setup| setup.service == S::NAME) {
            return Err(refuse("it is already in the list".to_owned()));
        }
        let value = postcard::to_stdvec(service)
            .map_err(|e| refuse(format!("its value cannot be encoded: {e}")))?;
        self.list.push(Setup { service: S::NAME.to_owned(), value });
        Ok(self)
    }
}
