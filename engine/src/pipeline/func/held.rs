//! Values that a call of a func holds because its arguments refer to them, such as results of runs.
//! A reference is valid only in arguments of a call, so a thread-local says whether this thread
//! encodes or decodes arguments.

use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;

/// A value that a call holds.
pub(crate) type Held = Arc<dyn Any + Send + Sync>;

/// What this thread does with the arguments of a func.
enum Doing {
    Nothing,
    /// Encodes them; has found these values so far.
    Encoding(Vec<Held>),
    Decoding,
}

thread_local! {
    static DOING: RefCell<Doing> = const { RefCell::new(Doing::Nothing) };
}

/// Restores the previous value when it is dropped, also by a panic.
struct Restore(Option<Doing>);

impl Restore {
    fn after(doing: Doing) -> Self {
        Self(Some(DOING.replace(doing)))
    }
}

impl Drop for Restore {
    fn drop(&mut self) {
        if let Some(before) = self.0.take() {
            DOING.set(before);
        }
    }
}

/// Runs `encode`, which encodes arguments; also returns the values that the call must hold.
pub(super) fn holding<R>(encode: impl FnOnce() -> R) -> (R, Vec<Held>) {
    let restore = Restore::after(Doing::Encoding(Vec::new()));
    let encoded = encode();
    let held = match DOING.replace(Doing::Nothing) {
        Doing::Encoding(held) => held,
        Doing::Nothing | Doing::Decoding => Vec::new(),
    };
    drop(restore);
    (encoded, held)
}

/// Runs `decode`, which decodes arguments.
pub(super) fn receiving<R>(decode: impl FnOnce() -> R) -> R {
    let _restore = Restore::after(Doing::Decoding);
    decode()
}

/// Has the call hold `held`, whose arguments this thread encodes. False if it encodes none.
pub(crate) fn hold(held: Option<Held>) -> bool {
    DOING.with_borrow_mut(|doing| {
        let Doing::Encoding(all) = doing else { return false };
        all.extend(held);
        true
    })
}

/// True if this thread decodes the arguments of a func.
pub(crate) fn is_receiving() -> bool {
    DOING.with_borrow(|doing| matches!(doing, Doing::Decoding))
}
