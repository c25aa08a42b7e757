//! A session's environment variables: access to stores, and the path of the settings file.

use std::path::PathBuf;

use bigslice_files::Environment;

/// The prefix of variables that a session may read, besides [`NAMES`].
const PREFIX: &str = "AWS_";

/// The location of credential files, and the proxies for stores.
const NAMES: [&str; 7] =
    ["HOME", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"];

/// The environment of a session.
#[derive(Debug, Default)]
pub(super) struct Surroundings {
    /// Access to stores.
    pub(super) engine: Environment,
    /// The path of the settings file, if there is one.
    pub(super) config_file: Option<PathBuf>,
    /// The user who runs the program, as the default owner of machines.
    pub(super) user: Option<String>,
}

impl Surroundings {
    /// Reads the environment of this process.
    pub(super) fn read() -> Self {
        Self::of(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }))
    }

    pub(super) fn of(variables: impl Iterator<Item = (String, String)>) -> Self {
        let mut engine = Vec::new();
        let (mut home, mut config_home, mut user) = (None, None, None);
        for (name, value) in variables.filter(|(_, value)| !value.is_empty()) {
            match name.as_str() {
                "HOME" => home = Some(PathBuf::from(&value)),
                "USER" => user = Some(value.clone()),
                // The XDG specification says to ignore relative paths.
                "XDG_CONFIG_HOME" => {
                    config_home = Some(PathBuf::from(&value)).filter(|path| path.is_absolute());
                }
                _ => {}
            }
            if name.starts_with(PREFIX) || NAMES.contains(&name.as_str()) {
                engine.push((name, value));
            }
        }
        let config_home = config_home.or_else(|| Some(home?.join(".config")));
        Self {
            engine: engine.into_iter().collect(),
            config_file: config_home.map(|folder| folder.join("bigslice/config.toml")),
            user,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Surroundings {
        Surroundings::of(variables.iter().map(|(name, value)| ((*name).into(), (*value).into())))
    }

    #[test]
    fn a_session_sees_only_what_concerns_it() {
        let found = of(&[("AWS_REGION", "eu-west-1"), ("HOME", "/h"), ("SECRET", "x")]);
        let names: Vec<_> = found.engine.iter().map(|(name, _)| name.to_owned()).collect();
        assert_eq!(names, ["AWS_REGION", "HOME"]);
    }

    #[test]
    fn the_file_is_where_the_user_wants_it() {
        let file = |variables: &[(&str, &str)]| of(variables).config_file;
        assert_eq!(file(&[("HOME", "/h")]), Some("/h/.config/bigslice/config.toml".into()));
        assert_eq!(
            file(&[("XDG_CONFIG_HOME", "/c"), ("HOME", "/h")]),
            Some("/c/bigslice/config.toml".into())
        );
        assert_eq!(
            file(&[("XDG_CONFIG_HOME", "relative"), ("HOME", "/h")]),
            Some("/h/.config/bigslice/config.toml".into())
        );
        assert_eq!(file(&[]), None);
    }
}
