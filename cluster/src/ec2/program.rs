//! The program that machines run: this very one where they have the architecture of this host, and
//! otherwise one that the user has built for them. Looked at before anything is started that costs.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};

use ring::digest::{Context, SHA256};

use super::spec::Ec2Spec;
use crate::error::{Error, Result};
use crate::local::own_program;

/// Read from the file at once.
const CHUNK_SIZE: usize = 256 << 10;
/// Where an ELF file says for which machine it is, and what it says: the header's first 20 bytes.
const ELF_HEADER_SIZE: usize = 20;
const ELF_MAGIC: &[u8] = b"\x7fELF";
/// The machines of EC2, as EC2 names them and as ELF does.
const ARCHITECTURES: [(&str, u16); 2] = [("x86_64", 62), ("arm64", 183)];

/// A program that is fit for machines of one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// Where it is on this host.
    pub(super) path: PathBuf,
    /// Its size in bytes.
    pub(super) size: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub(super) sha256: String,
}

impl Program {
    /// The program for `arch`, as EC2 names it.
    pub(super) fn find(spec: &Ec2Spec, arch: &str) -> Result<Self> {
        let path = match spec.worker_binaries.get(arch) {
            Some(path) => path.clone(),
            None => own_program().map_err(Error::io("find this program's own file"))?,
        };
        Self::read(&path, arch)
    }

    fn read(path: &Path, arch: &str) -> Result<Self> {
        let reading = || format!("read \"{}\"", path.display());
        let mut file = File::open(path).map_err(Error::io(reading()))?;
        let mut digest = Context::new(&SHA256);
        let mut chunk = vec![0; CHUNK_SIZE];
        let mut size = 0;
        loop {
            let read = file.read(&mut chunk).map_err(Error::io(reading()))?;
            if size == 0 {
                fits(path, &chunk[..read], arch)?;
            }
            if read == 0 {
                break;
            }
            digest.update(&chunk[..read]);
            size += read as u64;
        }
        let digest = digest.finish();
        let sha256 = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { path: path.to_owned(), size, sha256 })
    }
}

fn fits(path: &Path, head: &[u8], arch: &str) -> Result<()> {
    let machine = head
        .get(..ELF_HEADER_SIZE)
        .filter(|head| head.starts_with(ELF_MAGIC))
        .map(|head| u16::from_le_bytes([head[18], head[19]]));
    let is =
        ARCHITECTURES.iter().find(|(_, number)| Some(*number) == machine).map(|(name, _)| *name);
    if is == Some(arch) {
        return Ok(());
    }
    let what = is.map_or_else(|| "not a program for Linux".to_owned(), |is| format!("for {is}"));
    Err(Error::Options(format!(
        "the machines are {arch}, but \"{}\" is {what}: choose another instance type, or build the \
         program for {arch} and give it as worker-binary.{arch}=PATH",
        path.display()
    )))
}
