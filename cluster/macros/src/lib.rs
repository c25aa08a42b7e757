//! The macro `#[service]`. Users reach it through the crate `bigslice-cluster`, which documents it
//! and whose paths the generated code names.

mod method;
mod reached;
mod reply;
mod service;

use proc_macro::TokenStream;
use syn::{Error, ItemImpl, parse_macro_input};

/// Makes the async methods of an impl block callable on any machine; see
/// `bigslice_cluster::service`.
#[proc_macro_attribute]
pub fn service(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let block = parse_macro_input!(item as ItemImpl);
    let expanded = reached::path(&arguments.into()).and_then(|path| {
        let code = service::expand(&block)?;
        Ok(match path {
            Some(path) => reached::by(&path, code),
            None => code,
        })
    });
    expanded.unwrap_or_else(Error::into_compile_error).into()
}
