//! Runs a program marked with `#[bigslice::main]`: the driver's part runs on its own runtime, and
//! an error is printed as bigsql prints it. The macro uses the names in this file.
//!
//! The return type of `main` decides how its outcome is reported. An error may have any type; the
//! trait below that has a method `ending` for it, with the fewest references removed, is the most
//! specific one.

use std::error::Error as StdError;
use std::fmt::Display;
use std::io::{self, Write};
use std::process::{ExitCode, Termination};

use crate::error::Error;
use crate::render::cell;

/// The exit code of a failed program.
const FAILED: u8 = 1;

/// The exit code for wrong usage, as in clap.
const WRONG_USAGE: u8 = 2;

/// Runs the driver's part of a program on its own runtime.
pub fn drive(driver: impl Future<Output = ExitCode>) -> ExitCode {
    match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime.block_on(driver),
        Err(error) => report(&error),
    }
}

/// An outcome whose error contains an error: `Box<dyn Error>`, `anyhow::Error`.
pub trait OfHolder: Sized {
    /// Converts it to an exit code.
    fn ending(&self) -> Holder {
        Holder
    }
}
impl<T, E: AsRef<dyn StdError>> OfHolder for &&&&Result<T, E> {}

/// The same for errors that can be sent: `Box<dyn Error + Send + Sync>`.
pub trait OfSendHolder: Sized {
    /// Converts it to an exit code.
    fn ending(&self) -> SendHolder {
        SendHolder
    }
}
impl<T, E: AsRef<dyn StdError + Send + Sync>> OfSendHolder for &&&Result<T, E> {}

/// An outcome whose error is an `Error`.
pub trait OfError: Sized {
    /// Converts it to an exit code.
    fn ending(&self) -> Plain {
        Plain
    }
}
impl<T, E: StdError + 'static> OfError for &&Result<T, E> {}

/// An outcome whose error is a string.
pub trait OfText: Sized {
    /// Converts it to an exit code.
    fn ending(&self) -> Text {
        Text
    }
}
impl<T, E: Display> OfText for &Result<T, E> {}

/// Any other outcome of a `main`.
pub trait OfTermination: Sized {
    /// Converts it to an exit code.
    fn ending(&self) -> Other {
        Other
    }
}
impl<T: Termination> OfTermination for T {}

/// For [`OfHolder`].
#[derive(Debug)]
pub struct Holder;
/// For [`OfSendHolder`].
#[derive(Debug)]
pub struct SendHolder;
/// For [`OfError`].
#[derive(Debug)]
pub struct Plain;
/// For [`OfText`].
#[derive(Debug)]
pub struct Text;
/// For [`OfTermination`].
#[derive(Debug)]
pub struct Other;

impl Holder {
    /// Prints an error, and returns the exit code.
    pub fn exit_code<T: Termination, E: AsRef<dyn StdError>>(self, end: Result<T, E>) -> ExitCode {
        end.map_or_else(|e| report(e.as_ref()), T::report)
    }
}

impl SendHolder {
    /// Prints an error, and returns the exit code.
    pub fn exit_code<T: Termination, E: AsRef<dyn StdError + Send + Sync>>(
        self,
        end: Result<T, E>,
    ) -> ExitCode {
        end.map_or_else(|e| report(e.as_ref()), T::report)
    }
}

impl Plain {
    /// Prints an error, and returns the exit code.
    pub fn exit_code<T: Termination, E: StdError + 'static>(self, end: Result<T, E>) -> ExitCode {
        end.map_or_else(|e| report(&e), T::report)
    }
}

impl Text {
    /// Prints an error, and returns the exit code.
    pub fn exit_code<T: Termination, E: Display>(self, end: Result<T, E>) -> ExitCode {
        end.map_or_else(|e| say(&e.to_string(), None, FAILED), T::report)
    }
}

impl Other {
    /// Returns the exit code.
    pub fn exit_code<T: Termination>(self, end: T) -> ExitCode {
        end.report()
    }
}

/// Prints an error for the user.
fn report(error: &(dyn StdError + 'static)) -> ExitCode {
    let (message, hint, code) = words_of(error);
    say(&message, hint.as_deref(), code)
}

/// The text of an error and its causes, the hint, and the exit code. The text of an [`Error`] is
/// complete: the causes below it would repeat it.
fn words_of(error: &(dyn StdError + 'static)) -> (String, Option<String>, u8) {
    let mut text = error.to_string();
    let mut ours = None;
    for link in bigslice_diagnostics::causes(error) {
        let said = link.to_string();
        if !text.contains(&said) {
            text.push_str(": ");
            text.push_str(&said);
        }
        ours = link.downcast_ref::<Error>();
        if ours.is_some() {
            break;
        }
    }
    let code = if matches!(ours, Some(Error::Config { .. })) { WRONG_USAGE } else { FAILED };
    (text, ours.and_then(Error::hint), code)
}

fn say(message: &str, hint: Option<&str>, code: u8) -> ExitCode {
    let mut text = format!("error: {}\n", cell::escape(message));
    if let Some(hint) = hint {
        text.push_str(&format!("hint: {}\n", cell::escape(hint)));
    }
    // If standard error is closed, there is nowhere to report it.
    let _ = io::stderr().lock().write_all(text.as_bytes());
    code.into()
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    fn ours() -> Error {
        Error::query("it failed").with_hint("do that").with_source("a text for developers")
    }

    /// Each type selects its own trait, or this does not compile.
    #[test]
    #[expect(clippy::needless_borrow, reason = "as the macro has it, for all types")]
    fn every_type_of_error_is_told() {
        let (plain, anyhow): (Result<(), _>, anyhow::Result<()>) =
            (Err(ours()), Err(ours().into()));
        let _: Plain = (&&&&&plain).ending();
        let _: Holder = (&&&&&anyhow).ending();
        let boxed: Result<ExitCode, Box<dyn StdError>> = Err(ours().into());
        let _: Holder = (&&&&&boxed).ending();
        let sendable: Result<(), Box<dyn StdError + Send + Sync>> = Err(ours().into());
        let _: SendHolder = (&&&&&sendable).ending();
        let text: Result<(), String> = Err("it failed".to_owned());
        let _: Text = (&&&&&text).ending();
        let _: Other = (&&&&&()).ending();
        let _: Other = (&&&&&ExitCode::SUCCESS).ending();
    }

    #[test]
    fn causes_and_hints_are_found_below_what_wraps_them() {
        let hint = Some("do that".to_owned());
        assert_eq!(words_of(&ours()), ("it failed".to_owned(), hint.clone(), FAILED));
        let wrapped = Err::<(), _>(ours()).context("a report").unwrap_err();
        let words = words_of(wrapped.as_ref());
        assert_eq!(words, ("a report: it failed".to_owned(), hint, FAILED));
        let usage = anyhow::Error::from(Error::config("no number"));
        assert_eq!(words_of(usage.as_ref()), ("no number".to_owned(), None, WRONG_USAGE));
    }
}
