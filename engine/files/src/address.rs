//! Web addresses as paths of a store, and back.

use object_store::path::Path;
use url::Url;

/// Stand in the path of a web address for what cannot be in a path of a store: a slash that parts
/// nothing, and the question mark before a query. They have no meaning in Unicode, and are never in
/// an address, which is ASCII.
pub(crate) const SLASH: char = '\u{e001}';
const QUERY: char = '\u{e002}';

/// The path of a web address as its server names it.
pub(crate) fn without_query(path: &str) -> &str {
    path.split_once(QUERY).map_or(path, |(path, _)| path)
}

/// The query of the web address of a path.
pub(crate) fn query(path: &str) -> Option<&str> {
    path.split_once(QUERY).map(|(_, query)| query)
}

/// The path, percent-encoded as it is, and the query of a web address as the path of a store.
pub(crate) fn web_path(url: &Url) -> std::result::Result<Path, object_store::path::Error> {
    let mut path = url.path().trim_start_matches('/').to_owned();
    // Stores know no empty names of folders.
    while path.contains("//") {
        path = path.replacen("//", &format!("/{SLASH}"), 1);
    }
    if let Some(query) = url.query() {
        path.push(QUERY);
        path.push_str(&query.replace('/', &SLASH.to_string()));
    }
    Path::parse(path)
}

/// The path and query of a web address, from its path in the store.
pub(crate) fn web_address(path: &Path) -> String {
    format!("/{}", path.as_ref().replace(SLASH, "/").replacen(QUERY, "?", 1))
}
