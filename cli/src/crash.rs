//! What is left when the program itself panics, which is a defect of ours: an archive of what is known
//! of the session and its machines, for whoever is to mend it. A panic in a query is an error of the
//! query and does not come here.

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

/// What the names of the engine's threads begin with.
const ENGINE: &str = "bigslice-";

/// The exit code of a program that panics, which Rust itself uses.
const PANICKED: u8 = 101;

/// How long the archive may take: machines are asked what they count, and whatever made the program panic may
/// hold that up.
const DUMP_GRACE: Duration = Duration::from_secs(10);

/// Lets panics on the engine's threads be told by the errors that they become: the engine catches them. What
/// Rust would print of them, and the way there, goes to the log.
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

/// Runs `work` to its end, and gives its exit code. If it panics, what `seen` shows by then goes into an
/// archive in `folder`, whose path is printed.
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
            console.error(&format!("what is known of the session is in \"{path}\""));
        }
        Ok(Err(why)) => console.error(&format!("there is no archive of the session: {why}")),
        // The panic is printed, and there is nothing to add.
        Err(_) => {}
    }
    PANICKED
}

async fn dump(inspector: &Inspector, folder: &Path) -> Result<PathBuf, String> {
    let path = folder.join(format!("bigsql-crash-{}.zip", std::process::id()));
    let mut options = OpenOptions::new();
    // Nobody but the user reads it, and nothing that was put there is written to.
    let opened = options.write(true).create_new(true).mode(0o600).open(&path);
    let file = opened.map_err(|e| format!("\"{}\": {e}", path.display()))?;
    match tokio::time::timeout(DUMP_GRACE, inspector.dump(file)).await {
        Ok(Ok(())) => Ok(path),
        failed => {
            let why = match failed {
                Ok(Err(e)) => e.to_string(),
                _ => format!("it took longer than {} s", DUMP_GRACE.as_secs()),
            };
            // Half of an archive is none.
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
