//! Output of results: standard output, or a file that appears once it is complete.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// The destination of results.
pub(crate) enum Output {
    /// Standard output.
    Stdout,
    /// A file.
    File(Target),
}

/// When an output file appears under its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Appear {
    /// After every successful statement: at a prompt, where the user looks at it in between.
    PerStatement,
    /// After the last statement.
    AtEnd,
}

/// A file written under a temporary name beside its final one.
pub(crate) struct Target {
    path: PathBuf,
    /// The temporary name; `None` once complete, and for files that cannot be renamed, such as
    /// devices.
    temporary: Option<PathBuf>,
    file: File,
    appear: Appear,
    /// The length when the running statement began.
    complete: u64,
}

impl Output {
    /// Opens a file.
    pub(crate) fn file(path: &Path, appear: Appear) -> Result<Self> {
        let attempt = || format!("cannot write \"{}\"", path.display());
        Target::open(path, appear).map(Self::File).map_err(|e| Error::io(attempt(), e))
    }

    /// Whether a person sees the output as it is written.
    pub(crate) fn is_terminal(&self) -> bool {
        matches!(self, Self::Stdout) && io::stdout().is_terminal()
    }

    /// Writes and flushes bytes.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        match self {
            Self::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout
                    .write_all(bytes)
                    .and_then(|()| stdout.flush())
                    .map_err(|e| Error::io("cannot write to standard output", e))
            }
            Self::File(target) => {
                let written = target.file.write_all(bytes);
                written.map_err(|e| {
                    Error::io(format!("cannot write \"{}\"", target.path.display()), e)
                })
            }
        }
    }

    /// Keeps the output of a successful statement.
    pub(crate) fn keep(&mut self) -> Result<()> {
        let Self::File(target) = self else { return Ok(()) };
        target
            .keep()
            .map_err(|e| Error::io(format!("cannot write \"{}\"", target.path.display()), e))
    }

    /// Removes the output of a failed statement, if possible.
    pub(crate) fn take_back(&mut self) -> Result<()> {
        let Self::File(target) = self else { return Ok(()) };
        target
            .take_back()
            .map_err(|e| Error::io(format!("cannot write \"{}\"", target.path.display()), e))
    }

    /// Completes the output. Without this call, a file that has not appeared yet never will.
    pub(crate) fn finish(&mut self) -> Result<()> {
        let Self::File(target) = self else { return Ok(()) };
        target
            .appear()
            .map_err(|e| Error::io(format!("cannot write \"{}\"", target.path.display()), e))
    }
}

impl Target {
    fn open(path: &Path, appear: Appear) -> io::Result<Self> {
        // A symbolic link stays, and the file that it points to is replaced.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let existing = fs::metadata(&path).ok();
        if existing.as_ref().is_some_and(fs::Metadata::is_dir) {
            return Err(io::Error::from(io::ErrorKind::IsADirectory));
        }
        if existing.as_ref().is_some_and(|existing| !existing.is_file()) {
            let file = OpenOptions::new().write(true).open(&path)?;
            return Ok(Self { path, temporary: None, file, appear, complete: 0 });
        }
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut hidden = std::ffi::OsString::from(".");
        hidden.push(name);
        hidden.push(format!(".{}.bigsql", std::process::id()));
        let temporary = path.with_file_name(hidden);
        let file = OpenOptions::new().write(true).create(true).truncate(true).open(&temporary)?;
        let target = Self { path, temporary: Some(temporary), file, appear, complete: 0 };
        if let Some(existing) = existing {
            target.file.set_permissions(existing.permissions())?;
        }
        Ok(target)
    }

    fn keep(&mut self) -> io::Result<()> {
        if !self.file.metadata()?.is_file() {
            return Ok(());
        }
        self.complete = self.file.stream_position()?;
        if self.appear == Appear::PerStatement { self.appear() } else { Ok(()) }
    }

    fn take_back(&mut self) -> io::Result<()> {
        if !self.file.metadata()?.is_file() {
            return Ok(());
        }
        self.file.set_len(self.complete)?;
        self.file.seek(SeekFrom::Start(self.complete)).map(|_| ())
    }

    fn appear(&mut self) -> io::Result<()> {
        if let Some(temporary) = &self.temporary {
            fs::rename(temporary, &self.path)?;
            self.temporary = None;
        }
        Ok(())
    }
}

impl Drop for Target {
    fn drop(&mut self) {
        if let Some(temporary) = &self.temporary {
            // The folder may be gone by now; there is nothing to do about that.
            let _ = fs::remove_file(temporary);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(folder: &Path) -> Vec<String> {
        let entries = fs::read_dir(folder).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn a_file_appears_when_it_is_complete() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        let mut output = Output::file(&path, Appear::AtEnd).unwrap();
        output.write(b"one\n").unwrap();
        output.keep().unwrap();
        assert!(!path.exists());
        output.write(b"half of tw").unwrap();
        output.take_back().unwrap();
        output.write(b"three\n").unwrap();
        output.keep().unwrap();
        output.finish().unwrap();
        drop(output);
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\nthree\n");
        assert_eq!(names(folder.path()), ["out.csv"]);
    }

    #[test]
    fn a_file_that_is_not_finished_leaves_what_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        fs::write(&path, "before").unwrap();
        let mut output = Output::file(&path, Appear::AtEnd).unwrap();
        output.write(b"half").unwrap();
        drop(output);
        assert_eq!(fs::read_to_string(&path).unwrap(), "before");
        assert_eq!(names(folder.path()), ["out.csv"]);
    }

    #[test]
    fn at_a_prompt_a_file_appears_after_each_statement() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out.csv");
        let mut output = Output::file(&path, Appear::PerStatement).unwrap();
        output.write(b"one\n").unwrap();
        output.keep().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
        output.write(b"tw").unwrap();
        output.take_back().unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "one\n");
    }

    #[test]
    fn devices_are_written_as_they_are() {
        let mut output = Output::file(Path::new("/dev/null"), Appear::AtEnd).unwrap();
        output.write(b"x").unwrap();
        output.keep().unwrap();
        output.take_back().unwrap();
        output.finish().unwrap();
        assert!(Path::new("/dev/null").exists());
        assert!(Output::file(Path::new("/"), Appear::AtEnd).is_err());
    }
}
