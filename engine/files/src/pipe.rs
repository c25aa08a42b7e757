//! Standard input and named pipes as files. What comes out of a pipe is there once, and only in
//! this process; a query reads the head of a file for its columns and then the file, perhaps in
//! parts, on machines and more than once. So a pipe is copied to a temporary file when it is named
//! first, and is that file for the rest of the session.

use std::collections::HashMap;
use std::fs::File;
use std::io::{Read, Seek, Write};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use datafusion::error::{DataFusionError, Result};
use flate2::read::GzDecoder;
use tempfile::TempDir;
use tokio::sync::Mutex;

use crate::error::{SourceError, SourceErrorKind};
use crate::format::Format;

/// How a user may write standard input.
const STANDARD_INPUT: &str = "-";

/// Where standard input is.
const STANDARD_INPUT_PATH: &str = "/dev/stdin";

/// Folders with the open files of a process.
const OPEN_FILES: [&str; 3] = ["/dev/fd/", "/proc/self/fd/", "/dev/stdin"];

/// How much of a pipe tells its format.
const HEAD_BYTES: u64 = 4096;

/// The pipes that a session has read.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    copied: Mutex<Copied>,
}

#[derive(Debug, Default)]
struct Copied {
    /// Where the copies are; goes with the session.
    folder: Option<TempDir>,
    files: HashMap<PathBuf, PathBuf>,
}

/// True if a name means standard input.
pub(crate) fn is_standard_input(text: &str) -> bool {
    text == STANDARD_INPUT
}

impl Pipes {
    /// The file with the content of a pipe; `None` if the name is not that of a pipe.
    pub(crate) async fn file(&self, text: &str) -> Result<Option<String>> {
        let name = if is_standard_input(text) { STANDARD_INPUT_PATH } else { text };
        let path = PathBuf::from(name.strip_prefix("file://").unwrap_or(name));
        if !is_pipe(&path) {
            return Ok(None);
        }
        let mut copied = self.copied.lock().await;
        if let Some(file) = copied.files.get(&path) {
            return Ok(Some(file.display().to_string()));
        }
        let folder = match copied.folder.take() {
            Some(folder) => folder,
            None => tempfile::Builder::new()
                .prefix("bigslice-pipes-")
                .tempdir()
                .map_err(|error| failed(text, &error))?,
        };
        let target = folder.path().join(copied.files.len().to_string());
        copied.folder = Some(folder);
        let from = path.clone();
        let copying = tokio::task::spawn_blocking(move || copy(&from, &target));
        let file = copying
            .await
            .map_err(|error| DataFusionError::External(Box::new(error)))?
            .map_err(|error| failed(text, &error))?;
        let shown = file.display().to_string();
        copied.files.insert(path, file);
        Ok(Some(shown))
    }
}

/// Is it something that can be read once, or that another process sees differently?
fn is_pipe(path: &Path) -> bool {
    let open = OPEN_FILES.iter().any(|folder| path.to_string_lossy().starts_with(folder));
    let Ok(about) = path.metadata() else { return false };
    let kind = about.file_type();
    kind.is_fifo() || kind.is_socket() || (open && !kind.is_dir())
}

/// Copies a pipe to its end into a folder, under its own name.
fn copy(pipe: &Path, folder: &Path) -> std::io::Result<PathBuf> {
    let mut from = File::open(pipe)?;
    let below = pipe.strip_prefix("/").unwrap_or(pipe);
    let file = folder.join(below);
    if let Some(parent) = file.parent() {
        std::fs::create_dir_all(parent)?;
    }
    let mut to = File::options().read(true).write(true).create_new(true).open(&file)?;
    std::io::copy(&mut from, &mut to)?;
    to.flush()?;
    if Format::of_name(&file.to_string_lossy()).is_some() {
        return Ok(file);
    }
    // The name of a pipe seldom tells what comes out of it.
    to.rewind()?;
    let mut head = Vec::new();
    to.take(HEAD_BYTES).read_to_end(&mut head)?;
    let mut named = file.clone().into_os_string();
    named.push(ending(&head));
    let named = PathBuf::from(named);
    std::fs::rename(&file, &named)?;
    Ok(named)
}

/// The ending of the name of a file that begins so.
fn ending(head: &[u8]) -> &'static str {
    match head {
        [b'P', b'A', b'R', b'1', ..] => ".parquet",
        [b'A', b'R', b'R', b'O', b'W', b'1', ..] | [0xFF, 0xFF, 0xFF, 0xFF, ..] => ".arrow",
        [b'O', b'b', b'j', 1, ..] => ".avro",
        [0x1F, 0x8B, ..] => {
            let mut text = Vec::new();
            // The beginning is enough.
            let _cut_off = GzDecoder::new(head).read_to_end(&mut text);
            if is_json(&text) { ".json.gz" } else { ".csv.gz" }
        }
        head if is_json(head) => ".json",
        _ => ".csv",
    }
}

fn is_json(head: &[u8]) -> bool {
    let head = head.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(head);
    matches!(head.iter().find(|byte| !byte.is_ascii_whitespace()), Some(b'{' | b'['))
}

fn failed(text: &str, error: &std::io::Error) -> DataFusionError {
    let kind = match error.kind() {
        std::io::ErrorKind::StorageFull => SourceErrorKind::Full,
        _ => SourceErrorKind::Missing,
    };
    SourceError::new(kind, format!("\"{text}\" cannot be read: {error}")).into_datafusion()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_comes_out_of_a_pipe_tells_its_format() {
        assert_eq!(ending(b"PAR1\x15"), ".parquet");
        assert_eq!(ending(b"\xEF\xBB\xBF [{}]"), ".json");
        assert_eq!(ending(b"a,b\n"), ".csv");
        assert_eq!(ending(b""), ".csv");
    }

    #[test]
    fn files_are_no_pipes() {
        assert!(!is_pipe(Path::new("/")));
        assert!(!is_pipe(Path::new("/no/such/file")));
    }
}
