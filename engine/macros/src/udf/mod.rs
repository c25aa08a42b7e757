//! `#[udf]`: makes a function, or a type with the methods of an aggregate, one that SQL can call.
//!
//! ```text
//! #[udf] fn gc(seq: &str) -> f64 { .. }     the function stays as it is
//!     ─►  enum gc: gc::expr(column) is the call as an expression
//!         an entry of the registry, with the loop over a batch
//!
//! #[udf(aggregate)] impl Gc { fn add(..) .. fn merge(..) .. fn finish(..) .. }    so does the impl
//!     ─►  Gc::expr(column), an entry of the registry, impl Aggregate for Gc
//! ```

mod aggregate;
mod arguments;
mod options;
mod scalar;

use proc_macro2::TokenStream;
use syn::{Error, Item, Result};

use options::Options;

/// What `item` is and makes besides.
pub(crate) fn expand(arguments: TokenStream, item: &Item) -> Result<TokenStream> {
    let options = Options::parse(arguments)?;
    match item {
        Item::Fn(function) if !options.aggregate => scalar::expand(&options, function),
        Item::Impl(methods) if options.aggregate => aggregate::expand(&options, methods),
        Item::Impl(methods) => Err(Error::new_spanned(
            methods.impl_token,
            "for an aggregate function write #[bigslice::udf(aggregate)]",
        )),
        Item::Fn(function) => Err(Error::new_spanned(
            &function.sig,
            "an aggregate function is an impl block with `add`, `merge` and `finish`",
        )),
        other => Err(Error::new_spanned(
            other,
            "a function of SQL is a `fn`, or an impl block with `add`, `merge` and `finish`",
        )),
    }
}
