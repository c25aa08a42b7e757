//! Requests to web servers that know less than a store needs: that answer no HEAD, send the whole
//! file whatever part was asked for, or do not say how long it is. And addresses as they were
//! written, with their query.
//!
//! The store of `object_store` asks for the size of a file by HEAD, and for parts by ranges; this
//! is the client below it. What a server does not do is made up for by a GET of the whole file,
//! which is kept for a while: a small one in memory, others in a file without a name.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use http::header::{CONTENT_LENGTH, CONTENT_RANGE, ETAG, LAST_MODIFIED, RANGE};
use http::{HeaderMap, HeaderValue, Method, Response, StatusCode, Uri};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpRequestBody,
    HttpResponse, HttpResponseBody, HttpService, ReqwestConnector,
};
use object_store::path::Path;
use parking_lot::Mutex;

use crate::address::web_address;

/// A file larger than this is kept on disk.
const KEPT_IN_MEMORY_BYTES_MAX: usize = 8 << 20;

/// The number of whole files that are kept.
const KEPT_MAX: usize = 16;

/// How long a whole file is taken for the one that is there, when a server tells neither tag nor
/// time of it: the steps of one statement.
const KEPT_UNSEEN: Duration = Duration::from_secs(3);

/// Makes clients that make up for what servers do not do.
#[derive(Debug, Default)]
pub(crate) struct LenientConnector(ReqwestConnector);

impl HttpConnector for LenientConnector {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let inner = self.0.connect(options)?;
        Ok(HttpClient::new(Lenient { inner, kept: Mutex::default() }))
    }
}

#[derive(Debug)]
struct Lenient {
    inner: HttpClient,
    /// Whole files, by their addresses.
    kept: Mutex<HashMap<Uri, Arc<Kept>>>,
}

/// A whole file.
#[derive(Debug)]
struct Kept {
    content: Content,
    length: usize,
    /// The version according to the server.
    tag: Option<HeaderValue>,
    changed: Option<HeaderValue>,
    since: Instant,
}

#[derive(Debug)]
enum Content {
    Memory(Bytes),
    Disk(Arc<Mutex<File>>),
}

#[async_trait]
impl HttpService for Lenient {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let (mut head, body) = request.into_parts();
        head.uri = as_written(&head.uri);
        match (&head.method, head.headers.get(RANGE)) {
            (&Method::HEAD, _) => self.size(&head.uri, &head.headers).await,
            (&Method::GET, Some(range)) => {
                let range = range.clone();
                self.part(&head.uri, &head.headers, &range).await
            }
            (&Method::GET, None) => {
                let answer = self.ask(Method::GET, &head.uri, &head.headers).await?;
                if !answer.status().is_success() || answer.headers().contains_key(CONTENT_LENGTH) {
                    return Ok(answer);
                }
                let kept = self.keep(&head.uri, answer).await?;
                kept.answer(StatusCode::OK, 0..kept.length).await
            }
            _ => self.inner.execute(HttpRequest::from_parts(head, body)).await,
        }
    }
}

impl Lenient {
    async fn ask(
        &self,
        method: Method,
        uri: &Uri,
        headers: &HeaderMap,
    ) -> Result<HttpResponse, HttpError> {
        let mut request = HttpRequest::new(HttpRequestBody::empty());
        *request.method_mut() = method;
        *request.uri_mut() = uri.clone();
        *request.headers_mut() = headers.clone();
        self.inner.execute(request).await
    }

    /// The answer to HEAD; of a server that refuses it, what a GET of one byte tells.
    async fn size(&self, uri: &Uri, headers: &HeaderMap) -> Result<HttpResponse, HttpError> {
        let answer = self.ask(Method::HEAD, uri, headers).await?;
        let known = answer.headers().contains_key(CONTENT_LENGTH);
        if answer.status().is_success() && known {
            self.forget_others(uri, answer.headers());
            return Ok(answer);
        }
        // What is wrong with the server is not a matter of HEAD.
        if answer.status().is_server_error() && answer.status() != StatusCode::NOT_IMPLEMENTED {
            return Ok(answer);
        }
        if let Some(kept) = self.kept(uri).filter(|kept| kept.since.elapsed() < KEPT_UNSEEN) {
            return kept.answer(StatusCode::OK, 0..0).await;
        }
        let mut headers = headers.clone();
        headers.insert(RANGE, HeaderValue::from_static("bytes=0-0"));
        let answer = self.ask(Method::GET, uri, &headers).await?;
        let whole = |answer: &HttpResponse| {
            let range = answer.headers().get(CONTENT_RANGE)?.to_str().ok()?;
            range.rsplit_once('/')?.1.parse::<u64>().ok()
        };
        match (answer.status(), whole(&answer)) {
            (StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE, Some(length)) => {
                let mut size = Response::new(HttpResponseBody::from(Bytes::new()));
                for name in [ETAG, LAST_MODIFIED] {
                    if let Some(value) = answer.headers().get(&name) {
                        size.headers_mut().insert(name, value.clone());
                    }
                }
                size.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from(length));
                Ok(size)
            }
            (StatusCode::OK, _) => self.keep(uri, answer).await?.answer(StatusCode::OK, 0..0).await,
            _ => Ok(answer),
        }
    }

    /// A part of a file; of a server that sends the whole file, that part of it.
    async fn part(
        &self,
        uri: &Uri,
        headers: &HeaderMap,
        range: &HeaderValue,
    ) -> Result<HttpResponse, HttpError> {
        let kept = match self.kept(uri) {
            Some(kept) => kept,
            None => {
                let answer = self.ask(Method::GET, uri, headers).await?;
                if answer.status() != StatusCode::OK {
                    return Ok(answer);
                }
                self.keep(uri, answer).await?
            }
        };
        match range.to_str().ok().and_then(|range| asked_for(range, kept.length)) {
            Some(range) => kept.answer(StatusCode::PARTIAL_CONTENT, range).await,
            None => kept.answer(StatusCode::RANGE_NOT_SATISFIABLE, 0..0).await,
        }
    }

    fn kept(&self, uri: &Uri) -> Option<Arc<Kept>> {
        self.kept.lock().get(uri).cloned()
    }

    /// Forgets a file that is not the one that these headers tell of.
    fn forget_others(&self, uri: &Uri, headers: &HeaderMap) {
        let mut kept = self.kept.lock();
        let Some(file) = kept.get(uri) else { return };
        let length =
            headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok()?.parse().ok());
        let is_described = file.tag.is_some() || file.changed.is_some();
        let same = length == Some(file.length)
            && headers.get(ETAG) == file.tag.as_ref()
            && headers.get(LAST_MODIFIED) == file.changed.as_ref()
            && (is_described || file.since.elapsed() < KEPT_UNSEEN);
        if !same {
            kept.remove(uri);
        }
    }

    /// Reads an answer to its end, and keeps it.
    async fn keep(&self, uri: &Uri, answer: HttpResponse) -> Result<Arc<Kept>, HttpError> {
        let (head, body) = answer.into_parts();
        let mut body = body.bytes_stream();
        let mut memory = BytesMut::new();
        let mut disk: Option<File> = None;
        let mut length = 0;
        while let Some(data) = body.try_next().await? {
            length += data.len();
            match &mut disk {
                Some(file) => file.write_all(&data).map_err(not_kept)?,
                None => memory.extend_from_slice(&data),
            }
            if disk.is_none() && memory.len() > KEPT_IN_MEMORY_BYTES_MAX {
                let mut file = tempfile::tempfile().map_err(not_kept)?;
                file.write_all(&std::mem::take(&mut memory)).map_err(not_kept)?;
                disk = Some(file);
            }
        }
        let content = match disk {
            Some(file) => Content::Disk(Arc::new(Mutex::new(file))),
            None => Content::Memory(memory.freeze()),
        };
        let kept = Arc::new(Kept {
            content,
            length,
            tag: head.headers.get(ETAG).cloned(),
            changed: head.headers.get(LAST_MODIFIED).cloned(),
            since: Instant::now(),
        });
        let mut all = self.kept.lock();
        if all.len() >= KEPT_MAX
            && let Some(oldest) =
                all.iter().min_by_key(|(_, kept)| kept.since).map(|(uri, _)| uri.clone())
        {
            all.remove(&oldest);
        }
        all.insert(uri.clone(), Arc::clone(&kept));
        Ok(kept)
    }
}

impl Kept {
    /// An answer with a part of the file. Without a part, it tells of the whole.
    async fn answer(
        &self,
        status: StatusCode,
        part: Range<usize>,
    ) -> Result<HttpResponse, HttpError> {
        let length = match status {
            StatusCode::PARTIAL_CONTENT => part.len(),
            _ => self.length,
        };
        let content = self.read(part.clone()).await.map_err(not_kept)?;
        let mut answer = Response::new(HttpResponseBody::from(content));
        *answer.status_mut() = status;
        let headers = answer.headers_mut();
        headers.insert(CONTENT_LENGTH, HeaderValue::from(length));
        if status == StatusCode::PARTIAL_CONTENT {
            let range =
                format!("bytes {}-{}/{}", part.start, part.end.saturating_sub(1), self.length);
            let range = HeaderValue::try_from(range);
            headers.extend(range.into_iter().map(|range| (CONTENT_RANGE, range)));
        }
        headers.extend(self.tag.clone().map(|tag| (ETAG, tag)));
        headers.extend(self.changed.clone().map(|changed| (LAST_MODIFIED, changed)));
        Ok(answer)
    }

    async fn read(&self, part: Range<usize>) -> std::io::Result<Bytes> {
        let file = match &self.content {
            Content::Memory(bytes) => return Ok(bytes.slice(part)),
            Content::Disk(file) => Arc::clone(file),
        };
        let read = tokio::task::spawn_blocking(move || {
            let mut file = file.lock();
            file.seek(SeekFrom::Start(part.start as u64))?;
            let mut bytes = vec![0; part.len()];
            file.read_exact(&mut bytes)?;
            Ok::<_, std::io::Error>(Bytes::from(bytes))
        });
        read.await.map_err(std::io::Error::other)?
    }
}

fn not_kept(error: std::io::Error) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, error)
}

/// The part of a file of `length` bytes that a header asks for.
fn asked_for(range: &str, length: usize) -> Option<Range<usize>> {
    let (start, end) = range.strip_prefix("bytes=")?.split_once('-')?;
    let range = match (start, end) {
        ("", last) => length.saturating_sub(last.parse().ok()?)..length,
        (start, "") => start.parse().ok()?..length,
        (start, end) => {
            start.parse().ok()?..end.parse::<usize>().ok()?.saturating_add(1).min(length)
        }
    };
    (range.start < range.end).then_some(range)
}

/// The address that a user wrote, from the one that the store made of its path.
fn as_written(uri: &Uri) -> Uri {
    let mut parts = uri.clone().into_parts();
    let written =
        Path::from_url_path(uri.path()).ok().and_then(|path| web_address(&path).parse().ok());
    match written {
        Some(written) => parts.path_and_query = Some(written),
        None => return uri.clone(),
    }
    Uri::from_parts(parts).unwrap_or_else(|_| uri.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_of_a_file() {
        assert_eq!(asked_for("bytes=0-9", 100), Some(0..10));
        assert_eq!(asked_for("bytes=90-200", 100), Some(90..100));
        assert_eq!(asked_for("bytes=-8", 100), Some(92..100));
        assert_eq!(asked_for("bytes=-800", 100), Some(0..100));
        assert_eq!(asked_for("bytes=10-", 100), Some(10..100));
        assert_eq!(asked_for("bytes=100-", 100), None);
        assert_eq!(asked_for("pages=1-2", 100), None);
    }
}
