//! The content of each page.

use std::collections::BTreeMap;
use std::io::Cursor;
use std::time::Duration;

use bytes::Bytes;
use http::{StatusCode, Uri};
use serde::Serialize;

use crate::debug::{archive, index};
use crate::error::{Error, chain};
use crate::fleet::inspector::Inspector;
use crate::identity::MachineName;
use crate::observe::profile::Grouping;

const TEXT: &str = "text/plain; charset=utf-8";
const HTML: &str = "text/html; charset=utf-8";
const JSON: &str = "application/json";
/// The content type that Prometheus asks for.
const METRICS: &str = "text/plain; version=0.0.4; charset=utf-8";
/// The longest profile that a page may take: browsers give up after a few minutes.
const SECONDS_MAX: u64 = 300;
/// The length of a profile without `seconds`.
const SECONDS: u64 = 10;

/// An answer.
pub(crate) struct Content {
    pub(crate) status: StatusCode,
    pub(crate) content_type: &'static str,
    /// The name under which a browser saves it.
    pub(crate) file: Option<&'static str>,
    pub(crate) body: Bytes,
}

impl Content {
    fn new(content_type: &'static str, body: impl Into<Bytes>) -> Self {
        Self { status: StatusCode::OK, content_type, file: None, body: body.into() }
    }

    fn json(value: &impl Serialize) -> Self {
        match serde_json::to_vec(value) {
            Ok(json) => Self::new(JSON, json),
            Err(err) => Self::refusal(StatusCode::INTERNAL_SERVER_ERROR, err.to_string()),
        }
    }

    pub(crate) fn refusal(status: StatusCode, text: impl Into<Bytes>) -> Self {
        Self { status, ..Self::new(TEXT, text) }
    }

    fn failure(err: &Error) -> Self {
        Self::refusal(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", chain(err)))
    }
}

/// The page at `uri`.
pub(crate) async fn content(inspector: &Inspector, uri: &Uri) -> Content {
    let query: BTreeMap<String, String> =
        url::form_urlencoded::parse(uri.query().unwrap_or_default().as_bytes())
            .into_owned()
            .collect();
    let path = uri.path().trim_end_matches('/');
    match path.strip_prefix("/debug").unwrap_or(if path.is_empty() { "" } else { "?" }) {
        "" => Content::new(HTML, index::html(inspector)),
        "/machines" => Content::json(&inspector.machines()),
        "/series" => Content::json(&inspector.series()),
        "/metrics" => match inspector.metrics().await {
            Ok(text) => Content::new(METRICS, text),
            Err(err) => Content::failure(&err),
        },
        "/logs" => logs(inspector, query.get("machine")),
        "/pprof/profile" => profile(inspector, &query, Shape::Pprof).await,
        "/flamegraph" => profile(inspector, &query, Shape::Flames).await,
        "/dump" => dump(inspector).await,
        other => {
            let pages = inspector.pages();
            match pages.iter().find(|page| other.strip_prefix('/') == Some(page.name())) {
                Some(page) => Content::new(page.kind().content_type(), page.content()),
                None => Content::refusal(StatusCode::NOT_FOUND, "no such page; see /debug\n"),
            }
        }
    }
}

fn logs(inspector: &Inspector, machine: Option<&String>) -> Content {
    let machines = match machine.map(|name| name.parse::<MachineName>()) {
        Some(Ok(machine)) => vec![machine],
        Some(Err(err)) => return Content::refusal(StatusCode::BAD_REQUEST, format!("{err}\n")),
        None => inspector.logged(),
    };
    let lines = machines.iter().map(|machine| archive::log_text(inspector, machine));
    Content::new(TEXT, lines.collect::<String>())
}

enum Shape {
    Pprof,
    Flames,
}

async fn profile(inspector: &Inspector, query: &BTreeMap<String, String>, shape: Shape) -> Content {
    let seconds = query.get("seconds").map_or(Ok(SECONDS), |seconds| seconds.parse());
    let Some(seconds) = seconds.ok().filter(|seconds| (1..=SECONDS_MAX).contains(seconds)) else {
        let text = format!("seconds must be from 1 to {SECONDS_MAX}\n");
        return Content::refusal(StatusCode::BAD_REQUEST, text);
    };
    let grouping = match query.get("by").map(String::as_str) {
        Some("machine") => Grouping::ByMachine,
        _ => Grouping::Together,
    };
    match (inspector.profile(Duration::from_secs(seconds)).await, shape) {
        (Ok(profile), Shape::Pprof) => {
            let content = Content::new("application/octet-stream", profile.to_pprof());
            Content { file: Some("profile.pb.gz"), ..content }
        }
        (Ok(profile), Shape::Flames) => {
            Content::new("image/svg+xml", profile.to_flame_graph(grouping))
        }
        (Err(err), _) => Content::failure(&err),
    }
}

async fn dump(inspector: &Inspector) -> Content {
    let mut archive = Cursor::new(Vec::new());
    match inspector.dump(&mut archive).await {
        Ok(()) => {
            let content = Content::new("application/zip", archive.into_inner());
            Content { file: Some("bigslice-dump.zip"), ..content }
        }
        Err(err) => Content::failure(&err),
    }
}
