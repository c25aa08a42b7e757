//! What a call of a func holds on to because it is named among its arguments, such as the result of a run. It is encoded
//! as a name, which would mean nothing anywhere else: so this thread knows whether it encodes or decodes arguments.

use std::any::Any;
use std::cell::RefCell;
use std::sync::Arc;

/// What is there for as long as the call is.
pub(crate) type Held = Arc<dyn Any + Send + Sync>;

/// What this thread does with the arguments of a func.
enum Doing {
    Nothing,
    /// Encodes them; so far it has met these.
    Encoding(Vec<Held>),
    Decoding,
}

thread_local! {
    static DOING: RefCell<Doing> = const { RefCell::new(Doing::Nothing) };
}

/// Puts back what the thread did before, also when what it does panics.
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

/// Runs `encode`; also gives what the call must hold.
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

/// Runs `decode`, which may meet runs.
pub(super) fn receiving<R>(decode: impl FnOnce() -> R) -> R {
    let _restore = Restore::after(Doing::Decoding);
    decode()
}

/// Has the call whose arguments this thread encodes hold `held`. False if it encodes none.
pub(crate) fn hold(held: Option<Held>) -> bool {
    DOING.with_borrow_mut(|doing| {
        let Doing::Encoding(all) = doing else { return false };
        all.extend(held);
        true
    })
}

/// Whether this thread decodes the arguments of a func.
pub(crate) fn is_receiving() -> bool {
    DOING.with_borrow(|doing| matches!(doing, Doing::Decoding))
}
