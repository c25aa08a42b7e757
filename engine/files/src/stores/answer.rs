//! What a server's refusal means, in a sentence that names bucket, object and server.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use bigslice_diagnostics::{causes, root_cause};
use futures::FutureExt;
use object_store::client::{HttpError, HttpErrorKind};
use object_store::path::Path;
use object_store::{Error, MultipartUpload, PutPayload, PutResult, Result, UploadPart};

use crate::error::{SourceError, SourceErrorKind, kind_of};

/// Who was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    /// The bucket; none for a web server.
    pub(crate) bucket: Option<String>,
    /// The address of the server, if it is not Amazon's.
    pub(crate) endpoint: Option<String>,
    /// The region that requests were signed for.
    pub(crate) region: String,
    /// Requests were signed.
    pub(crate) signed: bool,
}

impl Asked {
    /// The error that says what is wrong, when the answer tells; else the error as it was.
    pub(crate) fn describe(&self, path: Option<&Path>, error: Error) -> Error {
        if kind_of(&error).is_some() {
            return error;
        }
        let object = path.map_or("", |path| path.as_ref());
        match self.meaning(object, &error) {
            Some(meaning) => meaning.into_store(object),
            None => error,
        }
    }

    fn meaning(&self, object: &str, error: &Error) -> Option<SourceError> {
        if let Some(unreachable) = self.unreachable(error) {
            return Some(unreachable);
        }
        let Some(bucket) = self.bucket.as_deref() else {
            return self.of_web_server(object, error);
        };
        let text = error.to_string();
        let has = |codes: &[&str]| codes.iter().any(|code| text.contains(code));
        if has(&["NoSuchBucket"]) {
            return Some(
                missing(format!("there is no bucket \"{bucket}\"{}", self.at()))
                    .hint("check its name, and that the credentials are of the right account"),
            );
        }
        if has(&["InvalidBucketName"]) {
            let message = format!("\"{bucket}\" is not a valid bucket name");
            return Some(
                SourceError::new(SourceErrorKind::Invalid, message)
                    .hint("names have 3 to 63 lower-case letters, digits, dots and hyphens"),
            );
        }
        if let Some(region) = self.region_of(&text) {
            return Some(self.wrong_region(bucket, region.as_deref()));
        }
        self.denied(bucket, object, &text, error).or_else(|| match error {
            Error::NotFound { .. } => {
                Some(missing(format!("bucket \"{bucket}\" has no object \"{object}\"")))
            }
            _ if has(&["503 Service", "SlowDown", "500 Internal"]) => Some(SourceError::new(
                SourceErrorKind::Unreachable,
                format!("the server of bucket \"{bucket}\"{} is too busy to answer", self.at()),
            )),
            _ => None,
        })
    }

    fn denied(&self, bucket: &str, object: &str, text: &str, error: &Error) -> Option<SourceError> {
        let has = |codes: &[&str]| codes.iter().any(|code| text.contains(code));
        let what = |message: String| SourceError::new(SourceErrorKind::Denied, message);
        if has(&["InvalidAccessKeyId", "InvalidClientTokenId"]) {
            let message = format!("the access key for bucket \"{bucket}\"{} is unknown", self.at());
            return Some(what(message).hint(CHECK_CREDENTIALS));
        }
        if has(&["SignatureDoesNotMatch"]) {
            let message = format!("the secret key for bucket \"{bucket}\"{} is wrong", self.at());
            return Some(what(message).hint(CHECK_CREDENTIALS));
        }
        if has(&["ExpiredToken", "TokenRefreshRequired", "InvalidToken"]) {
            let message = format!("the credentials for bucket \"{bucket}\" have expired");
            return Some(what(message).hint("log in again, or set new credentials"));
        }
        if has(&["RequestTimeTooSkewed"]) {
            let message = format!("the clock of this machine is wrong for bucket \"{bucket}\"");
            return Some(what(message).hint("set the time: requests are signed with it"));
        }
        if matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. })
            || has(&["AccessDenied", "AllAccessDisabled", "NotSignedUp"])
        {
            let object = match object {
                "" => String::new(),
                object => format!(" to \"{object}\""),
            };
            let message = format!("access{object} in bucket \"{bucket}\"{} is denied", self.at());
            let hint = match self.signed {
                true => {
                    "the credentials are valid, but they need s3:GetObject, s3:ListBucket or \
                         s3:PutObject for this place"
                }
                false => "the request was not signed (skip_signature): the bucket is not public",
            };
            return Some(what(message).hint(hint));
        }
        None
    }

    fn of_web_server(&self, object: &str, error: &Error) -> Option<SourceError> {
        let server = self.endpoint.as_deref().unwrap_or_default();
        match error {
            Error::NotFound { .. } => {
                Some(missing(format!("there is no file at \"{server}/{object}\"")))
            }
            Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => {
                Some(SourceError::new(
                    SourceErrorKind::Denied,
                    format!("access to \"{server}/{object}\" is denied"),
                ))
            }
            _ => None,
        }
    }

    fn unreachable(&self, error: &Error) -> Option<SourceError> {
        let http = causes(error).find_map(|cause| cause.downcast_ref::<HttpError>())?;
        let reason = match http.kind() {
            HttpErrorKind::Connect => root_cause(http),
            HttpErrorKind::Timeout => "no answer in time".to_owned(),
            _ => return None,
        };
        let message = format!("cannot reach {}: {reason}", self.server());
        let unreachable = SourceError::new(SourceErrorKind::Unreachable, message);
        Some(unreachable.hint("check the address and the network"))
    }

    fn server(&self) -> String {
        match (&self.endpoint, &self.bucket) {
            (Some(endpoint), Some(bucket)) => format!("\"{endpoint}\" for bucket \"{bucket}\""),
            (Some(endpoint), None) => format!("\"{endpoint}\""),
            (None, bucket) => {
                let bucket = bucket.as_deref().unwrap_or_default();
                format!("Amazon S3 in region \"{}\" for bucket \"{bucket}\"", self.region)
            }
        }
    }

    /// The region that an answer asks for: outer none when it is about something else.
    pub(crate) fn region_of(&self, text: &str) -> Option<Option<String>> {
        let about_region = [
            "PermanentRedirect",
            "AuthorizationHeaderMalformed",
            "IllegalLocationConstraint",
            "incorrectly configured region",
        ];
        if !about_region.iter().any(|code| text.contains(code)) {
            return None;
        }
        let between = |open: &str, close: &str| {
            let rest = text.split_once(open)?.1;
            Some(rest.split_once(close)?.0.to_owned())
        };
        let region = between("<Region>", "</Region>")
            .or_else(|| between("expecting '", "'"))
            .or_else(|| between("<Endpoint>", "</Endpoint>").and_then(|host| of_host(&host)));
        Some(region)
    }

    fn wrong_region(&self, bucket: &str, region: Option<&str>) -> SourceError {
        let used = &self.region;
        let (message, name) = match region {
            Some(region) => (
                format!("bucket \"{bucket}\" is in region \"{region}\", not in \"{used}\""),
                region,
            ),
            None => (format!("bucket \"{bucket}\" is not in region \"{used}\""), "..."),
        };
        SourceError::new(SourceErrorKind::Region, message)
            .hint(format!("set AWS_REGION={name} or OPTIONS ('aws.region' '{name}')"))
    }

    fn at(&self) -> String {
        self.endpoint.as_ref().map(|at| format!(" at \"{at}\"")).unwrap_or_default()
    }
}

const CHECK_CREDENTIALS: &str = "check AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, the profile, \
                                 or the OPTIONS of the table";

fn missing(message: String) -> SourceError {
    SourceError::new(SourceErrorKind::Missing, message)
}

/// The region in `bucket.s3.eu-west-1.amazonaws.com` or `bucket.s3-eu-west-1.amazonaws.com`.
fn of_host(host: &str) -> Option<String> {
    let front = host.strip_suffix(".amazonaws.com")?;
    let region = front.rsplit_once("s3.").or_else(|| front.rsplit_once("s3-"))?.1;
    (!region.is_empty() && !region.contains('.')).then(|| region.to_owned())
}

/// An upload whose errors say what they mean.
pub(crate) struct DescribedUpload {
    inner: Box<dyn MultipartUpload>,
    asked: Arc<Asked>,
    path: Path,
}

impl DescribedUpload {
    /// Describes the errors of an upload.
    pub(crate) fn new(inner: Box<dyn MultipartUpload>, asked: Arc<Asked>, path: Path) -> Self {
        Self { inner, asked, path }
    }
}

impl fmt::Debug for DescribedUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DescribedUpload").field("path", &self.path).finish_non_exhaustive()
    }
}

#[async_trait]
impl MultipartUpload for DescribedUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let part = self.inner.put_part(data);
        let (asked, path) = (Arc::clone(&self.asked), self.path.clone());
        part.map(move |done| done.map_err(|error| asked.describe(Some(&path), error))).boxed()
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let done = self.inner.complete().await;
        done.map_err(|error| self.asked.describe(Some(&self.path), error))
    }

    async fn abort(&mut self) -> Result<()> {
        let done = self.inner.abort().await;
        done.map_err(|error| self.asked.describe(Some(&self.path), error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn meaning(body: &str) -> (SourceErrorKind, String) {
        let asked = Asked {
            bucket: Some("b".to_owned()),
            endpoint: None,
            region: "us-east-1".to_owned(),
            signed: true,
        };
        let error = Error::Generic { store: "S3", source: body.to_owned().into() };
        let described = asked.describe(Some(&Path::from("k")), error);
        let kind = kind_of(&described).unwrap();
        (kind, described.to_string())
    }

    #[test]
    fn answers_of_s3_are_understood() {
        let cases = [
            ("<Code>NoSuchBucket</Code>", SourceErrorKind::Missing, "there is no bucket \"b\""),
            ("<Code>InvalidAccessKeyId</Code>", SourceErrorKind::Denied, "is unknown"),
            ("<Code>SignatureDoesNotMatch</Code>", SourceErrorKind::Denied, "secret key"),
            ("<Code>ExpiredToken</Code>", SourceErrorKind::Denied, "have expired"),
            (
                "<Code>AccessDenied</Code>",
                SourceErrorKind::Denied,
                "access to \"k\" in bucket \"b\"",
            ),
            (
                "<Code>PermanentRedirect</Code><Endpoint>b.s3.eu-west-1.amazonaws.com</Endpoint>",
                SourceErrorKind::Region,
                "is in region \"eu-west-1\", not in \"us-east-1\"",
            ),
            (
                "AuthorizationHeaderMalformed: the region 'us-east-1' is wrong; expecting 'eu-north-1'",
                SourceErrorKind::Region,
                "is in region \"eu-north-1\"",
            ),
            (
                "Received redirect without LOCATION, this normally indicates an incorrectly \
                 configured region",
                SourceErrorKind::Region,
                "is not in region \"us-east-1\"",
            ),
        ];
        for (body, kind, words) in cases {
            let (found, text) = meaning(body);
            assert_eq!(found, kind, "{body}");
            assert!(text.contains(words), "{text}");
        }
    }
}
