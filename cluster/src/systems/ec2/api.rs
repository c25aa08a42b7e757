//! The clients of the AWS APIs, and their errors in terms of the user.

use std::error::Error as StdError;
use std::time::Duration;

use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_ec2::error::{ProvideErrorMetadata, SdkError};
use aws_smithy_http_client::tls::{Provider, rustls_provider::CryptoMode};

use super::spec::Ec2Spec;
use crate::error::{Error, Result, chain};

/// The attempts of a throttled request, with pauses that double. A whole fleet that starts exceeds
/// an account's bucket of requests, which refills with two a second.
const ATTEMPTS_MAX: u32 = 10;
/// The longest of those pauses.
const PAUSE_MAX: Duration = Duration::from_secs(20);
/// EC2 answers within a second or two. A request that hangs is retried.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(30);

/// Credentials and region from the environment and the AWS configuration files, like all AWS tools.
pub(super) async fn load(spec: &Ec2Spec) -> SdkConfig {
    let http = aws_smithy_http_client::Builder::new()
        .tls_provider(Provider::Rustls(CryptoMode::Ring))
        .build_https();
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12()).http_client(http);
    if let Some(region) = &spec.region {
        loader = loader.region(Region::new(region.clone()));
    }
    if let Some(profile) = &spec.profile {
        loader = loader.profile_name(profile);
    }
    loader.load().await
}

/// The region of `spec`, or else that of the configuration.
pub(super) fn region(spec: &Ec2Spec, config: &SdkConfig) -> Result<String> {
    let region = spec.region.clone().or_else(|| config.region().map(ToString::to_string));
    region.ok_or_else(|| {
        Error::Options("no AWS region: set region=eu-west-1, or set AWS_REGION".to_owned())
    })
}

/// The console output of an instance, as far as AWS has it.
pub(super) async fn console(ec2: &aws_sdk_ec2::Client, id: &str) -> Result<String> {
    let call = ec2.get_console_output().instance_id(id).latest(true);
    let latest = call.send().await.map_err(failed(format!("read the console of {id}")));
    let console = match latest {
        // Older types, and instances that have ended, have only the last posted output.
        Err(Error::Cloud { code, .. })
            if ["UnsupportedOperation", "IncorrectInstanceState"].contains(&&*code) =>
        {
            let call = ec2.get_console_output().instance_id(id);
            call.send().await.map_err(failed(format!("read the console of {id}")))?
        }
        latest => latest?,
    };
    let text = console.output().and_then(|text| aws_smithy_types::base64::decode(text).ok());
    Ok(String::from_utf8_lossy(&text.unwrap_or_default()).into_owned())
}

/// The same with our limits of retries and time.
pub(super) fn bounded(config: &SdkConfig) -> SdkConfig {
    let timeouts = TimeoutConfig::builder().operation_attempt_timeout(ATTEMPT_TIMEOUT).build();
    config
        .to_builder()
        .retry_config(
            RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX).with_max_backoff(PAUSE_MAX),
        )
        .timeout_config(timeouts)
        .build()
}

/// Converts an AWS error.
pub(super) fn failed<E, R>(attempt: impl Into<String>) -> impl FnOnce(SdkError<E, R>) -> Error
where
    E: ProvideErrorMetadata + StdError + 'static,
    R: std::fmt::Debug + 'static,
{
    let attempt = attempt.into();
    move |err| {
        let code = err.code().unwrap_or_default().to_owned();
        let said = match (&err, err.message()) {
            (SdkError::ServiceError(_), Some(message)) => message.to_owned(),
            (SdkError::ServiceError(_), None) => format!("AWS answered \"{code}\""),
            _ => chain(&err),
        };
        refused(attempt, code, &said)
    }
}

/// Our error for AWS's error code.
pub(super) fn refused(attempt: String, code: String, said: &str) -> Error {
    let said = said.trim_end_matches('.');
    let reason = match advice(&code, said) {
        Some(advice) => format!("{said}: {advice}"),
        None => said.to_owned(),
    };
    Error::Cloud { attempt, code, reason }
}

/// A hint for the user.
fn advice(code: &str, said: &str) -> Option<&'static str> {
    Some(match code {
        "InsufficientInstanceCapacity" | "Unsupported" | "UnfulfillableCapacity" => {
            "give more instance types (instance=a,instance=b), more subnets, or spot=fallback"
        }
        "VcpuLimitExceeded" | "InstanceLimitExceeded" => {
            "the account's quota of on-demand cores is used up: ask for more in the console under \
             Service Quotas, EC2, \"Running On-Demand Standard instances\", or start fewer machines"
        }
        "MaxSpotInstanceCountExceeded" => {
            "the account's quota of spot cores is used up: ask for more in the console under \
             Service Quotas, EC2, \"All Standard Spot Instance Requests\", or set spot=fallback"
        }
        "VolumeLimitExceeded" => "ask for smaller volumes (root=, data=) or a higher quota",
        "UnauthorizedOperation" | "AccessDeniedException" | "AccessDenied" => {
            "these AWS credentials may not do that: the policy of who runs the driver must allow it \
             (\"cluster setup --print-policy\" prints one that does)"
        }
        "AuthFailure.ServiceLinkedRoleCreationNotPermitted" => {
            "the account has never had spot machines, and EC2 makes itself a role for the first: \
             allow iam:CreateServiceLinkedRole for it (\"cluster setup --print-policy\"), or have \
             the account's owner make it once: aws iam create-service-linked-role \
             --aws-service-name spot.amazonaws.com"
        }
        "AuthFailure"
        | "InvalidClientTokenId"
        | "UnrecognizedClientException"
        | "SignatureDoesNotMatch" => "AWS does not know these credentials: check the profile",
        "RequestExpired" | "ExpiredToken" | "ExpiredTokenException" => {
            "the AWS credentials have expired, or this host's clock is wrong: sign in again"
        }
        "RequestLimitExceeded" | "Throttling" | "ThrottlingException" => {
            "the account makes too many requests: try again in a minute, or start fewer machines"
        }
        "InvalidInstanceType" | "InvalidParameterValue" if said.contains("nstance type") => {
            "there is no such instance type in this region"
        }
        "InvalidAMIID.NotFound" | "InvalidAMIID.Malformed" => {
            "there is no such image in this region"
        }
        "InvalidSubnetID.NotFound" => "there is no such subnet in this region",
        "InvalidGroup.NotFound" | "InvalidGroupId.Malformed" => {
            "there is no such security group in this region"
        }
        "InsufficientFreeAddressesInSubnet" => "give more subnets (subnet=a,subnet=b)",
        "OptInRequired" | "PendingVerification" => {
            "AWS requires an action of the account's owner first"
        }
        "" => {
            "check the network, the credentials (AWS_PROFILE or profile=) and the region (region=)"
        }
        _ => return None,
    })
}

/// Returns true if the same machine may be available in another zone, as another type or on demand.
pub(super) fn elsewhere(err: &Error) -> bool {
    let Error::Cloud { code, reason, .. } = err else { return false };
    match code.as_str() {
        "InsufficientInstanceCapacity"
        | "Unsupported"
        | "UnfulfillableCapacity"
        | "InsufficientFreeAddressesInSubnet"
        | "SpotMaxPriceTooLow"
        | "MaxSpotInstanceCountExceeded" => true,
        // The code of a single launch for an unsupported request.
        "InvalidFleetConfiguration" => reason.contains("not supported in your requested"),
        _ => false,
    }
}

/// Returns true if the launch template is gone.
pub(super) fn templateless(err: &Error) -> bool {
    matches!(err, Error::Cloud { code, .. } if code == "InvalidLaunchTemplateId.NotFound")
}

/// Returns true if the security group is gone.
pub(super) fn groupless(err: &Error) -> bool {
    matches!(err, Error::Cloud { code, .. } if code == "InvalidGroup.NotFound")
}
