//! `#[main]`: a `main` that is a worker when it was started as one, and the driver otherwise.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ItemFn, Result};

/// A plain `main` around the async `function`.
pub(crate) fn expand(arguments: &TokenStream, function: &ItemFn) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "main takes no arguments"));
    }
    let ItemFn { attrs, vis, sig, block } = function;
    if sig.asyncness.is_none() {
        return Err(Error::new_spanned(sig.fn_token, "write `async fn main`"));
    }
    if !sig.inputs.is_empty() {
        return Err(Error::new_spanned(&sig.inputs, "main has no arguments"));
    }
    let (name, output) = (&sig.ident, &sig.output);
    Ok(quote! {
        #(#attrs)*
        #vis fn #name() -> ::std::process::ExitCode {
            if let ::core::option::Option::Some(code) = ::bigslice::worker_main() {
                return code;
            }
            async fn driver() #output #block
            ::bigslice::__private::drive(async {
                use ::bigslice::__private::{OfError, OfHolder, OfSendHolder, OfTermination, OfText};
                let end = driver().await;
                (&&&&&end).ending().exit_code(end)
            })
        }
    })
}
