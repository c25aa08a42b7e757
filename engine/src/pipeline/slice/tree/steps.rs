//! What a func has built: every verb it called, in order. Two processes that call the same func
//! with the same arguments must have built the same, or a task would run the wrong closure.

use std::cell::RefCell;
use std::panic::Location;

use serde::{Deserialize, Serialize};

thread_local! {
    /// What the func that this thread is in has built so far.
    static BUILDING: RefCell<Option<Steps>> = const { RefCell::new(None) };
}

/// One call of a verb.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct Step {
    pub(crate) verb: String,
    /// `file:line:column` of the call.
    pub(crate) place: String,
    /// The types of the call.
    pub(crate) types: String,
}

/// The calls of verbs in one func, in order.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Steps(Vec<Step>);

impl Steps {
    /// Where `self`, built by the driver, and `theirs`, built by a worker, begin to differ.
    pub(crate) fn difference(&self, theirs: &Self) -> String {
        let tell = |step: Option<&Step>| match step {
            Some(step) => format!("\"{}\" at {} ({})", step.verb, step.place, step.types),
            None => "nothing more".to_owned(),
        };
        let longest = self.0.len().max(theirs.0.len());
        let first = (0..longest).find(|n| self.0.get(*n) != theirs.0.get(*n)).unwrap_or(longest);
        format!(
            "step {}: the driver built {}, the machine built {}",
            first + 1,
            tell(self.0.get(first)),
            tell(theirs.0.get(first))
        )
    }
}

/// Runs `build` and notes the verbs that it calls on this thread.
pub(crate) fn recording<T>(build: impl FnOnce() -> T) -> (T, Steps) {
    /// Puts back what was there, also when `build` panics.
    struct Restore(Option<Steps>);
    impl Drop for Restore {
        fn drop(&mut self) {
            BUILDING.set(self.0.take());
        }
    }
    let restore = Restore(BUILDING.replace(Some(Steps::default())));
    let built = build();
    let steps = BUILDING.take().unwrap_or_default();
    drop(restore);
    (built, steps)
}

/// Notes one call of a verb, if a func is being built.
pub(crate) fn record(verb: &str, place: &Location<'_>, types: &str) {
    BUILDING.with_borrow_mut(|building| {
        if let Some(steps) = building {
            let (verb, types) = (verb.to_owned(), types.to_owned());
            steps.0.push(Step { verb, place: place.to_string(), types });
        }
    });
}
