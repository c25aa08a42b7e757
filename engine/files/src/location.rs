//! A place as a user writes it (`~/x/*.csv`, `s3://bucket/folder/`, `https://host/a.parquet`),
//! read into the store it is in and the path or pattern within that store.

use std::path::{Component, Path as FsPath, PathBuf};

use datafusion::error::Result;
use datafusion::execution::object_store::ObjectStoreUrl;
use glob::{MatchOptions, Pattern};
use object_store::path::Path;
use url::Url;

use crate::address::{SLASH, web_path, without_query};
use crate::error::{SourceError, SourceErrorKind, invalid};
use crate::format::Format;
use crate::pipe::is_standard_input;

/// Characters that make a path a pattern.
const GLOB: [char; 3] = ['*', '?', '['];

/// The kind of path that a [`Location`] has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Place {
    /// A file, or a folder whose name was written without a slash at its end.
    Path(Path),
    /// A folder.
    Folder(Path),
    /// All files below the folder whose path from there matches.
    Glob(Path, Pattern),
}

/// A place that a user named.
#[derive(Debug, Clone)]
pub struct Location {
    text: String,
    store: ObjectStoreUrl,
    place: Place,
    /// For a pattern: the path if it is not a pattern after all.
    literal: Option<Box<Place>>,
}

impl Location {
    /// Could this name of a table be a place? A name that could not is left to the catalogs.
    pub(crate) fn looks_like_one(text: &str) -> bool {
        text.contains('/')
            || text.starts_with('~')
            || text.contains(['*', '?'])
            || is_standard_input(text)
            || Format::of_name(text).is_some()
    }

    /// Parses a location as a user wrote it; `home` replaces `~`.
    pub fn parse(text: &str, home: Option<&str>) -> Result<Self> {
        if text.is_empty() {
            return Err(invalid("the name of a file or folder is empty".to_owned()));
        }
        match text.split_once("://") {
            Some(("s3" | "s3a", rest)) => Self::bucket(text, rest),
            Some(("http" | "https", _)) => Self::web(text),
            Some(("file", _)) => {
                let path =
                    Url::parse(text).ok().and_then(|url| url.to_file_path().ok()).ok_or_else(
                        || invalid(format!("\"{text}\" is not the address of a local file")),
                    )?;
                Self::local(text, path, text.ends_with('/'))
            }
            Some((scheme, _)) if scheme.chars().all(|c| c.is_ascii_alphanumeric()) => {
                Err(SourceError::new(
                    SourceErrorKind::Invalid,
                    format!("\"{text}\" is at a place of unknown kind \"{scheme}\""),
                )
                .hint("places are local paths, file://, s3://, http:// and https://")
                .into_datafusion())
            }
            _ => Self::local(
                text,
                PathBuf::from(with_home(text.to_owned(), home)?),
                text.ends_with('/'),
            ),
        }
    }

    fn bucket(text: &str, rest: &str) -> Result<Self> {
        let (bucket, key) = rest.split_once('/').unwrap_or((rest, ""));
        let store = ObjectStoreUrl::parse(format!("s3://{bucket}"))
            .ok()
            .filter(|_| !bucket.is_empty() && !bucket.contains(GLOB))
            .ok_or_else(|| invalid(format!("\"{text}\" does not name a bucket")))?;
        let parse = |path: &str| {
            Path::parse(path)
                .map_err(|error| invalid(format!("\"{text}\" is not a valid object key: {error}")))
        };
        let literal = match key.is_empty() || key.ends_with('/') {
            true => Place::Folder(parse(key)?),
            false => Place::Path(parse(key)?),
        };
        if !key.contains(GLOB) {
            return Ok(Self { text: text.to_owned(), store, place: literal, literal: None });
        }
        let (folder, pattern) = split_glob(key);
        let place = Place::Glob(parse(folder)?, compile(text, pattern)?);
        Ok(Self { text: text.to_owned(), store, place, literal: Some(Box::new(literal)) })
    }

    fn web(text: &str) -> Result<Self> {
        let url = Url::parse(text)
            .map_err(|error| invalid(format!("\"{text}\" is not a valid web address: {error}")))?;
        if url.query().is_none() && (url.path().ends_with('/') || url.path().contains('*')) {
            return Err(SourceError::new(
                SourceErrorKind::Invalid,
                format!("\"{text}\" is not one file"),
            )
            .hint("a web server cannot be asked for its files: name each of them")
            .into_datafusion());
        }
        let path = web_path(&url)
            .map_err(|error| invalid(format!("\"{text}\" is not a valid file path: {error}")))?;
        let store = ObjectStoreUrl::parse(&url[..url::Position::BeforePath])?;
        Ok(Self { text: text.to_owned(), store, place: Place::Path(path), literal: None })
    }

    fn local(text: &str, path: PathBuf, folder: bool) -> Result<Self> {
        let path = absolute(path).map_err(|error| {
            invalid(format!("\"{text}\" is not a valid path on this machine: {error}"))
        })?;
        let store = ObjectStoreUrl::local_filesystem();
        let exists = path.try_exists().unwrap_or(false);
        let mut literal = None;
        let place = if !exists && let Some(path) = path.to_str().filter(|p| p.contains(GLOB)) {
            let (prefix, pattern) = split_glob(path);
            let place = local_path(text, FsPath::new(path))?;
            literal =
                Some(Box::new(if folder { Place::Folder(place) } else { Place::Path(place) }));
            Place::Glob(local_path(text, FsPath::new(prefix))?, compile(text, pattern)?)
        } else if path.is_dir() || (folder && !exists) {
            Place::Folder(local_path(text, &path)?)
        } else {
            Place::Path(local_path(text, &path)?)
        };
        Ok(Self { text: text.to_owned(), store, place, literal })
    }

    /// As the user wrote it.
    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The name, whose ending says how the file is compressed. Without the query of a web address.
    pub(crate) fn name(&self) -> &str {
        match self.is_local() || self.bucket_name().is_some() {
            true => &self.text,
            false => self.text.split(['?', '#']).next().unwrap_or_default(),
        }
    }

    /// The store that it is in.
    pub(crate) fn store(&self) -> &ObjectStoreUrl {
        &self.store
    }

    /// The path within the store.
    pub(crate) fn place(&self) -> &Place {
        &self.place
    }

    /// For a pattern: the place if its text is taken literally.
    pub(crate) fn literal(&self) -> Option<&Place> {
        self.literal.as_deref()
    }

    /// The same place as a target for writing, where brackets and question marks are literal.
    pub(crate) fn into_literal(self) -> Self {
        match self.literal {
            Some(literal) if !self.text.contains('*') => {
                Self { place: *literal, literal: None, ..self }
            }
            _ => self,
        }
    }

    /// The same place as a folder, when it is known not to be a file.
    pub(crate) fn into_folder(self) -> Self {
        match self.place {
            Place::Path(path) => Self { place: Place::Folder(path), ..self },
            _ => self,
        }
    }

    /// The address of a file of the store as a user would write it.
    pub(crate) fn show(&self, file: &Path) -> String {
        shown(&self.store, file)
    }

    /// Is it on this machine's disk?
    pub(crate) fn is_local(&self) -> bool {
        self.store.as_str().starts_with("file:")
    }

    /// The bucket, when it is in one.
    pub(crate) fn bucket_name(&self) -> Option<&str> {
        let url: &Url = self.store.as_ref();
        (url.scheme() == "s3").then(|| url.host_str()).flatten()
    }

    /// The address with its path percent-encoded, which DataFusion reads back as the same path
    /// whatever characters are in it.
    pub(crate) fn url(&self) -> Result<Url> {
        let mut url: Url = AsRef::<Url>::as_ref(&self.store).clone();
        let (path, folder) = match &self.place {
            Place::Path(path) => (path, false),
            Place::Folder(path) | Place::Glob(path, _) => (path, true),
        };
        {
            let mut segments = url
                .path_segments_mut()
                .map_err(|()| invalid(format!("\"{}\" cannot have a path", self.text)))?;
            segments.clear().extend(path.parts().map(|part| part.as_ref().to_owned()));
            if folder {
                segments.push("");
            }
        }
        Ok(url)
    }
}

/// A file of a store as a user would write it. The query of a web address is left out: it may have
/// a secret.
pub(crate) fn shown(store: &ObjectStoreUrl, file: &Path) -> String {
    match store.as_str().strip_prefix("file://") {
        Some(_) => format!("/{file}"),
        None => format!("{store}{}", without_query(file.as_ref())).replace(SLASH, "/"),
    }
}

/// How a pattern is matched: `*` stops at a slash, `**` does not.
pub(crate) const MATCHING: MatchOptions = MatchOptions {
    case_sensitive: true,
    require_literal_separator: true,
    require_literal_leading_dot: true,
};

fn compile(text: &str, pattern: &str) -> Result<Pattern> {
    Pattern::new(pattern).map_err(|error| {
        invalid(format!("\"{text}\" is not a valid pattern: {} at {}", error.msg, error.pos))
    })
}

/// Splits before the first segment that has a wildcard.
fn split_glob(path: &str) -> (&str, &str) {
    let first = path.find(GLOB).unwrap_or(path.len());
    let cut = path[..first].rfind('/').map_or(0, |slash| slash + 1);
    path.split_at(cut)
}

/// The same path, with the home folder in the place of a `~` at its start.
pub(crate) fn with_home(text: String, home: Option<&str>) -> Result<String> {
    let Some(rest) = text.strip_prefix('~').filter(|rest| rest.is_empty() || rest.starts_with('/'))
    else {
        return Ok(text);
    };
    let home = home.ok_or_else(|| {
        invalid(format!("\"{text}\" begins with ~, but the home folder is not known (HOME)"))
    })?;
    Ok(format!("{}{rest}", home.trim_end_matches('/')))
}

/// An absolute path without `.` and `..`; links are left as they are unless a `..` follows them.
fn absolute(path: PathBuf) -> std::io::Result<PathBuf> {
    let path = std::path::absolute(path)?;
    if !path.components().any(|part| part == Component::ParentDir) {
        return Ok(path);
    }
    let mut out = PathBuf::new();
    for part in path.components() {
        match part {
            Component::ParentDir => {
                // `link/..` is the folder above what the link points to, as for every other tool.
                out = out.canonicalize().unwrap_or(out);
                out.pop();
            }
            other => out.push(other),
        }
    }
    Ok(out)
}

fn local_path(text: &str, path: &FsPath) -> Result<Path> {
    Path::from_absolute_path(path).map_err(|error| {
        invalid(format!("\"{text}\" is not a valid path on this machine: {error}"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::address::web_address;

    fn place(text: &str) -> Place {
        Location::parse(text, Some("/home/me")).unwrap().place
    }

    #[test]
    fn buckets_keys_and_patterns() {
        assert_eq!(place("s3://b/a/x.csv"), Place::Path(Path::from("a/x.csv")));
        assert_eq!(place("s3://b/a/"), Place::Folder(Path::from("a")));
        assert_eq!(place("s3://b"), Place::Folder(Path::default()));
        let pattern = Pattern::new("*/x.csv").unwrap();
        assert_eq!(place("s3://b/a/*/x.csv"), Place::Glob(Path::from("a"), pattern));
        let key = Place::Path(Path::parse("a b/ü%20.csv").unwrap());
        assert_eq!(place("s3://b/a b/ü%20.csv"), key);
        assert_eq!(Location::parse("s3://b/x", None).unwrap().bucket_name(), Some("b"));
    }

    #[test]
    fn web_addresses_are_sent_as_they_were_written() {
        for (text, sent) in [
            ("https://h/a%20b/x.csv", "/a%20b/x.csv"),
            ("https://h/x.csv?sig=a%2Fb%3D&next=/y//z?", "/x.csv?sig=a%2Fb%3D&next=/y//z?"),
            ("https://h/a//b.csv", "/a//b.csv"),
            ("https://h/?file=x.csv", "/?file=x.csv"),
            ("https://h/ü.csv#part", "/%C3%BC.csv"),
        ] {
            let Place::Path(path) = place(text) else { panic!("{text}") };
            assert_eq!(web_address(&path), sent, "{text}");
            assert!(Format::of_name(path.as_ref()).is_some(), "{text}");
        }
        let location = Location::parse("https://h/d/x.csv?sig=secret", None).unwrap();
        let Place::Path(path) = location.place() else { panic!() };
        assert_eq!(location.show(path), "https://h/d/x.csv");
    }

    #[test]
    fn patterns_may_be_names() {
        let literal = |text: &str| Location::parse(text, None).unwrap().literal().cloned();
        let key = Place::Path(Path::parse("[x] y/z?.csv").unwrap());
        assert_eq!(literal("s3://b/[x] y/z?.csv"), Some(key.clone()));
        assert_eq!(literal("/[x] y/z?.csv"), Some(key.clone()));
        assert_eq!(literal("s3://b/x.csv"), None);
        let written = Location::parse("s3://b/[x] y/z?.csv", None).unwrap().into_literal();
        assert_eq!(*written.place(), key);
        let pattern = Location::parse("s3://b/[x]/*.csv", None).unwrap().into_literal();
        assert!(matches!(pattern.place(), Place::Glob(..)));
    }

    #[test]
    fn local_paths() {
        assert_eq!(
            place("/no/such dir/ü.csv"),
            Place::Path(Path::parse("no/such dir/ü.csv").unwrap())
        );
        assert_eq!(place("file:///no/such%20dir/"), Place::Folder(Path::from("no/such dir")));
        assert_eq!(place("~/x.csv"), Place::Path(Path::from("home/me/x.csv")));
        assert_eq!(place("/no/such/../x.csv"), Place::Path(Path::from("no/x.csv")));
        let here = std::env::current_dir().unwrap().join("x.csv");
        assert_eq!(place("x.csv"), Place::Path(Path::from_absolute_path(here).unwrap()));
    }

    #[test]
    fn the_address_reads_back_as_the_same_path() {
        for text in ["/tmp/a b/ü[1]#%41?.csv", "s3://b/a b/ü.csv"] {
            let location = Location {
                text: text.to_owned(),
                store: Location::parse(text, None).unwrap().store,
                place: Place::Path(
                    Path::parse(text.trim_start_matches("s3://b").trim_start_matches('/')).unwrap(),
                ),
                literal: None,
            };
            let url = location.url().unwrap();
            assert_eq!(&Place::Path(Path::from_url_path(url.path()).unwrap()), location.place());
        }
    }

    #[test]
    fn what_is_no_place_says_why() {
        let message = |text: &str| Location::parse(text, None).unwrap_err().to_string();
        assert!(message("gs://b/x").contains("unknown kind \"gs\""), "{}", message("gs://b/x"));
        assert!(message("https://h/").contains("not one file"));
        assert!(message("s3:///x").contains("does not name a bucket"));
        assert!(message("~/x").contains("HOME"));
        assert!(Location::looks_like_one("flights.parquet"));
        assert!(!Location::looks_like_one("flights"));
    }
}
