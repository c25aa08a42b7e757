//! The only reader of the environment. What the engine may know of it is handed on as a value.

use std::path::PathBuf;

use bigslice::Environment;

/// The start of the names the engine gets to see, besides [`ENGINE_NAMES`].
const ENGINE_PREFIX: &str = "AWS_";

/// Where credentials files are looked for, and through which proxy stores are reached.
const ENGINE_NAMES: [&str; 7] =
    ["HOME", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];

/// What the environment says about how the shell should behave.
#[derive(Debug, Default)]
pub(crate) struct Surroundings {
    /// What the engine may know.
    pub(crate) engine: Environment,
    /// The folder for what is kept between two runs.
    pub(crate) state_folder: Option<PathBuf>,
    /// Whether the user wants no colours anywhere.
    pub(crate) no_color: bool,
    /// The width to assume for the terminal.
    pub(crate) columns: Option<usize>,
    /// What to log, as a filter of tracing.
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
        let mut engine = Vec::new();
        let mut home = None;
        let mut terminal_is_dumb = false;
        for (name, value) in variables.filter(|(_, value)| !value.is_empty()) {
            match name.as_str() {
                "HOME" => home = Some(PathBuf::from(&value)),
                "XDG_STATE_HOME" => {
                    // The specification says to ignore paths that are not absolute.
                    let folder = PathBuf::from(&value);
                    found.state_folder = folder.is_absolute().then(|| folder.join("bigslice"));
                }
                "NO_COLOR" => found.no_color = true,
                "TERM" => terminal_is_dumb = value == "dumb",
                "COLUMNS" => found.columns = value.parse().ok().filter(|columns| *columns > 0),
                "BIGSLICE_LOG" => found.log = Some(value.clone()),
                _ => {}
            }
            if name.starts_with(ENGINE_PREFIX) || ENGINE_NAMES.contains(&name.as_str()) {
                engine.push((name, value));
            }
        }
        found.no_color |= terminal_is_dumb;
        found.state_folder =
            found.state_folder.or_else(|| Some(home?.join(".local/state/bigslice")));
        found.engine = engine.into_iter().collect();
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
    fn the_engine_sees_only_what_concerns_it() {
        let found = of(&[("AWS_REGION", "eu-west-1"), ("HOME", "/h"), ("SECRET", "x")]);
        let names: Vec<_> = found.engine.iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, ["AWS_REGION", "HOME"]);
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
