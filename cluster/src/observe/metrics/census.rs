//! The numbers of a fleet.

/// How a fleet is at some moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Census {
    /// How many machines are wanted.
    pub wanted: usize,
    /// How many are being started.
    pub starting: usize,
    /// How many run, those on probation included.
    pub running: usize,
    /// How many run besides and will be taken away soon.
    pub leaving: usize,
    /// How many of those that run are on probation.
    pub on_probation: usize,
    /// How many have come up so far.
    pub started_total: u64,
    /// How many were released so far because they were not wanted any more.
    pub released_total: u64,
    /// How many were lost so far.
    pub lost_total: u64,
}
