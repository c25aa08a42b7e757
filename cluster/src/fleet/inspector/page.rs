//! A page added by the user of this crate.

use std::fmt;
use std::sync::Arc;

/// The format of a page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PageKind {
    /// Plain text.
    Text,
    /// JSON.
    Json,
}

impl PageKind {
    pub(crate) fn content_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain; charset=utf-8",
            Self::Json => "application/json",
        }
    }

    /// The file extension.
    pub(crate) fn extension(self) -> &'static str {
        match self {
            Self::Text => "txt",
            Self::Json => "json",
        }
    }
}

/// A page below `/debug`, which is also a file of the dump.
#[derive(Clone)]
pub struct Page {
    name: String,
    title: String,
    kind: PageKind,
    content: Arc<dyn Fn() -> String + Send + Sync>,
}

impl Page {
    /// The page `/debug/NAME`, whose content is generated for each request. Characters of the name
    /// other than ASCII letters and digits become `-`. The content must not hold secrets: it is
    /// written into dumps.
    pub fn new(
        name: &str,
        title: impl Into<String>,
        kind: PageKind,
        content: impl Fn() -> String + Send + Sync + 'static,
    ) -> Self {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
        let name = name.chars().map(plain).collect();
        Self { name, title: title.into(), kind, content: Arc::new(content) }
    }

    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn title(&self) -> &str {
        &self.title
    }

    pub(crate) fn kind(&self) -> PageKind {
        self.kind
    }

    pub(crate) fn content(&self) -> String {
        (self.content)()
    }
}

impl fmt::Debug for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Page").field("name", &self.name).finish_non_exhaustive()
    }
}
