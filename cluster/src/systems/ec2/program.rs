//! The program that machines run: this program if they have the architecture of this host, and
//! otherwise one that the user has built for them. Checked before anything is started that costs.

use std::path::{Path, PathBuf};

use super::kinds;
use super::payload::measure;
use super::spec::Ec2Spec;
use crate::error::{Error, Result};
use crate::systems::local::own_program;

/// The position and values of the machine type in an ELF file: in the header's first 20 bytes.
const ELF_HEADER_SIZE: usize = 20;
const ELF_MAGIC: &[u8] = b"\x7fELF";
/// The architectures of EC2 machines, in the names of EC2 and of ELF.
const ARCHITECTURES: [(&str, u16); 2] = [("x86_64", 62), ("arm64", 183)];

/// The architectures for which there is a program: this host's and those of the user.
pub(super) fn architectures(spec: &Ec2Spec) -> Vec<&'static str> {
    let own = if cfg!(target_arch = "aarch64") { "arm64" } else { "x86_64" };
    let given = |arch: &&str| *arch == own || spec.worker_binaries.contains_key(*arch);
    kinds::ARCHITECTURES.into_iter().filter(given).collect()
}

/// A program for machines of one architecture.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Program {
    /// Its path on this host.
    pub(super) path: PathBuf,
    /// Its size in bytes.
    pub(super) size: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub(super) sha256: String,
}

impl Program {
    /// The program for `arch`, by EC2's name.
    pub(super) fn find(spec: &Ec2Spec, arch: &str) -> Result<Self> {
        let path = match spec.worker_binaries.get(arch) {
            Some(path) => path.clone(),
            None => own_program().map_err(Error::io("find this program's own file"))?,
        };
        Self::read(&path, arch)
    }

    fn read(path: &Path, arch: &str) -> Result<Self> {
        let (size, sha256, _) = measure(path, |head| fits(path, head, arch))?;
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
