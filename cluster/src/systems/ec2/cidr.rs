//! Ranges of addresses, as a user writes them.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A wider network of callers is practically everybody.
const PREFIX_MIN: u8 = 8;
/// A range of IPv4 addresses, as in `203.0.113.7/32`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// An address of the range.
    pub address: Ipv4Addr,
    /// The length of the prefix in bits.
    pub prefix: u8,
}

impl FromStr for Cidr {
    type Err = Error;

    /// Rejects ranges so wide that they are no restriction.
    fn from_str(text: &str) -> Result<Self> {
        let wrong = || {
            Error::Options(format!("\"{text}\" is not a range of addresses such as 203.0.113.7/32"))
        };
        let (address, prefix) = text.split_once('/').unwrap_or((text, "32"));
        let address = address.parse().map_err(|_| wrong())?;
        let prefix = prefix.parse().ok().filter(|p| *p <= 32).ok_or_else(wrong)?;
        if prefix < PREFIX_MIN {
            return Err(Error::Options(format!(
                "\"{text}\" would open the machines to nearly everybody: allow the driver's own \
                 address, such as 203.0.113.7/32"
            )));
        }
        Ok(Self { address, prefix })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}
