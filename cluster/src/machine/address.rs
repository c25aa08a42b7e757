//! The address of a machine, as a value that can be sent: services pass it to each other as an
//! argument and dial it with [`ServiceContext::dial`](crate::ServiceContext::dial).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use url::Url;

use crate::error::{Error, Result};
use crate::identity::MachineName;
use crate::security::connector::Connector;

/// The address of a machine with its name, of the form `https://<host>:<port>/<machine>`. An
/// address grants no access: certificates do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    url: Url,
    machine: MachineName,
}

impl Address {
    /// Parses `url`.
    ///
    /// # Errors
    /// If its path does not name a machine.
    pub fn new(url: Url) -> Result<Self> {
        match Connector::machine_of(&url) {
            Some(machine) => Ok(Self { url, machine }),
            None => Err(Error::Identity(format!("\"{url}\" does not name a machine"))),
        }
    }

    /// The name of the machine that must answer there.
    pub fn machine(&self) -> &MachineName {
        &self.machine
    }

    /// The address as a URL.
    pub fn url(&self) -> &Url {
        &self.url
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.url.fmt(f)
    }
}

impl FromStr for Address {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let url = Url::parse(text)
            .map_err(|e| Error::Identity(format!("\"{text}\" is not an address: {e}")))?;
        Self::new(url)
    }
}

impl TryFrom<String> for Address {
    type Error = Error;

    fn try_from(text: String) -> Result<Self> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        address.url.into()
    }
}
