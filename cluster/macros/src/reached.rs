//! The path by which the generated code reaches the crate `bigslice-cluster`: its own name, unless
//! `#[service(crate = PATH)]` gives another, for a crate that re-exports the macro.

use proc_macro2::{Group, TokenStream, TokenTree};
use quote::ToTokens;
use syn::parse::{Parse, ParseStream, Parser};
use syn::{Path, Result, Token};

/// The crate's path in the generated code.
const NAME: &str = "bigslice_cluster";

/// The path in the arguments of the macro, if there is one.
pub(crate) fn path(arguments: &TokenStream) -> Result<Option<Path>> {
    if arguments.is_empty() {
        return Ok(None);
    }
    let read = |input: ParseStream<'_>| {
        if !input.peek(Token![crate]) {
            return Err(input.error("service takes no arguments"));
        }
        input.parse::<Token![crate]>()?;
        input.parse::<Token![=]>()?;
        Path::parse(input)
    };
    read.parse2(arguments.clone()).map(Some)
}

/// The same code with `path` in place of `::bigslice_cluster`.
pub(crate) fn by(path: &Path, code: TokenStream) -> TokenStream {
    let code = code.into_iter();
    let mut reached = Vec::new();
    for token in code {
        match token {
            TokenTree::Group(group) => {
                let mut inner = Group::new(group.delimiter(), by(path, group.stream()));
                inner.set_span(group.span());
                reached.push(TokenTree::Group(inner));
            }
            TokenTree::Ident(ident) if ident == NAME && ends_in_colons(&reached) => {
                reached.truncate(reached.len() - 2);
                reached.extend(path.to_token_stream());
            }
            other => reached.push(other),
        }
    }
    reached.into_iter().collect()
}

/// Returns true if the next path begins with `::` and does not continue a previous one.
fn ends_in_colons(tokens: &[TokenTree]) -> bool {
    let colon = |token: &TokenTree| matches!(token, TokenTree::Punct(p) if p.as_char() == ':');
    let [.., first, second] = tokens else { return false };
    colon(first) && colon(second)
}

#[cfg(test)]
mod tests {
    use quote::quote;

    use super::*;

    #[test]
    fn another_path_takes_the_place_of_the_crates_name() {
        let path = path(&quote!(crate = ::other::cluster)).expect("a path").expect("one");
        let code = quote!(impl ::bigslice_cluster::Service for S { fn f() -> (::bigslice_cluster::X,) {} });
        let expected =
            quote!(impl ::other::cluster::Service for S { fn f() -> (::other::cluster::X,) {} });
        assert_eq!(by(&path, code).to_string(), expected.to_string());
        // Another item of this name stays.
        let other = quote!(let bigslice_cluster = 1;);
        assert_eq!(by(&path, other.clone()).to_string(), other.to_string());
    }

    #[test]
    fn other_arguments_are_refused() {
        assert!(super::path(&quote!()).expect("none").is_none());
        assert!(super::path(&quote!(fast)).is_err());
        assert!(super::path(&quote!(crate = a::b, fast)).is_err());
    }
}
