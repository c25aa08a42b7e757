//! An error and its causes.

use std::error::Error;
use std::iter::successors;

/// The longest chain of causes that is followed. A longer one is a cycle or noise.
const CAUSES_MAX: usize = 64;

/// The error and its causes, outermost first, at most 64 of them.
pub fn causes<'a>(
    error: &'a (dyn Error + 'static),
) -> impl Iterator<Item = &'a (dyn Error + 'static)> {
    successors(Some(error), |error: &&'a (dyn Error + 'static)| (*error).source()).take(CAUSES_MAX)
}

/// The messages of the error and of its causes, outermost first, joined by ": ". A message that is
/// already part of the text is left out.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    with_causes(&error.to_string(), error)
}

/// Like [`chain`], with `message` in place of the error's own.
pub fn with_causes(message: &str, error: &(dyn Error + 'static)) -> String {
    let mut text = message.to_owned();
    for cause in causes(error).skip(1).map(ToString::to_string) {
        if text.is_empty() {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    text
}

/// The message of the innermost cause of the error, or its own if it has no cause.
pub fn root_cause(error: &(dyn Error + 'static)) -> String {
    causes(error).last().unwrap_or(error).to_string()
}

#[cfg(test)]
mod tests {
    use std::fmt;

    use super::*;

    #[derive(Debug)]
    struct Link(&'static str, Option<Box<Self>>);

    impl fmt::Display for Link {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str(self.0)
        }
    }

    impl Error for Link {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            self.1.as_deref().map(|link| link as _)
        }
    }

    #[test]
    fn each_message_is_quoted_once() {
        let of = |texts: &[&'static str]| {
            let link =
                texts.iter().rev().fold(None, |below, text| Some(Box::new(Link(text, below))));
            chain(&*link.unwrap())
        };
        assert_eq!(of(&["could not read", "no such file"]), "could not read: no such file");
        assert_eq!(of(&["it failed: reset", "reset", "by peer"]), "it failed: reset: by peer");
        assert_eq!(of(&["", "reset"]), "reset");
    }

    #[test]
    fn a_long_chain_is_cut() {
        let long = (0..1000).fold(Link("end", None), |below, _| Link("link", Some(below.into())));
        assert_eq!(causes(&long).count(), CAUSES_MAX);
        assert_eq!(root_cause(&Link("top", Some(Link("root", None).into()))), "root");
    }
}
