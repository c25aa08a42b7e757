//! The prompt at a terminal: the program under a pseudo-terminal, keys in, screen out. The editor
//! draws with many escape codes; the tests look for the text between them.

use std::io::{Read, Write};
use std::process::Child;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use pty_process::blocking::{Command, Pty};
use tempfile::TempDir;

use crate::PROGRAM;

/// Time limit for expected output.
const DEADLINE: Duration = Duration::from_secs(60);

/// Time limit for the end of a cancelled query, also on a busy computer.
const CANCEL_DEADLINE: Duration = Duration::from_secs(5);

/// A query that would take hours.
const ENDLESS: &str = "select sum(value % 7) from generate_series(1, 9000000000000);";

const CTRL_C: &str = "\x03";
const CTRL_D: &str = "\x04";
const UP: &str = "\x1b[A";

/// The request that the editor sends to learn the cursor's position.
const WHERE_IS_THE_CURSOR: &[u8] = b"\x1b[6n";

/// Queued pieces of the screen.
const PIECES_MAX: usize = 1_000;

/// The program at a terminal.
struct Terminal {
    child: Child,
    pty: std::sync::Arc<Pty>,
    pieces: Receiver<Vec<u8>>,
    reader: Option<JoinHandle<()>>,
    /// Output that was received but not searched yet.
    seen: String,
}

impl Terminal {
    fn start(folder: &TempDir) -> Self {
        let pty = Pty::new().expect("a pseudo-terminal");
        pty.resize(pty_process::Size::new(40, 120)).expect("a size");
        let child = Command::new(PROGRAM)
            .current_dir(folder.path())
            .env_clear()
            .env("HOME", folder.path())
            .env("TMPDIR", folder.path())
            .env("TERM", "xterm")
            .env("NO_COLOR", "1")
            .spawn(&pty.pts().expect("its other end"))
            .expect("the program");
        let pty = std::sync::Arc::new(pty);
        let (sender, pieces) = sync_channel(PIECES_MAX);
        let from = std::sync::Arc::clone(&pty);
        // Ends when the program closes the terminal.
        let reader = std::thread::spawn(move || {
            let mut piece = [0; 4096];
            while let Ok(n) = (&*from).read(&mut piece) {
                let piece = &piece[..n];
                if n == 0 || sender.send(piece.to_vec()).is_err() {
                    return;
                }
                for _ in
                    piece.windows(WHERE_IS_THE_CURSOR.len()).filter(|w| *w == WHERE_IS_THE_CURSOR)
                {
                    if (&*from).write_all(b"\x1b[1;1R").is_err() {
                        return;
                    }
                }
            }
        });
        Self { child, pty, pieces, reader: Some(reader), seen: String::new() }
    }

    fn press(&mut self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).expect("the terminal takes keys");
    }

    /// Waits until `text` is on the screen, and drops everything up to it.
    fn wait_for(&mut self, text: &str) {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(at) = self.seen.find(text) {
                self.seen.drain(..at + text.len());
                return;
            }
            let left = end.saturating_duration_since(Instant::now());
            match self.pieces.recv_timeout(left) {
                Ok(piece) => self.seen.push_str(&plain(&String::from_utf8_lossy(&piece))),
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("no {text:?} came, but {:?}", self.seen)
                }
            }
        }
    }

    /// Waits for the prompt and types a line.
    fn enter(&mut self, line: &str) {
        self.wait_for("bigsql> ");
        self.press(&format!("{line}\r"));
    }

    /// Waits until the program has ended, and returns its exit code.
    fn end(mut self) -> Option<i32> {
        let end = Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.code();
            }
            assert!(Instant::now() < end, "it does not end: {:?}", self.seen);
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended, as it should.
        let _ = self.child.kill();
        let _ = self.child.wait();
        // The reader waits until its end of the terminal is closed.
        while self.pieces.try_recv().is_ok() {}
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

/// The text without escape codes.
fn plain(text: &str) -> String {
    let mut plain = String::new();
    let mut chars = text.chars();
    while let Some(char) = chars.next() {
        if char != '\x1b' {
            plain.push(char);
            continue;
        }
        if chars.next() == Some('[') {
            chars.by_ref().find(char::is_ascii_alphabetic);
        }
    }
    plain
}

#[test]
fn statements_of_several_lines_are_run_and_remembered() {
    let folder = TempDir::new().expect("a temporary folder");
    let mut terminal = Terminal::start(&folder);
    terminal.wait_for("\".help\" lists the commands");
    terminal.enter("select 20 + 1");
    terminal.wait_for("......> ");
    terminal.press("as one_line;\r");
    terminal.wait_for("│ one_line │");
    terminal.wait_for("│       21 │");
    terminal.wait_for("1 row in ");
    terminal.enter("select 'other' as word;");
    terminal.wait_for("│ other");
    // The previous statement comes back as a whole.
    terminal.wait_for("bigsql> ");
    terminal.press(&format!("{UP}{UP}"));
    terminal.wait_for("as one_line;");
    terminal.press("\r");
    terminal.wait_for("│       21 │");
    terminal.enter("select nonsense;");
    terminal.wait_for("there is no column");
    terminal.enter(".quit");
    assert_eq!(terminal.end(), Some(0));

    // The history survives a restart.
    let mut terminal = Terminal::start(&folder);
    terminal.wait_for("bigsql> ");
    terminal.press(&format!("{UP}{UP}{UP}"));
    terminal.wait_for("as one_line;");
    terminal.press("\r");
    terminal.wait_for("│       21 │");
    terminal.enter(".quit");
    assert_eq!(terminal.end(), Some(0));
}

#[test]
fn ctrl_c_cancels_a_query_and_keeps_the_prompt() {
    let folder = TempDir::new().expect("a temporary folder");
    let mut terminal = Terminal::start(&folder);
    terminal.enter(ENDLESS);
    // The progress line appears after a second.
    terminal.wait_for("1.2 s");
    let pressed = Instant::now();
    terminal.press(CTRL_C);
    terminal.wait_for("cancelled");
    terminal.wait_for("bigsql> ");
    let took = pressed.elapsed();
    assert!(took < CANCEL_DEADLINE, "the query went on for {took:?}");
    // Again, because the first Ctrl-C was handled.
    terminal.press(&format!("{ENDLESS}\r"));
    terminal.wait_for("1.2 s");
    terminal.press(CTRL_C);
    terminal.wait_for("cancelled");
    terminal.enter("select 6 * 7 as answer;");
    terminal.wait_for("│     42 │");
    terminal.wait_for("1 row in ");
    terminal.wait_for("bigsql> ");
    terminal.press(CTRL_D);
    assert_eq!(terminal.end(), Some(0));
}
