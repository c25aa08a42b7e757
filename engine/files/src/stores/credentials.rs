//! Credentials for a bucket, found where the AWS tools find them, in their order: options of the
//! statement, environment, profile, web identity, container, instance role.
//!
//! The files and services are asked through `aws-config`, with what the command line read of the
//! environment; nothing is asked before a request is signed.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use aws_config::ecs::EcsCredentialsProvider;
use aws_config::imds::credentials::ImdsCredentialsProvider;
use aws_config::meta::region::ProvideRegion;
#[expect(deprecated, reason = "the crate that they moved to is not a dependency of this one")]
use aws_config::profile::profile_file::{ProfileFileKind, ProfileFiles};
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::web_identity_token::{StaticConfiguration, WebIdentityTokenCredentialsProvider};
use aws_config::{BehaviorVersion, Region, imds};
use aws_credential_types::provider::ProvideCredentials;
use aws_credential_types::provider::error::CredentialsError;
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};
use bigslice_diagnostics::root_cause;
use object_store::aws::AwsCredential;
use object_store::client::CredentialProvider;
use tokio::sync::Mutex;

use crate::environment::Environment;
use crate::error::{SourceError, SourceErrorKind};
use crate::stores::settings::{PROFILE, StoreOptions};

/// Credentials are replaced when they are good for less than this: longer than a request takes.
const REFRESH_BEFORE: Duration = Duration::from_mins(5);

/// The timeout of the search for an instance role. Nothing answers outside of EC2.
const INSTANCE_ROLE_TIMEOUT: Duration = Duration::from_secs(1);

/// The origin of the credentials of a bucket.
#[derive(Debug)]
pub(crate) struct Chain {
    bucket: String,
    links: Vec<(&'static str, Arc<dyn ProvideCredentials>)>,
    current: Mutex<Option<Current>>,
}

#[derive(Debug, Clone)]
struct Current {
    credential: Arc<AwsCredential>,
    expires: Option<SystemTime>,
}

impl Current {
    fn is_good_for(&self, time: Duration) -> bool {
        self.expires.is_none_or(|expires| expires > SystemTime::now() + time)
    }
}

/// The credentials that options or environment give explicitly; an error when half of them
/// is missing.
pub(crate) fn stated(
    options: &StoreOptions,
    environment: &Environment,
) -> Result<Option<AwsCredential>, SourceError> {
    let (key, secret, token) = (
        options.get("aws_access_key_id"),
        options.get("aws_secret_access_key"),
        options.get("aws_session_token"),
    );
    if key.is_some() || secret.is_some() {
        return pair("the options", key, secret, token).map(Some);
    }
    if options.get(PROFILE).is_some() {
        return Ok(None);
    }
    let (key, secret, token) = (
        environment.get("AWS_ACCESS_KEY_ID"),
        environment.get("AWS_SECRET_ACCESS_KEY"),
        environment.get("AWS_SESSION_TOKEN"),
    );
    if key.is_some() || secret.is_some() {
        return pair("the environment", key, secret, token).map(Some);
    }
    Ok(None)
}

fn pair(
    place: &str,
    key: Option<&str>,
    secret: Option<&str>,
    token: Option<&str>,
) -> Result<AwsCredential, SourceError> {
    match (key, secret) {
        (Some(key), Some(secret)) => Ok(AwsCredential {
            key_id: key.to_owned(),
            secret_key: secret.to_owned(),
            token: token.map(str::to_owned),
        }),
        (key, _) => {
            let (given, missing) = match key {
                Some(_) => ("an access key", "secret access key"),
                None => ("a secret access key", "access key"),
            };
            Err(SourceError::new(
                SourceErrorKind::Denied,
                format!("{place} give {given} for S3, but no {missing}"),
            ))
        }
    }
}

/// The region of the profile, if there is a profile with one.
pub(crate) async fn profile_region(
    options: &StoreOptions,
    environment: &Environment,
) -> Option<String> {
    let mut region = ProfileFileRegionProvider::builder()
        .configure(&provider_config(None))
        .profile_files(profile_files(environment));
    if let Some(name) = profile_name(options, environment) {
        region = region.profile_name(name);
    }
    Some(region.build().region().await?.as_ref().to_owned())
}

/// The `endpoint_url` of the profile, which `aws-config` reads for its own clients alone.
pub(crate) fn profile_endpoint(
    options: &StoreOptions,
    environment: &Environment,
) -> Option<String> {
    let path = shared_file(environment, "AWS_CONFIG_FILE", "config")?;
    let text = std::fs::read_to_string(path).ok()?;
    let name = profile_name(options, environment).unwrap_or_else(|| "default".to_owned());
    endpoint_in(&text, &name).map(str::to_owned)
}

fn endpoint_in<'a>(text: &'a str, profile: &str) -> Option<&'a str> {
    let mut within = false;
    for line in text.lines() {
        if let Some(section) = line.trim().strip_prefix('[') {
            let section = section.split(']').next().unwrap_or_default();
            let name = section.strip_prefix("profile").unwrap_or(section).trim();
            within = name == profile;
        } else if within && !line.starts_with(char::is_whitespace) {
            // Indented lines belong to a setting with parts, such as those of one service.
            let found = line.split_once('=').filter(|(key, _)| key.trim() == "endpoint_url");
            if let Some((_, value)) = found {
                return Some(value.trim());
            }
        }
    }
    None
}

impl Chain {
    /// Everything that has to be asked, in its order.
    pub(crate) fn new(
        bucket: &str,
        options: &StoreOptions,
        environment: &Environment,
        region: &str,
    ) -> Self {
        let config = provider_config(Some(region.to_owned()));
        let mut profile = ProfileFileCredentialsProvider::builder()
            .configure(&config)
            .profile_files(profile_files(environment));
        if let Some(name) = profile_name(options, environment) {
            profile = profile.profile_name(name);
        }
        let mut links: Vec<(&'static str, Arc<dyn ProvideCredentials>)> =
            vec![("profile", Arc::new(profile.build()))];
        let explicit = options.get(PROFILE).is_some();
        if !explicit && let Some(link) = web_identity(environment, &config) {
            links.push(("web identity", link));
        }
        if !explicit
            && (environment.get("AWS_CONTAINER_CREDENTIALS_RELATIVE_URI").is_some()
                || environment.get("AWS_CONTAINER_CREDENTIALS_FULL_URI").is_some())
        {
            let container = EcsCredentialsProvider::builder().configure(&config).build();
            links.push(("container", Arc::new(container)));
        }
        if !explicit && let Some(link) = instance_role(environment, &config) {
            links.push(("instance role", link));
        }
        Self { bucket: bucket.to_owned(), links, current: Mutex::new(None) }
    }

    async fn find(&self) -> Result<Current, SourceError> {
        for (name, link) in &self.links {
            match link.provide_credentials().await {
                Ok(found) => {
                    let credential = AwsCredential {
                        key_id: found.access_key_id().to_owned(),
                        secret_key: found.secret_access_key().to_owned(),
                        token: found.session_token().map(str::to_owned),
                    };
                    return Ok(Current {
                        credential: Arc::new(credential),
                        expires: found.expiry(),
                    });
                }
                Err(CredentialsError::CredentialsNotLoaded(_)) => {}
                // Without an instance role there is no answer, or one of something else.
                Err(_) if *name == "instance role" => {}
                Err(error) => return Err(self.broken(name, &error)),
            }
        }
        Err(self.none())
    }

    fn broken(&self, link: &str, error: &CredentialsError) -> SourceError {
        let reason = root_cause(error);
        SourceError::new(
            SourceErrorKind::Denied,
            format!(
                "the credentials of the {link} cannot be used for bucket \"{}\": {reason}",
                self.bucket
            ),
        )
    }

    fn none(&self) -> SourceError {
        SourceError::new(
            SourceErrorKind::Denied,
            format!("no AWS credentials were found for bucket \"{}\"", self.bucket),
        )
        .hint(
            "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, or give them in \
             OPTIONS ('aws.access_key_id' '...', 'aws.secret_access_key' '...'); for a public \
             bucket set AWS_SKIP_SIGNATURE=true or OPTIONS ('aws.skip_signature' 'true')",
        )
    }
}

#[async_trait]
impl CredentialProvider for Chain {
    type Credential = AwsCredential;

    async fn get_credential(&self) -> object_store::Result<Arc<AwsCredential>> {
        let mut current = self.current.lock().await;
        if let Some(current) = current.as_ref().filter(|c| c.is_good_for(REFRESH_BEFORE)) {
            return Ok(Arc::clone(&current.credential));
        }
        match self.find().await {
            Ok(found) => {
                let credential = Arc::clone(&found.credential);
                *current = Some(found);
                Ok(credential)
            }
            Err(error) => match current.as_ref().filter(|c| c.is_good_for(Duration::ZERO)) {
                Some(current) => Ok(Arc::clone(&current.credential)),
                None => Err(error.into_store(&self.bucket)),
            },
        }
    }
}

fn provider_config(region: Option<String>) -> ProviderConfig {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    ProviderConfig::without_region()
        .with_behavior_version(Some(BehaviorVersion::v2026_01_12()))
        .with_http_client(http)
        .with_region(region.map(Region::new))
}

fn profile_name(options: &StoreOptions, environment: &Environment) -> Option<String> {
    let name = options.get(PROFILE).or_else(|| environment.get("AWS_PROFILE"));
    name.map(str::to_owned)
}

fn shared_file(environment: &Environment, variable: &str, name: &str) -> Option<PathBuf> {
    match (environment.get(variable), environment.get("HOME")) {
        (Some(path), _) => Some(PathBuf::from(path)),
        (None, Some(home)) => Some(PathBuf::from(home).join(".aws").join(name)),
        (None, None) => None,
    }
}

#[expect(deprecated, reason = "the crate that they moved to is not a dependency of this one")]
fn profile_files(environment: &Environment) -> ProfileFiles {
    let mut files = ProfileFiles::builder();
    let known = [
        (ProfileFileKind::Config, shared_file(environment, "AWS_CONFIG_FILE", "config")),
        (
            ProfileFileKind::Credentials,
            shared_file(environment, "AWS_SHARED_CREDENTIALS_FILE", "credentials"),
        ),
    ];
    for (kind, path) in known {
        // A file that is named and missing would be an error; that it is missing is usual.
        files = match path.filter(|path| path.is_file()) {
            Some(path) => files.with_file(kind, path),
            None => files.with_contents(kind, ""),
        };
    }
    files.build()
}

fn web_identity(
    environment: &Environment,
    config: &ProviderConfig,
) -> Option<Arc<dyn ProvideCredentials>> {
    let configuration = StaticConfiguration {
        web_identity_token_file: environment.get("AWS_WEB_IDENTITY_TOKEN_FILE")?.into(),
        role_arn: environment.get("AWS_ROLE_ARN")?.to_owned(),
        session_name: environment.get("AWS_ROLE_SESSION_NAME").unwrap_or("bigslice").to_owned(),
    };
    let provider = WebIdentityTokenCredentialsProvider::builder()
        .configure(config)
        .static_configuration(configuration)
        .build();
    Some(Arc::new(provider))
}

fn instance_role(
    environment: &Environment,
    config: &ProviderConfig,
) -> Option<Arc<dyn ProvideCredentials>> {
    if environment.get("AWS_EC2_METADATA_DISABLED") == Some("true") {
        return None;
    }
    let mut client = imds::Client::builder()
        .configure(config)
        .max_attempts(1)
        .connect_timeout(INSTANCE_ROLE_TIMEOUT)
        .read_timeout(INSTANCE_ROLE_TIMEOUT);
    if let Some(endpoint) = environment.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") {
        client = client.endpoint(endpoint).ok()?;
    }
    let provider =
        ImdsCredentialsProvider::builder().configure(config).imds_client(client.build()).build();
    Some(Arc::new(provider))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_endpoint_of_a_profile() {
        let text = "[default]\nendpoint_url = http://a\n[profile lab]\ns3 =\n  endpoint_url = http://b\n\
                    endpoint_url=http://c\n";
        assert_eq!(endpoint_in(text, "default"), Some("http://a"));
        assert_eq!(endpoint_in(text, "lab"), Some("http://c"));
        assert_eq!(endpoint_in(text, "other"), None);
    }

    #[test]
    fn half_a_pair_is_an_error() {
        let environment: Environment =
            [("AWS_ACCESS_KEY_ID".to_owned(), "x".to_owned())].into_iter().collect();
        let error = stated(&StoreOptions::default(), &environment).unwrap_err();
        assert!(error.to_string().contains("no secret access key"), "{error}");
    }
}
