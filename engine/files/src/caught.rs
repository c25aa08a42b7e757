//! Panics of decoders, which are what damaged files make of many of them, as errors.
//!
//! A panic that is expected here is not printed: the hook of the process is asked, once, to leave
//! it to the log.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use futures::FutureExt;
use futures::future::{BoxFuture, poll_fn};
use std::task::Poll;

thread_local! {
    static EXPECTED: Cell<bool> = const { Cell::new(false) };
}

static HOOK: Once = Once::new();

/// Does something that may panic. The error is the text of the panic.
pub(crate) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| match EXPECTED.get() {
            true => tracing::warn!("a decoder panicked: {info}"),
            false => before(info),
        }));
    });
    let outer = EXPECTED.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    EXPECTED.set(outer);
    done.map_err(|panic| text(panic.as_ref()))
}

/// The same for each step of something that takes its time.
pub(crate) async fn caught_in<T>(mut work: BoxFuture<'_, T>) -> Result<T, String> {
    poll_fn(move |cx| match caught(|| work.poll_unpin(cx)) {
        Ok(Poll::Pending) => Poll::Pending,
        Ok(Poll::Ready(done)) => Poll::Ready(Ok(done)),
        Err(panic) => Poll::Ready(Err(panic)),
    })
    .await
}

fn text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "a panic without a text".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_an_error() {
        assert_eq!(caught(|| 1), Ok(1));
        let none: &[u8] = &[];
        let byte = |bytes: &[u8]| bytes.first().copied().expect("a byte");
        let text = caught(|| byte(none)).unwrap_err();
        assert!(text.contains("a byte"), "{text}");
    }
}
