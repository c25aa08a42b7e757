//! Settings of a session that only tests of programs on sessions have a use for.
//!
//! ```
//! use bigslice::cluster::faults::Faults;
//! use bigslice::prelude::*;
//! use bigslice::testing::TestHooks;
//!
//! let builder = Session::builder()
//!     .machines(MachineKind::InProcess)
//!     .size(FleetSize::Fixed(3))
//!     .faults(Faults::new(42));
//! # drop(builder);
//! ```

use std::path::PathBuf;

use bigslice_cluster::faults::Faults;

use crate::session::builder::SessionBuilder;

/// More settings of a [`SessionBuilder`], for tests. No other type can implement it.
pub trait TestHooks: sealed::Sealed + Sized {
    /// Injects faults into the machines, which must be tasks of this process
    /// ([`MachineKind::InProcess`](crate::MachineKind::InProcess)). See
    /// [`faults`](crate::cluster::faults).
    #[must_use]
    fn faults(self, faults: Faults) -> Self;

    /// The program that machines run instead of this one. It must call
    /// [`worker_main`](crate::worker_main) before anything else.
    #[must_use]
    fn program(self, program: impl Into<PathBuf>) -> Self;
}

impl TestHooks for SessionBuilder {
    fn faults(mut self, faults: Faults) -> Self {
        self.config.faults = Some(faults);
        self
    }

    fn program(mut self, program: impl Into<PathBuf>) -> Self {
        self.config.program = Some(program.into());
        self
    }
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for crate::session::builder::SessionBuilder {}
}
