//! What is said of EC2 in several places, put together: a table `[ec2]` of the file has what a user always wants,
//! `--system ec2:n=8` chooses it and says more, `--set ec2.n=4` prevails. Without the choice none of it counts.

#[cfg(feature = "ec2")]
use bigslice_cluster::ec2::Ec2Spec;

use super::keys::Setting;
use crate::base::system::SystemSpec;
use crate::error::Result;

/// What begins the keys of its options.
pub(super) const PREFIX: &str = "ec2.";

/// What was said, in the order in which it holds.
#[derive(Debug, Default)]
pub(super) struct Instances {
    chosen: bool,
    said: Vec<Said>,
}

#[derive(Debug)]
#[cfg_attr(not(feature = "ec2"), expect(dead_code, reason = "it is noted, and never chosen"))]
enum Said {
    /// A text such as `ec2:n=8,spot`.
    Text(Setting),
    /// An option by its key.
    Option(Setting),
}

impl Instances {
    /// Whether a system is one of instances.
    pub(super) fn are(system: &str) -> bool {
        system == "ec2" || system.starts_with("ec2:")
    }

    /// They are to be what the work is done on.
    pub(super) fn choose(&mut self, setting: &Setting) -> Result<()> {
        check(&setting.value).map_err(|why| setting.refused(&why))?;
        self.chosen = true;
        self.said.push(Said::Text(setting.clone()));
        Ok(())
    }

    /// Something else is.
    pub(super) fn leave(&mut self) {
        self.chosen = false;
    }

    /// One of their options is said, whether or not they are chosen.
    pub(super) fn set(&mut self, setting: &Setting) {
        self.said.push(Said::Option(setting.clone()));
    }

    /// The system, if they are chosen; `user` is who pays, if nobody else is named.
    #[cfg(feature = "ec2")]
    pub(super) fn system(self, user: Option<&str>) -> Result<Option<SystemSpec>> {
        if !self.chosen {
            return Ok(None);
        }
        let spec = self.spec(user)?;
        if let (Err(error), Some(Said::Text(last) | Said::Option(last))) =
            (spec.check(), self.said.last())
        {
            return Err(last.refused(&error.to_string()));
        }
        Ok(Some(SystemSpec::Ec2(Box::new(spec))))
    }

    /// What was said of them, whether or not they are chosen.
    #[cfg(feature = "ec2")]
    pub(super) fn spec(&self, user: Option<&str>) -> Result<Ec2Spec> {
        let mut spec = Ec2Spec::default();
        if let Some(user) = user {
            user.clone_into(&mut spec.owner);
        }
        let mut last = None;
        for said in &self.said {
            let (setting, set) = match said {
                Said::Text(setting) => (setting, spec.set_all(&setting.value)),
                Said::Option(setting) => {
                    let key = setting.key.strip_prefix(PREFIX).unwrap_or(&setting.key);
                    // A list of one place takes the place of another's.
                    if last.is_some_and(|last: &Setting| last.key != setting.key) {
                        match key {
                            "instance" => {
                                spec.instance.clear();
                                (spec.cores, spec.memory_gib) = (None, None);
                            }
                            "cores" | "memory" => spec.instance.clear(),
                            "subnet" => spec.subnets.clear(),
                            _ => {}
                        }
                    }
                    (setting, spec.set(key, &setting.value))
                }
            };
            set.map_err(|e| setting.refused(&e.to_string()))?;
            last = Some(setting);
        }
        Ok(spec)
    }

    /// Nothing: this program was built without them, and does not take their choice.
    #[cfg(not(feature = "ec2"))]
    pub(super) fn system(self, _user: Option<&str>) -> Result<Option<SystemSpec>> {
        match self.chosen {
            true => Err(crate::base::system::without_ec2()),
            false => Ok(None),
        }
    }
}

/// Whether the options of a text are some; others may be said elsewhere.
#[cfg(feature = "ec2")]
pub(super) fn check(text: &str) -> Result<(), String> {
    Ec2Spec::default().set_all(text).map_err(|e| e.to_string())
}

#[cfg(not(feature = "ec2"))]
pub(super) fn check(_text: &str) -> Result<(), String> {
    Err(crate::base::system::without_ec2().to_string())
}
