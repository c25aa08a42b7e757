//! The metadata service of one instance, version 2 only: answers only with a token, like an
//! instance launched with `HttpTokens=required`.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::task::AbortOnDropHandle;

const TOKEN: &str = "a-token-of-this-instance";

/// The answers by path.
type Notices = std::collections::BTreeMap<&'static str, String>;

/// A metadata service on a loopback port.
pub(crate) struct Metadata {
    pub(crate) endpoint: String,
    notices: Arc<Mutex<Notices>>,
    _task: AbortOnDropHandle<()>,
}

impl Metadata {
    pub(crate) async fn start(address: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let endpoint = format!("http://{}", listener.local_addr().expect("an address"));
        let notices = Arc::new(Mutex::new(Notices::new()));
        let told = Arc::clone(&notices);
        let task = tokio::runtime::Handle::current().spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let notices = told.lock().clone();
                // A caller that goes away is not an error.
                let _ = answer(stream, &address, &notices).await;
            }
        });
        Self { endpoint, notices, _task: AbortOnDropHandle::new(task) }
    }

    /// AWS wants the instance back.
    pub(crate) fn give_notice(&self) {
        let text = r#"{"action":"terminate","time":"2030-01-01T00:00:00Z"}"#;
        self.notices.lock().insert("/latest/meta-data/spot/instance-action", text.to_owned());
    }

    /// AWS may want the instance back.
    pub(crate) fn give_hint(&self) {
        let text = r#"{"noticeTime":"2030-01-01T00:00:00Z"}"#;
        let path = "/latest/meta-data/events/recommendations/rebalance";
        self.notices.lock().insert(path, text.to_owned());
    }
}

async fn answer(mut stream: TcpStream, address: &str, notices: &Notices) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") && request.len() < 4096 {
        request.push(stream.read_u8().await?);
    }
    let request = String::from_utf8_lossy(&request).to_lowercase();
    let line = request.lines().next().unwrap_or_default();
    let path = line.split(' ').nth(1).unwrap_or_default();
    let trusted = request.contains(&format!("x-aws-ec2-metadata-token: {TOKEN}"));
    let (status, body) = match path {
        "/latest/api/token" if line.starts_with("put") => ("200 OK", TOKEN.to_owned()),
        _ if !trusted => ("401 Unauthorized", String::new()),
        "/latest/meta-data/local-ipv4" => ("200 OK", address.to_owned()),
        path => match notices.get(path) {
            Some(notice) => ("200 OK", notice.clone()),
            None => ("404 Not Found", String::new()),
        },
    };
    let length = body.len();
    let head =
        format!("HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n");
    stream.write_all((head + &body).as_bytes()).await
}
