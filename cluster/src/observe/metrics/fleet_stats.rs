//! The statistics of a fleet.

/// The numbers of machines of a fleet at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FleetStats {
    /// Machines wanted.
    pub wanted: usize,
    /// Machines being started.
    pub starting: usize,
    /// Machines running, including those on probation.
    pub running: usize,
    /// Other running machines that will be taken away soon.
    pub leaving: usize,
    /// Running machines on probation.
    pub on_probation: usize,
    /// Machines started so far.
    pub started_total: u64,
    /// Machines released so far because they were not needed any more.
    pub released_total: u64,
    /// Machines lost so far.
    pub lost_total: u64,
}
