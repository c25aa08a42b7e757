//! Handles a panic of the program itself, which is a bug: it writes an archive about the session
//! and its machines for the bug report. A panic in a query is an error of the query and never gets
//! here.

use std::backtrace::Backtrace;
use std::fs::OpenOptions;
use std::future::Future;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;

use bigslice::Inspector;
use tokio::runtime::Runtime;

use crate::console::Console;

/// Name prefixes of the engine's threads.
const ENGINE: &str = "bigslice-";

/// The exit code of a program that panics, as in Rust itself.
const PANICKED: u8 = 101;

/// Time limit for the archive: it asks the machines for metrics, and the cause of the panic may
/// block that.
const DUMP_GRACE: Duration = Duration::from_secs(10);

/// Silences panics on the engine's threads: the engine catches them and reports them as errors.
/// Rust's message and backtrace go to the log.
pub(crate) fn quiet() {
    let loud = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        let thread = std::thread::current();
        if thread.name().is_some_and(|name| name.starts_with(ENGINE)) {
            if tracing::enabled!(tracing::Level::ERROR) {
                tracing::error!("{panic}\n{}", Backtrace::force_capture());
            }
        } else {
            loud(panic);
        }
    }));
}

/// Runs `work` and returns its exit code. If it panics, writes an archive of `seen` into `folder`
/// and prints its path.
pub(crate) fn guarded(
    runtime: &Runtime,
    work: impl Future<Output = u8>,
    seen: &OnceLock<Inspector>,
    folder: &Path,
    console: &Console,
) -> u8 {
    if let Ok(code) = catch_unwind(AssertUnwindSafe(|| runtime.block_on(work))) {
        return code;
    }
    let Some(inspector) = seen.get() else { return PANICKED };
    let dumped = catch_unwind(AssertUnwindSafe(|| runtime.block_on(dump(inspector, folder))));
    match dumped {
        Ok(Ok(path)) => {
            let path = path.display();
            console.error(&format!("wrote an archive of the session to \"{path}\""));
        }
        Ok(Err(why)) => console.error(&format!("cannot write an archive of the session: {why}")),
        // Rust has already printed the panic.
        Err(_) => {}
    }
    PANICKED
}

async fn dump(inspector: &Inspector, folder: &Path) -> Result<PathBuf, String> {
    let path = folder.join(format!("bigsql-crash-{}.zip", std::process::id()));
    let mut options = OpenOptions::new();
    // Readable by the user only; an existing file is never overwritten.
    let opened = options.write(true).create_new(true).mode(0o600).open(&path);
    let file = opened.map_err(|e| format!("\"{}\": {e}", path.display()))?;
    match tokio::time::timeout(DUMP_GRACE, inspector.dump(file)).await {
        Ok(Ok(())) => Ok(path),
        failed => {
            let why = match failed {
                Ok(Err(e)) => e.to_string(),
                _ => format!("it took longer than {} s", DUMP_GRACE.as_secs()),
            };
            // Half an archive is useless.
            let _ = std::fs::remove_file(&path);
            Err(why)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_leaves_an_archive() {
        let folder = tempfile::tempdir().expect("a folder");
        let runtime = Runtime::new().expect("a runtime");
        let console = Console::new("bigsql", true, false);
        let seen = OnceLock::new();
        let fails = |fails: bool| async move {
            assert!(!fails, "a test of panics");
            7
        };
        let run = |wrong| guarded(&runtime, fails(wrong), &seen, folder.path(), &console);
        let left = || std::fs::read_dir(folder.path()).expect("a folder").flatten();
        assert_eq!(run(true), PANICKED);
        assert_eq!(left().count(), 0, "there was no session yet");
        seen.set(Inspector::alone(folder.path().to_owned())).expect("it is set once");
        assert_eq!(run(false), 7);
        assert_eq!(left().count(), 0, "nothing is wrong");
        assert_eq!(run(true), PANICKED);
        let bytes = std::fs::read(left().next().expect("an archive").path()).expect("its bytes");
        assert!(bytes.starts_with(b"PK"), "it is a zip archive");
        let name = b"metrics.txt";
        assert!(bytes.windows(name.len()).any(|window| window == name));
    }
}
