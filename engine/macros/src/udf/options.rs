//! What stands in the brackets of `#[udf(..)]`.

use proc_macro2::{Span, TokenStream};
use quote::quote;
use syn::parse::Parser;
use syn::{Error, LitStr, Result};

/// The longest name: longer ones are cut in plans and headers of columns.
const NAME_BYTES_MAX: usize = 63;

/// The parsed arguments of the attribute.
#[derive(Default)]
pub(super) struct Options {
    pub(super) aggregate: bool,
    name: Option<LitStr>,
    volatility: Option<LitStr>,
}

impl Options {
    pub(super) fn parse(arguments: TokenStream) -> Result<Self> {
        let mut options = Self::default();
        let parser = syn::meta::parser(|meta| {
            if meta.path.is_ident("aggregate") {
                options.aggregate = true;
            } else if meta.path.is_ident("name") {
                options.name = Some(meta.value()?.parse()?);
            } else if meta.path.is_ident("volatility") {
                options.volatility = Some(meta.value()?.parse()?);
            } else {
                let message = "udf has the arguments `aggregate`, `name = \"..\"` and \
                               `volatility = \"immutable|stable|volatile\"`";
                return Err(meta.error(message));
            }
            Ok(())
        });
        parser.parse2(arguments)?;
        Ok(options)
    }

    /// The name that SQL calls the function by; `own` if none is given.
    pub(super) fn name(&self, own: &str, at: Span) -> Result<String> {
        let (name, at) = match &self.name {
            Some(name) => (name.value(), name.span()),
            None => (own.trim_start_matches("r#").to_owned(), at),
        };
        let begins = |c: char| c.is_ascii_lowercase() || c == '_';
        let plain = name.starts_with(begins)
            && name.chars().all(|c| begins(c) || c.is_ascii_digit())
            && name.len() <= NAME_BYTES_MAX;
        if plain {
            return Ok(name);
        }
        let message = format!(
            "SQL calls a function by a name of small letters, digits and `_`, not \"{name}\": write \
             #[bigslice::udf(name = \"..\")]"
        );
        Err(Error::new(at, message))
    }

    pub(super) fn volatility(&self) -> Result<TokenStream> {
        let Some(volatility) = &self.volatility else {
            return Ok(quote!(::bigslice::__private::Volatility::Immutable));
        };
        match volatility.value().as_str() {
            "immutable" => Ok(quote!(::bigslice::__private::Volatility::Immutable)),
            "stable" => Ok(quote!(::bigslice::__private::Volatility::Stable)),
            "volatile" => Ok(quote!(::bigslice::__private::Volatility::Volatile)),
            _ => {
                let message = "volatility is \"immutable\" (the same always), \"stable\" (the same \
                               within a query) or \"volatile\" (never the same)";
                Err(Error::new(volatility.span(), message))
            }
        }
    }
}

/// `GeoMean` as SQL writes it: `geo_mean`.
pub(super) fn snake(name: &str) -> String {
    let mut snake = String::new();
    let letters: Vec<char> = name.chars().collect();
    for (n, letter) in letters.iter().enumerate() {
        let after_small = n > 0 && !letters[n - 1].is_uppercase();
        let before_small = letters.get(n + 1).is_some_and(|next| next.is_lowercase());
        if letter.is_uppercase() && n > 0 && letters[n - 1] != '_' && (after_small || before_small)
        {
            snake.push('_');
        }
        snake.extend(letter.to_lowercase());
    }
    snake
}

#[cfg(test)]
mod tests {
    use super::snake;

    #[test]
    fn names_of_types_become_names_of_functions() {
        let names = ["GeoMean", "N50", "DNAContent", "Gc", "Sum_Of", "A"].map(snake);
        assert_eq!(names, ["geo_mean", "n50", "dna_content", "gc", "sum_of", "a"]);
    }
}
