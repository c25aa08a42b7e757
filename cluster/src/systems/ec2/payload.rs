//! The payload of an instance besides its program: the user's files and units. Measured before
//! anything is started that costs, sent over the link, and verified there.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};
use serde::Serialize;

use super::spec::Ec2Spec;
use crate::error::{Error, Result};

/// The bytes read from a file at once.
const CHUNK_SIZE: usize = 256 << 10;
/// The most bytes of all files together. The driver sends them to each machine separately; more
/// belongs in a bucket.
const SIZE_MAX: u64 = 1 << 30;
/// The permission bits of a file.
const MODE_BITS: u32 = 0o777;

/// A file that is sent to the machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Payload {
    /// Its path on this host.
    #[serde(skip)]
    pub(super) path: PathBuf,
    /// Its path on the machine, or the name of a unit.
    name: String,
    /// True if it is a unit of systemd to be started.
    unit: bool,
    pub(super) size: u64,
    mode: u32,
    sha256: String,
}

/// Files first, then units, which may need them.
pub(super) fn pack(spec: &Ec2Spec) -> Result<Vec<Payload>> {
    let files = spec.files.iter().map(|(remote, path)| (path, remote.clone(), false));
    let units = spec.units.iter().map(|path| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        (path, name, true)
    });
    let mut total = 0;
    let packed = files.chain(units).map(|(path, name, unit)| {
        let (size, sha256, mode) = measure(path, |_| Ok(()))?;
        total += size;
        if total > SIZE_MAX {
            return Err(Error::Options(format!(
                "the files for the machines exceed {} MiB; put them into a bucket",
                SIZE_MAX >> 20
            )));
        }
        Ok(Payload { path: path.clone(), name, unit, size, mode, sha256 })
    });
    packed.collect()
}

/// Reads a whole file: its size, its SHA-256 in hexadecimal digits, its mode. `look` checks its
/// first bytes.
pub(super) fn measure(
    path: &Path,
    look: impl FnOnce(&[u8]) -> Result<()>,
) -> Result<(u64, String, u32)> {
    let reading = || format!("read \"{}\"", path.display());
    let mut file = File::open(path).map_err(Error::io(reading()))?;
    let mode = file.metadata().map_err(Error::io(reading()))?.permissions().mode() & MODE_BITS;
    let mut digest = Context::new(&SHA256);
    let mut chunk = vec![0; CHUNK_SIZE];
    let mut look = Some(look);
    let mut size = 0;
    loop {
        let read = file.read(&mut chunk).map_err(Error::io(reading()))?;
        if let Some(look) = look.take() {
            look(&chunk[..read])?;
        }
        if read == 0 {
            break;
        }
        digest.update(&chunk[..read]);
        size += read as u64;
    }
    let sha256 = digest.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok((size, sha256, mode))
}
