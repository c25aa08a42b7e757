//! EC2 options from several places: a table `[ec2]` in the settings file has the user's defaults,
//! `--system ec2:n=8` selects EC2 and adds options, and `--set ec2.n=4` overrides. Without
//! `--system ec2`, none of them applies.

#[cfg(feature = "ec2")]
use bigslice_cluster::ec2::Ec2Spec;

use super::setting::Setting;
use crate::base::system::SystemSpec;
use crate::error::Result;

/// The prefix of EC2 option keys.
pub(super) const PREFIX: &str = "ec2.";

/// The options, in order of precedence.
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
    /// Whether a system is EC2.
    pub(super) fn are(system: &str) -> bool {
        system == "ec2" || system.starts_with("ec2:")
    }

    /// Selects EC2.
    pub(super) fn choose(&mut self, setting: &Setting) -> Result<()> {
        check(&setting.value).map_err(|why| setting.refused(&why))?;
        self.chosen = true;
        self.said.push(Said::Text(setting.clone()));
        Ok(())
    }

    /// Selects another system.
    pub(super) fn leave(&mut self) {
        self.chosen = false;
    }

    /// Records an option, whether or not EC2 is selected.
    pub(super) fn set(&mut self, setting: &Setting) {
        self.said.push(Said::Option(setting.clone()));
    }

    /// The system, if EC2 is selected; `user` is the default owner.
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

    /// The options, whether or not EC2 is selected.
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
                    // A list from one place replaces that from another.
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

    /// Empty: this program was built without EC2, and refuses its selection.
    #[cfg(not(feature = "ec2"))]
    pub(super) fn system(self, _user: Option<&str>) -> Result<Option<SystemSpec>> {
        match self.chosen {
            true => Err(crate::base::system::without_ec2()),
            false => Ok(None),
        }
    }
}

/// Checks a text's own options; others may come from elsewhere.
#[cfg(feature = "ec2")]
pub(super) fn check(text: &str) -> Result<(), String> {
    Ec2Spec::default().set_all(text).map_err(|e| e.to_string())
}

#[cfg(not(feature = "ec2"))]
pub(super) fn check(_text: &str) -> Result<(), String> {
    Err(crate::base::system::without_ec2().to_string())
}
