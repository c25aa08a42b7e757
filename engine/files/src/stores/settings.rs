//! Settings of buckets: their names in SQL, secrets that never print, and their form on the wire.
//!
//! [`StoreOptions`] is what a user wrote in `OPTIONS (...)`; [`WorkerStores`] is what the driver
//! resolved and gives to workers.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use datafusion::error::Result;
use object_store::aws::AmazonS3ConfigKey;
use serde::{Deserialize, Serialize};

use crate::error::{SourceError, SourceErrorKind};

/// A value that neither `Debug` nor `Display` shows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Secret(String);

impl Secret {
    /// Wraps a value.
    pub(crate) fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value, for the one place that signs or sends it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

/// Keys and values for one bucket, by the canonical names of `object_store` (`aws_region`, ...).
/// `profile` is the one key of our own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct StoreOptions(BTreeMap<String, Secret>);

/// The key for a profile of the shared AWS files.
pub(crate) const PROFILE: &str = "profile";

impl StoreOptions {
    /// Is this key of an `OPTIONS` list about a store? `Some` with its canonical name when it is.
    ///
    /// `format.*` and the bare names of formats are not ours. A key that begins with `aws.` or
    /// `s3.` is ours in any case, so that a misspelled one is an error and never shown.
    pub(crate) fn canonical(key: &str) -> Option<Result<String>> {
        let lower = key.to_ascii_lowercase();
        let (ours, name) = match lower.split_once('.') {
            Some(("aws" | "s3", name)) => (true, name.to_owned()),
            Some(_) => return None,
            None => (lower.starts_with("aws_"), lower.clone()),
        };
        if name == PROFILE || name == "aws_profile" {
            return Some(Ok(PROFILE.to_owned()));
        }
        match AmazonS3ConfigKey::from_str(&name) {
            Ok(key) => Some(Ok(key.as_ref().to_owned())),
            Err(_) if ours => Some(Err(SourceError::new(
                SourceErrorKind::Invalid,
                format!("unknown option \"{key}\" of a store"),
            )
            .hint(
                "known are aws.access_key_id, aws.secret_access_key, aws.session_token, \
                 aws.region, aws.endpoint, aws.allow_http, aws.skip_signature, aws.profile and \
                 aws.virtual_hosted_style_request",
            )
            .into_datafusion())),
            Err(_) => None,
        }
    }

    /// Sets a canonical key.
    pub(crate) fn set(&mut self, key: String, value: String) {
        self.0.insert(key, Secret::new(value));
    }

    /// The value of a canonical key, if it is set and not empty.
    pub(crate) fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(Secret::expose).filter(|value| !value.is_empty())
    }

    /// True if nothing is set.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All keys and values.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(key, value)| (key.as_str(), value.expose()))
    }
}

/// Credentials as they are at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Credentials {
    /// The access key.
    pub(crate) key_id: Secret,
    /// The secret key.
    pub(crate) secret: Secret,
    /// The session token of temporary credentials.
    pub(crate) token: Option<Secret>,
}

/// One bucket as the driver resolved it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ResolvedBucket {
    /// The bucket.
    pub(crate) bucket: String,
    /// Canonical keys and values, without credentials.
    pub(crate) config: BTreeMap<String, Secret>,
    /// None: requests are not signed.
    pub(crate) credentials: Option<Credentials>,
}

/// What workers need to open the stores of the driver: sensitive, for a channel that is
/// encrypted and authenticated, and nowhere else.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStores {
    /// The buckets that the driver has opened so far.
    pub(crate) buckets: Vec<ResolvedBucket>,
}

impl WorkerStores {
    /// True if there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.buckets.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn aliases_have_one_name() {
        for key in ["aws.access_key_id", "access_key_id", "AWS_ACCESS_KEY_ID", "s3.access_key_id"] {
            assert_eq!(
                StoreOptions::canonical(key).unwrap().unwrap(),
                "aws_access_key_id",
                "{key}"
            );
        }
        assert_eq!(StoreOptions::canonical("aws.profile").unwrap().unwrap(), "profile");
        assert_eq!(StoreOptions::canonical("aws.allow_http").unwrap().unwrap(), "allow_http");
        assert!(StoreOptions::canonical("format.delimiter").is_none());
        assert!(StoreOptions::canonical("has_header").is_none());
        assert!(StoreOptions::canonical("aws.secret_acess_key").unwrap().is_err());
    }

    #[test]
    fn nothing_secret_prints() {
        let mut options = StoreOptions::default();
        options.set("aws_secret_access_key".to_owned(), "hunter2".to_owned());
        let credentials = Credentials {
            key_id: Secret::new("AKIA"),
            secret: Secret::new("hunter2"),
            token: Some(Secret::new("hunter2")),
        };
        let printed = format!("{options:?} {credentials:?} {:#?}", Secret::new("hunter2"));
        assert!(!printed.contains("hunter2"), "{printed}");
    }
}
