//! The services of the tests: [`Probe`] does all that a call can do, [`Fussy`] may fail to start.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bigslice_cluster::{
    Address, Blob, CallError, Failure, Input, Peer, Role, ServiceContext, service,
};
use futures::{Stream, StreamExt, stream};
use serde::{Deserialize, Serialize};

/// An error that implements serde's traits.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, thiserror::Error)]
pub(crate) enum ProbeError {
    #[error("{0} is odd")]
    Odd(u64),
    #[error("could not ask the next machine")]
    Next(#[source] Box<CallError<Self>>),
}

/// The counts of a machine while calls run.
#[derive(Debug, Default)]
struct Counts {
    calls: AtomicU64,
    at_work: AtomicU64,
    dropped: AtomicU64,
    made: AtomicU64,
    taken: AtomicU64,
}

/// Counts a call that never ends by itself: while it is there, and when it is dropped.
struct AtWork(Arc<Counts>);

impl Drop for AtWork {
    fn drop(&mut self) {
        self.0.at_work.fetch_sub(1, Ordering::SeqCst);
        self.0.dropped.fetch_add(1, Ordering::SeqCst);
    }
}

/// The counts on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Counted {
    pub(crate) calls: u64,
    pub(crate) at_work: u64,
    pub(crate) dropped: u64,
    pub(crate) made: u64,
    pub(crate) taken: u64,
}

/// Executes its argument.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Probe {
    pub(crate) greeting: String,
    #[serde(skip)]
    set_up_on: String,
    #[serde(skip)]
    counts: Arc<Counts>,
}

impl Probe {
    pub(crate) fn greeting(greeting: &str) -> Self {
        Self { greeting: greeting.to_owned(), ..Self::default() }
    }

    fn work(&self) -> AtWork {
        self.counts.at_work.fetch_add(1, Ordering::SeqCst);
        AtWork(Arc::clone(&self.counts))
    }
}

#[service]
impl Probe {
    async fn init(&mut self, context: &ServiceContext) {
        assert_eq!(context.caller().role, Role::Driver);
        self.set_up_on = context.machine().to_string();
    }

    /// Joins the texts of the driver, `init` and the caller.
    pub(crate) async fn greet(&self, context: &ServiceContext, name: String) -> String {
        format!("{} {name} from {}, {}", self.greeting, self.set_up_on, context.scratch().is_dir())
    }

    pub(crate) async fn caller(&self, context: &ServiceContext) -> (Peer, Address) {
        (context.caller().clone(), context.address().clone())
    }

    pub(crate) async fn add(&self, a: u64, b: u64) -> u64 {
        self.counts.calls.fetch_add(1, Ordering::SeqCst);
        self.plus(a, b)
    }

    fn plus(&self, a: u64, b: u64) -> u64 {
        a + b
    }

    pub(crate) async fn halve(&self, n: u64) -> Result<u64, ProbeError> {
        if n.is_multiple_of(2) { Ok(n / 2) } else { Err(ProbeError::Odd(n)) }
    }

    /// Fails with an error without serde's traits.
    pub(crate) async fn open(&self, path: String) -> Result<u64, Failure> {
        #[derive(Debug, thiserror::Error)]
        #[error("could not open \"{0}\"")]
        struct NotOpen(String, #[source] std::io::Error);

        let file = std::fs::File::open(&path).map_err(|e| NotOpen(path, e))?;
        Ok(file.metadata()?.len())
    }

    pub(crate) async fn panic(&self, text: String) -> u64 {
        panic!("{text}")
    }

    /// Never answers.
    pub(crate) async fn hang(&self) {
        let _work = self.work();
        std::future::pending().await
    }

    /// Waits for another machine, which never answers.
    pub(crate) async fn hang_at(&self, context: &ServiceContext, next: Address) {
        let _work = self.work();
        drop(context.dial(&next).call(Self::hang, ()).await);
    }

    pub(crate) async fn counted(&self) -> Counted {
        let get = |count: &AtomicU64| count.load(Ordering::SeqCst);
        let Counts { calls, at_work, dropped, made, taken } = &*self.counts;
        Counted {
            calls: get(calls),
            at_work: get(at_work),
            dropped: get(dropped),
            made: get(made),
            taken: get(taken),
        }
    }

    pub(crate) async fn echo(&self, blob: Blob) -> Blob {
        blob
    }

    pub(crate) async fn zeros(&self, size: usize) -> Blob {
        Blob::from(vec![0; size])
    }

    pub(crate) async fn count_to(&self, n: u64) -> impl Stream<Item = u64> + Send {
        stream::iter(0..n)
    }

    /// Counts, and fails or panics at the given number.
    pub(crate) async fn count_until(
        &self,
        end: u64,
        panics: bool,
    ) -> Result<impl Stream<Item = Result<u64, ProbeError>> + Send, ProbeError> {
        if end == 0 {
            return Err(ProbeError::Odd(0));
        }
        Ok(stream::iter(0..).map(move |n| match n {
            n if n < end => Ok(n),
            n if panics => panic!("at {n}"),
            n => Err(ProbeError::Odd(n)),
        }))
    }

    /// Blocks without end, each counted when it is made.
    pub(crate) async fn blocks(&self, size: usize) -> impl Stream<Item = Blob> + Send {
        let work = self.work();
        stream::repeat_with(move || {
            work.0.made.fetch_add(1, Ordering::SeqCst);
            Blob::from(vec![7; size])
        })
    }

    pub(crate) async fn sum(&self, start: u64, mut items: Input<u64>) -> Result<u64, Failure> {
        let mut sum = start;
        while let Some(item) = items.next().await {
            sum += item?;
        }
        Ok(sum)
    }

    /// Takes `n` blocks, then waits without end.
    pub(crate) async fn take(&self, n: u64, items: Input<Blob>) -> Result<(), Failure> {
        let _work = self.work();
        let mut items = std::pin::pin!(items.take(usize::try_from(n)?));
        while let Some(item) = items.next().await {
            item?;
            self.counts.taken.fetch_add(1, Ordering::SeqCst);
        }
        std::future::pending().await
    }

    /// Answers each item with its double, while they come.
    pub(crate) async fn double(
        &self,
        items: Input<u64>,
    ) -> impl Stream<Item = Result<u64, Failure>> + Send {
        items.map(|item| Ok(item? * 2))
    }

    /// Has the first machine of `route` halve `n`, by way of the others.
    pub(crate) async fn halve_at(
        &self,
        context: &ServiceContext,
        mut route: Vec<Address>,
        n: u64,
    ) -> Result<(u64, Vec<Peer>), ProbeError> {
        let Some(next) = route.pop() else {
            return Ok((self.halve(n).await?, vec![context.caller().clone()]));
        };
        let call = context.dial(&next).call(Self::halve_at, (route, n));
        let (half, mut callers) = call.await.map_err(|e| ProbeError::Next(Box::new(e)))?;
        callers.push(context.caller().clone());
        Ok((half, callers))
    }

    /// Asks another machine and keeps only the messages of the error.
    pub(crate) async fn open_at(
        &self,
        context: &ServiceContext,
        next: Address,
        path: String,
    ) -> Result<u64, Failure> {
        Ok(context.dial(&next).call(Self::open, path).await?)
    }
}

/// Fails when it is set up, in the given way.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Fussy {
    pub(crate) refuses: Option<String>,
    pub(crate) panics: bool,
}

#[service]
impl Fussy {
    async fn init(&mut self, context: &ServiceContext) -> Result<(), Failure> {
        #[derive(Debug, thiserror::Error)]
        #[error("could not warm up")]
        struct Cold(#[source] std::io::Error);

        assert!(!self.panics, "at the disco on {}", context.machine());
        if let Some(reason) = self.refuses.take() {
            return Err(Cold(std::io::Error::other(reason)).into());
        }
        Ok(())
    }

    pub(crate) async fn ready(&self) -> bool {
        true
    }
}
