//! Settings and credentials of a bucket, decided as the AWS tools do, and a client with them.

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::Arc;

use object_store::aws::{
    AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, AwsCredentialProvider, resolve_bucket_region,
};
use object_store::{Result, StaticCredentialProvider};

use crate::environment::Environment;
use crate::error::{SourceError, SourceErrorKind};
use crate::stores::answer::Asked;
use crate::stores::client::{client_options, retries};
use crate::stores::credentials::{Chain, profile_endpoint, profile_region, stated};
use crate::stores::settings::{PROFILE, Secret, StoreOptions};

/// The default region, which is that of Amazon's own tools and of most other servers.
const DEFAULT_REGION: &str = "us-east-1";

/// Options about credentials: they are not sent as settings, but as what they resolve to.
const CREDENTIAL_KEYS: [&str; 3] =
    ["aws_access_key_id", "aws_secret_access_key", "aws_session_token"];

/// Variables of the environment that are settings of a bucket.
const VARIABLES: [(&str, &str); 7] = [
    ("AWS_ENDPOINT_URL_S3", "aws_endpoint"),
    ("AWS_ENDPOINT_URL", "aws_endpoint"),
    ("AWS_ENDPOINT", "aws_endpoint"),
    ("AWS_ALLOW_HTTP", "allow_http"),
    ("AWS_SKIP_SIGNATURE", "aws_skip_signature"),
    ("AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "aws_virtual_hosted_style_request"),
    ("AWS_REQUEST_PAYER", "aws_request_payer"),
];

/// A bucket that requests can be sent to.
pub(crate) struct Opened {
    /// Its client.
    pub(crate) client: AmazonS3,
    /// The settings it was opened with.
    pub(crate) config: BTreeMap<String, Secret>,
    /// None: requests are not signed.
    pub(crate) credentials: Option<AwsCredentialProvider>,
    /// For the words of errors.
    pub(crate) asked: Arc<Asked>,
}

/// Resolves settings and credentials as the AWS tools do.
pub(crate) async fn find(
    bucket: &str,
    options: &StoreOptions,
    environment: &Environment,
    region: Option<String>,
) -> Result<Opened> {
    let mut config: BTreeMap<String, Secret> = BTreeMap::new();
    for (variable, key) in VARIABLES {
        if let Some(value) = environment.get(variable) {
            config.entry(key.to_owned()).or_insert_with(|| Secret::new(value));
        }
    }
    for (key, value) in options.iter() {
        if !CREDENTIAL_KEYS.contains(&key) && key != PROFILE {
            config.insert(key.to_owned(), Secret::new(value));
        }
    }
    if !config.contains_key("aws_endpoint")
        && let Some(endpoint) = profile_endpoint(options, environment)
    {
        config.insert("aws_endpoint".to_owned(), Secret::new(endpoint));
    }
    let region = match region {
        Some(region) => region,
        None => region_of(bucket, options, environment, &config).await,
    };
    config.remove("aws_default_region");
    config.insert("aws_region".to_owned(), Secret::new(region.clone()));
    let anonymous = is_true(&config, "aws_skip_signature");
    let stated = stated(options, environment).map_err(|e| e.into_store(bucket))?;
    let credentials: Option<AwsCredentialProvider> = match (anonymous, stated) {
        (true, _) => None,
        (false, Some(stated)) => Some(Arc::new(StaticCredentialProvider::new(stated))),
        (false, None) => Some(Arc::new(Chain::new(bucket, options, environment, &region))),
    };
    build(bucket, config, credentials)
}

async fn region_of(
    bucket: &str,
    options: &StoreOptions,
    environment: &Environment,
    config: &BTreeMap<String, Secret>,
) -> String {
    let named = options
        .get("aws_region")
        .or_else(|| options.get("aws_default_region"))
        .or_else(|| environment.get("AWS_REGION"))
        .or_else(|| environment.get("AWS_DEFAULT_REGION"));
    if let Some(region) = named {
        return region.to_owned();
    }
    if let Some(region) = profile_region(options, environment).await {
        return region;
    }
    if !config.contains_key("aws_endpoint")
        && let Ok(region) = resolve_bucket_region(bucket, &client_options()).await
    {
        return region;
    }
    DEFAULT_REGION.to_owned()
}

/// Opens a bucket with settings that are decided.
pub(crate) fn build(
    bucket: &str,
    mut config: BTreeMap<String, Secret>,
    credentials: Option<AwsCredentialProvider>,
) -> Result<Opened> {
    let endpoint = ["aws_endpoint_url_s3", "aws_endpoint"]
        .iter()
        .find_map(|key| config.get(*key))
        .map(|endpoint| endpoint.expose().trim_end_matches('/').to_owned());
    if let Some(endpoint) = &endpoint {
        allow_plain(bucket, endpoint, &mut config)?;
    }
    // A builder of its own, not one of the environment: what counts was decided above.
    let mut builder = AmazonS3Builder::new()
        .with_client_options(client_options())
        .with_retry(retries())
        .with_bucket_name(bucket);
    for (key, value) in &config {
        builder = builder.with_config(AmazonS3ConfigKey::from_str(key)?, value.expose());
    }
    if let Some(endpoint) = &endpoint {
        builder = builder.with_endpoint(endpoint);
    }
    let signed = credentials.is_some();
    builder = match &credentials {
        Some(credentials) => builder.with_credentials(Arc::clone(credentials)),
        None => builder.with_skip_signature(true),
    };
    let region = config.get("aws_region").map_or(DEFAULT_REGION, Secret::expose).to_owned();
    let client = builder.build()?;
    let asked = Asked { bucket: Some(bucket.to_owned()), endpoint, region, signed };
    Ok(Opened { client, config, credentials, asked: Arc::new(asked) })
}

/// A server without TLS has to be asked for, unless it is on this machine.
fn allow_plain(bucket: &str, endpoint: &str, config: &mut BTreeMap<String, Secret>) -> Result<()> {
    let Ok(url) = url::Url::parse(endpoint) else {
        return Err(SourceError::new(
            SourceErrorKind::Invalid,
            format!(
                "the endpoint \"{endpoint}\" for bucket \"{bucket}\" is not a valid web address"
            ),
        )
        .hint("write it as https://host:port")
        .into_store(bucket));
    };
    if url.scheme() != "http" || is_true(config, "allow_http") {
        return Ok(());
    }
    let here = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    };
    if here {
        config.insert("allow_http".to_owned(), Secret::new("true"));
        return Ok(());
    }
    Err(SourceError::new(
        SourceErrorKind::Invalid,
        format!("the endpoint \"{endpoint}\" for bucket \"{bucket}\" is not encrypted"),
    )
    .hint("use https, or allow it: AWS_ALLOW_HTTP=true or OPTIONS ('aws.allow_http' 'true')")
    .into_store(bucket))
}

fn is_true(config: &BTreeMap<String, Secret>, key: &str) -> bool {
    config.get(key).is_some_and(|value| matches!(value.expose(), "true" | "TRUE" | "True" | "1"))
}
