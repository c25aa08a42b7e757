//! Removes a folder when this process is gone, however it ended.
//!
//! ```text
//!   driver ──── pipe ────► sh: reads until the end, then removes the folder
//!      └ killed, or exits: the system closes its end of the pipe
//! ```
//!
//! Nothing within a process survives `kill -9`. A session whose machines are all in its own process
//! has no other process that outlives it, so a shell waits beside it.

use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Reads until the pipe is closed. Ignores the signals that end the driver: a closed terminal and a
/// service manager signal all processes that they know of.
const SCRIPT: &str = r#"trap '' HUP INT TERM; read -r _; exec rm -rf -- "$1""#;

/// The waiting process. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Janitor(Child);

impl Janitor {
    /// Removes `folder`, an absolute path, when this process ends or the janitor is dropped.
    ///
    /// `None` if no shell can be started: the folder of a killed driver is then removed by the next
    /// session with the same temp root.
    pub(crate) fn for_folder(folder: &Path) -> Option<Self> {
        use std::os::unix::process::CommandExt;

        #[expect(clippy::disallowed_methods, reason = "the process that outlives this one")]
        let mut shell = Command::new("/bin/sh");
        let started = shell
            .args(["-c", SCRIPT, "bigslice-janitor"])
            .arg(folder)
            // The driver's working folder may be removed before the janitor ends.
            .current_dir("/")
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in a terminal is sent to the group of the driver.
            .process_group(0)
            .spawn();
        match started {
            Ok(child) => Some(Self(child)),
            Err(error) => {
                tracing::debug!(%error, "could not start the shell that waits for the end of this process");
                None
            }
        }
    }
}

impl Drop for Janitor {
    fn drop(&mut self) {
        drop(self.0.stdin.take());
        if let Err(error) = self.0.wait() {
            tracing::debug!(%error, "the process that removes the folder");
        }
    }
}
