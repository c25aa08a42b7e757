//! The shell's environment variables. Those of a session are read in the engine.

use std::path::PathBuf;

/// Settings of the shell from the environment.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// The folder for state kept between runs.
    pub(crate) state_folder: Option<PathBuf>,
    /// True if the user wants no colours.
    pub(crate) no_color: bool,
    /// The terminal width to assume.
    pub(crate) columns: Option<usize>,
    /// The log filter, in the syntax of tracing.
    pub(crate) log: Option<String>,
}

impl Surroundings {
    /// Reads the environment of this process.
    pub(crate) fn read() -> Self {
        Self::of(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }))
    }

    fn of(variables: impl Iterator<Item = (String, String)>) -> Self {
        let mut found = Self::default();
        let mut home = None;
        let mut terminal_is_dumb = false;
        for (name, value) in variables.filter(|(_, value)| !value.is_empty()) {
            match name.as_str() {
                "HOME" => home = Some(PathBuf::from(&value)),
                "XDG_STATE_HOME" => {
                    // The XDG specification says to ignore relative paths.
                    let folder = PathBuf::from(&value);
                    found.state_folder = folder.is_absolute().then(|| folder.join("bigslice"));
                }
                "NO_COLOR" => found.no_color = true,
                "TERM" => terminal_is_dumb = value == "dumb",
                "COLUMNS" => found.columns = value.parse().ok().filter(|columns| *columns > 0),
                "BIGSLICE_LOG" => found.log = Some(value.clone()),
                _ => {}
            }
        }
        found.no_color |= terminal_is_dumb;
        found.state_folder =
            found.state_folder.or_else(|| Some(home?.join(".local/state/bigslice")));
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Surroundings {
        Surroundings::of(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())))
    }

    #[test]
    fn state_is_kept_where_the_user_wants_it() {
        let folder = |variables: &[(&str, &str)]| of(variables).state_folder;
        assert_eq!(folder(&[("HOME", "/h")]), Some("/h/.local/state/bigslice".into()));
        assert_eq!(folder(&[("XDG_STATE_HOME", "/s"), ("HOME", "/h")]), Some("/s/bigslice".into()));
        assert_eq!(
            folder(&[("XDG_STATE_HOME", "relative"), ("HOME", "/h")]),
            Some("/h/.local/state/bigslice".into())
        );
        assert_eq!(folder(&[]), None);
    }
}
