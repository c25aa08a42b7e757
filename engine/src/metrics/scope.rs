//! Whose task a thread is computing for. Closures have no argument that says so, and a thread turns
//! to another task whenever one pauses: so a task enters its scope each time it is polled, and
//! takes it along to what it starts on other threads.

use std::cell::RefCell;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use futures::{Stream, StreamExt};
use parking_lot::Mutex;

use crate::metrics::name::Name;
use crate::metrics::{Distribution, Metrics};

/// Figures of one kind that a program may have: each task's reply carries them all.
const FIGURES_MAX: usize = 256;

/// The figures of one attempt of a task.
#[derive(Debug, Default)]
pub(crate) struct Scope {
    sums: Mutex<Metrics>,
}

/// The counts of a thread since it entered its scope.
struct Thread {
    scope: Option<Arc<Scope>>,
    /// Whether there is anything to hand over.
    bumped: bool,
    /// The names stay when the figures are handed over: what is bumped once is bumped again.
    counters: Vec<(&'static str, u64)>,
    gauges: Vec<(&'static str, Option<f64>)>,
    histograms: Vec<(&'static str, Option<Distribution>)>,
}

thread_local! {
    static THREAD: RefCell<Thread> = const {
        RefCell::new(Thread {
            scope: None,
            bumped: false,
            counters: Vec::new(),
            gauges: Vec::new(),
            histograms: Vec::new(),
        })
    };
}

impl Scope {
    /// The counts so far.
    pub(crate) fn metrics(&self) -> Metrics {
        self.sums.lock().clone()
    }

    /// Runs `work` and counts what it does in this scope.
    pub(crate) async fn during<T>(self: &Arc<Self>, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        futures::future::poll_fn(move |cx| {
            let _within = Within::enter(Arc::clone(self));
            work.as_mut().poll(cx)
        })
        .await
    }
}

/// The scope that this thread is in.
fn current() -> Option<Arc<Scope>> {
    THREAD.with_borrow(|thread| thread.scope.clone())
}

/// The same work, to be done on another thread for the task that this one computes for.
pub(crate) fn carried<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let scope = current();
    move || {
        let _within = scope.map(Within::enter);
        work()
    }
}

/// The same future, which counts for this thread's task wherever it is polled.
pub(crate) fn carried_future<T>(work: impl Future<Output = T>) -> impl Future<Output = T> {
    let scope = current();
    async move {
        match scope {
            Some(scope) => scope.during(work).await,
            None => work.await,
        }
    }
}

/// The same stream, which counts for this thread's task wherever it is polled.
pub(crate) fn carried_stream<S: Stream + Unpin>(mut stream: S) -> impl Stream<Item = S::Item> {
    let scope = current();
    futures::stream::poll_fn(move |cx| -> Poll<Option<S::Item>> {
        let _within = scope.clone().map(Within::enter);
        stream.poll_next_unpin(cx)
    })
}

/// While it lives the thread counts for one scope; then for the one before.
struct Within {
    /// None when the thread was there already.
    before: Option<Option<Arc<Scope>>>,
}

impl Within {
    fn enter(scope: Arc<Scope>) -> Self {
        THREAD.with_borrow_mut(|thread| {
            if thread.scope.as_ref().is_some_and(|now| Arc::ptr_eq(now, &scope)) {
                return Self { before: None };
            }
            thread.hand_over();
            Self { before: Some(thread.scope.replace(scope)) }
        })
    }
}

impl Drop for Within {
    fn drop(&mut self) {
        if let Some(before) = self.before.take() {
            THREAD.with_borrow_mut(|thread| {
                thread.hand_over();
                thread.scope = before;
            });
        }
    }
}

impl Thread {
    fn hand_over(&mut self) {
        if !std::mem::take(&mut self.bumped) {
            return;
        }
        let Some(scope) = &self.scope else { return };
        let mut sums = scope.sums.lock();
        for (name, n) in &mut self.counters {
            sums.add(name, std::mem::take(n));
        }
        for (name, value) in &mut self.gauges {
            value.take().into_iter().for_each(|value| sums.set(name, value));
        }
        for (name, values) in &mut self.histograms {
            values.take().into_iter().for_each(|values| sums.record(name, &values));
        }
    }
}

pub(super) fn count(name: &Name, n: u64) {
    if n == 0 {
        return;
    }
    THREAD.with_borrow_mut(|thread| {
        if thread.scope.is_some() {
            thread.bumped = true;
            let sum = figure(&mut thread.counters, name);
            *sum = sum.saturating_add(n);
        }
    });
}

pub(super) fn set(name: &Name, value: f64) {
    THREAD.with_borrow_mut(|thread| {
        if thread.scope.is_some() {
            thread.bumped = true;
            *figure(&mut thread.gauges, name) = Some(value);
        }
    });
}

pub(super) fn record(name: &Name, value: f64) {
    THREAD.with_borrow_mut(|thread| {
        if thread.scope.is_some() {
            thread.bumped = true;
            figure(&mut thread.histograms, name).get_or_insert_default().record(value);
        }
    });
}

/// The figure with this name in `list`.
fn figure<'a, T: Default>(list: &'a mut Vec<(&'static str, T)>, name: &Name) -> &'a mut T {
    let at = name.find(list).unwrap_or_else(|| {
        assert!(
            list.len() < FIGURES_MAX,
            "\"{}\" is one metric more than the {FIGURES_MAX} of a kind that a program may have",
            name.text
        );
        list.push((name.text, T::default()));
        list.len() - 1
    });
    &mut list[at].1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::{Counter, Gauge, Histogram};

    static SEEN: Counter = Counter::new("seen");
    static SEEN_TOO: Counter = Counter::new("seen");
    static LEVEL: Gauge = Gauge::new("level");
    static SIZES: Histogram = Histogram::new("sizes");

    #[tokio::test]
    async fn a_thread_counts_for_whom_it_computes() {
        let (one, other) = (Arc::new(Scope::default()), Arc::new(Scope::default()));
        SEEN.add(1000);
        let counting = |n: u64| async move {
            for _ in 0..10 {
                SEEN.add(n);
                tokio::task::yield_now().await;
                SEEN_TOO.add(n);
                LEVEL.set(n);
                SIZES.record(n);
            }
        };
        let nested = Arc::clone(&other);
        let first = one.during(async move {
            SEEN.add(1);
            nested.during(async { SEEN.add(5) }).await;
            counting(1).await;
            let work = carried(|| SEEN.add(7));
            std::thread::spawn(work).join().unwrap();
        });
        tokio::join!(first, other.during(counting(2)));
        SEEN.add(1000);
        let (one, other) = (one.metrics(), other.metrics());
        assert_eq!((one.counter("seen"), other.counter("seen")), (28, 45));
        assert_eq!(one.gauge("level").unwrap().max(), 1.0);
        assert_eq!(other.histogram("sizes").unwrap().sum(), 20.0);
        assert_eq!(one.counter("none"), 0);
    }

    #[test]
    fn a_stream_counts_wherever_it_is_polled() {
        let scope = Arc::new(Scope::default());
        let numbers = || futures::stream::iter(0..5).map(|_| SEEN.add(1));
        let stream = {
            let _within = Within::enter(Arc::clone(&scope));
            carried_stream(numbers())
        };
        futures::executor::block_on_stream(numbers()).for_each(drop);
        let elsewhere = || futures::executor::block_on_stream(stream).for_each(drop);
        std::thread::scope(|threads| threads.spawn(elsewhere).join().unwrap());
        assert_eq!(scope.metrics().counter("seen"), 5);
    }
}
