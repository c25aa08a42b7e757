//! A machine's [`TaskHost`] in tests: executes the words of a request or ticket.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use bigslice_flight::{Block, Channels, Error, TaskHost};
use bytes::Bytes;
use datafusion::common::Result;
use datafusion::error::DataFusionError;
use futures::stream::{self, BoxStream, StreamExt, TryStreamExt};
use parking_lot::Mutex;
use url::Url;

/// The largest message, a private constant of the crate.
pub(crate) const MESSAGE_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The requests to the hosts of all machines of a test.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Tasks that wait, and streams of endless shards: those that are not dropped yet.
    pub(crate) open: Arc<AtomicUsize>,
    /// Tickets that were seen.
    pub(crate) reads: AtomicUsize,
    /// Blocks of endless shards that were made.
    pub(crate) blocks: AtomicUsize,
    pub(crate) discarded: Mutex<Vec<Bytes>>,
}

/// Counts in [`Asked::open`] until it is dropped.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(asked: &Asked) -> Self {
        asked.open.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(&asked.open))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

pub(crate) struct Host {
    pub(crate) asked: Arc<Asked>,
    /// To the other machines, as this one.
    pub(crate) channels: Channels,
}

/// The block `n` of `n_bytes` bytes in any shard; its checksum is `n`.
pub(crate) fn block(n: usize, n_bytes: usize) -> Block {
    let bytes: Vec<u8> = (0..n_bytes).map(|i| ((i * 31 + n) % 251) as u8).collect();
    Block { bytes: bytes.into(), crc: n as u32 }
}

/// The error of a user's function.
pub(crate) fn app_error() -> Error {
    Error::App { text: "the user's map failed".to_owned(), payload: Bytes::from_static(&[0, 255]) }
}

fn number(words: &[&str], i: usize) -> usize {
    words[i].parse().expect("a test writes numbers")
}

#[async_trait]
impl TaskHost for Host {
    async fn run(&self, request: Bytes) -> Result<Bytes> {
        let head = &request[..request.len().min(200)];
        let head = String::from_utf8_lossy(head).into_owned();
        let words: Vec<&str> = head.split(' ').collect();
        match words[0] {
            "echo" => Ok(request.slice("echo ".len()..)),
            "reply" => Ok(vec![7; number(&words, 1)].into()),
            "where" => Ok(tokio::runtime::Handle::current().id().to_string().into()),
            "app" => Err(DataFusionError::from(app_error()).context("task 3")),
            "resources" => Err(DataFusionError::ResourcesExhausted("no memory".to_owned())),
            "panic" => panic!("the host met {}", words[1]),
            "sleep" => {
                tokio::time::sleep(Duration::from_secs(number(&words, 1) as u64)).await;
                Ok(Bytes::new())
            }
            "wait" => {
                let _open = Open::new(&self.asked);
                std::future::pending().await
            }
            "relay" => {
                let url = Url::parse(words[1]).expect("a test writes addresses");
                let ticket = Bytes::from(words[2..].join(" "));
                let blocks = self.channels.read_shard(&url, ticket).await?;
                let n = blocks.try_fold(0, |n, block| async move { Ok(n + block.bytes.len()) });
                Ok(n.await?.to_string().into())
            }
            other => Err(DataFusionError::Plan(format!("no such task: {other}"))),
        }
    }

    fn read(&self, ticket: Bytes) -> Result<BoxStream<'static, Result<Block>>> {
        self.asked.reads.fetch_add(1, Ordering::SeqCst);
        let ticket = String::from_utf8_lossy(&ticket).into_owned();
        let words: Vec<&str> = ticket.split(' ').collect();
        match words[0] {
            "blocks" => {
                let sizes: Vec<usize> = (1..words.len()).map(|i| number(&words, i)).collect();
                Ok(stream::iter(sizes).enumerate().map(|(n, size)| Ok(block(n, size))).boxed())
            }
            "fails" | "panics" => {
                let panics = words[0] == "panics";
                let last = stream::once(async move {
                    assert!(!panics, "the shard met its end");
                    Err(app_error().into())
                });
                let first = (0..number(&words, 1)).map(|n| Ok(block(n, 10)));
                Ok(stream::iter(first).chain(last).boxed())
            }
            "endless" => {
                let size = number(&words, 1);
                let state = (Arc::clone(&self.asked), Open::new(&self.asked));
                Ok(stream::unfold((0, state), move |(n, (asked, open))| async move {
                    asked.blocks.fetch_add(1, Ordering::SeqCst);
                    Some((Ok(block(n, size)), (n + 1, (asked, open))))
                })
                .boxed())
            }
            "panic" => panic!("the host met a ticket"),
            other => Err(DataFusionError::Plan(format!("no such shard: {other}"))),
        }
    }

    async fn discard(&self, request: Bytes) -> Result<()> {
        if request.starts_with(b"app") {
            return Err(app_error().into());
        }
        self.asked.discarded.lock().push(request);
        Ok(())
    }
}
