//! The profile of all machines together.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::identity::MachineName;
use crate::observe::profile::stacks::{Hertz, Stacks};

/// The root of a flame graph.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Grouping {
    /// All machines as one.
    #[default]
    Together,
    /// Each machine separately, side by side.
    ByMachine,
}

/// The stacks of the threads of all machines, sampled while the profile was taken.
#[derive(Clone, Debug)]
pub struct Profile {
    pub(crate) hertz: Hertz,
    /// When it started, in milliseconds since 1970.
    pub(crate) began_ms: u64,
    pub(crate) lasted: Duration,
    pub(crate) parts: BTreeMap<MachineName, Stacks>,
    pub(crate) missing: BTreeMap<MachineName, String>,
}

impl Profile {
    /// The machines in it. Machines in the driver's process are not named, but included.
    pub fn machines(&self) -> impl Iterator<Item = &MachineName> {
        self.parts.keys()
    }

    /// The machines that are missing from it, with the reasons.
    pub fn missing(&self) -> &BTreeMap<MachineName, String> {
        &self.missing
    }

    /// How long it was taken.
    pub fn lasted(&self) -> Duration {
        self.lasted
    }

    /// The number of samples of all machines.
    pub fn samples(&self) -> u64 {
        self.parts.values().map(Stacks::samples).sum()
    }

    /// The processor time of all samples.
    pub fn cpu_time(&self) -> Duration {
        Duration::from_nanos(self.samples() * self.hertz.period_nanos())
    }

    /// A summary in one line.
    pub fn summary(&self) -> String {
        let mut text = format!(
            "{} samples, {:.1} s of processor time in {:.1} s on {}",
            self.samples(),
            self.cpu_time().as_secs_f64(),
            self.lasted.as_secs_f64(),
            match self.parts.len() {
                1 => "one process".to_owned(),
                n => format!("{n} processes"),
            }
        );
        for (machine, reason) in &self.missing {
            text.push_str(&format!("; without {machine}: {reason}"));
        }
        text
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use super::Profile;
    use crate::identity::MachineName;
    use crate::observe::profile::stacks::{Function, Hertz, Stack, Stacks};

    /// One machine was three times in `main -> work<T>`, another once in `main`; a third is
    /// missing.
    pub(in crate::observe::profile) fn profile() -> Profile {
        let function =
            |name: &str| Function { name: name.to_owned(), file: "a.rs".to_owned(), line: 7 };
        let stacks = |names: &[&str], samples| Stacks {
            hertz: Hertz::new(100).expect("a frequency"),
            functions: names.iter().map(|name| function(name)).collect(),
            stacks: vec![Stack {
                thread: "t".to_owned(),
                // Samples without a function are left out.
                frames: (0..=u32::try_from(names.len()).expect("few")).collect(),
                samples,
            }],
            omitted: 0,
        };
        let parts = [
            (MachineName::worker(0), stacks(&["work<T>", "main"], 3)),
            (MachineName::worker(1), stacks(&["main"], 1)),
        ];
        Profile {
            hertz: Hertz::new(100).expect("a frequency"),
            began_ms: 5,
            lasted: Duration::from_secs(2),
            parts: BTreeMap::from(parts),
            missing: BTreeMap::from([(MachineName::worker(2), "it is \"gone\"".to_owned())]),
        }
    }

    #[test]
    fn a_profile_says_what_it_is() {
        let profile = profile();
        assert_eq!(
            profile.summary(),
            "4 samples, 0.0 s of processor time in 2.0 s on 2 processes; without m2: it is \"gone\""
        );
        assert_eq!(profile.cpu_time(), Duration::from_millis(40));
    }
}
