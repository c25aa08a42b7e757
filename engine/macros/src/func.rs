//! `#[func]`: makes a function that builds a slice one that every machine can call by name.
//!
//! ```text
//! #[func] fn f(a: A) -> Result<Slice<T>> { body }
//!     ─►  fn f(a: A) -> Invocation<T> { name and encoded arguments }
//!         an entry of the registry that decodes the arguments and runs the body
//! ```

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{Error, FnArg, ItemFn, Pat, Result, ReturnType};

/// The invocation maker and the registry's entry for `function`.
pub(crate) fn expand(arguments: &TokenStream, function: &ItemFn) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "func takes no arguments"));
    }
    let ItemFn { attrs, vis, sig, block } = function;
    let wrong = if let Some(token) = &sig.asyncness {
        Some((quote!(#token), "a func only describes the work: it cannot be async"))
    } else if let Some(token) = &sig.unsafety {
        Some((quote!(#token), "a func cannot be unsafe"))
    } else if !sig.generics.params.is_empty() || sig.generics.where_clause.is_some() {
        let generics = &sig.generics;
        Some((quote!(#generics), "a func is called by its name alone: it cannot be generic"))
    } else {
        sig.variadic.as_ref().map(|token| (quote!(#token), "a func has a fixed list of arguments"))
    };
    if let Some((tokens, message)) = wrong {
        return Err(Error::new_spanned(tokens, message));
    }
    let ReturnType::Type(_, output) = &sig.output else {
        return Err(Error::new_spanned(
            sig,
            "a func returns a slice: write `-> Slice<T>` or `-> Result<Slice<T>>`",
        ));
    };
    let mut types = Vec::new();
    for input in &sig.inputs {
        match input {
            FnArg::Typed(argument) if matches!(*argument.pat, Pat::Ident(_) | Pat::Wild(_)) => {
                types.push(&argument.ty);
            }
            FnArg::Typed(argument) => {
                let message = "an argument of a func is a name with a type";
                return Err(Error::new_spanned(&argument.pat, message));
            }
            FnArg::Receiver(receiver) => {
                let message = "a func is a function of its own, not a method";
                return Err(Error::new_spanned(receiver, message));
            }
        }
    }
    let names: Vec<_> = (0..types.len()).map(|n| format_ident!("argument_{n}")).collect();
    let (name, inputs) = (&sig.ident, &sig.inputs);
    let text = name.to_string();
    Ok(quote! {
        #(#attrs)*
        #vis fn #name(#(#names: #types),*)
            -> ::bigslice::Invocation<<#output as ::bigslice::__private::IntoSlice>::Row>
        {
            fn body(#inputs) -> #output #block
            fn build(bytes: &[u8]) -> ::bigslice::Result<::bigslice::__private::Built> {
                let (#(#names,)*): (#(#types,)*) = ::bigslice::__private::decode(bytes)?;
                ::bigslice::__private::IntoSlice::into_slice(body(#(#names),*))
                    .map(::bigslice::__private::Built::of)
            }
            const NAME: &str = ::core::concat!(::core::module_path!(), "::", #text);
            ::bigslice::__private::submit! {
                ::bigslice::__private::Func {
                    name: NAME, file: ::core::file!(), line: ::core::line!(), build
                }
            }
            ::bigslice::__private::invoke(NAME, &(#(#names,)*))
        }
    })
}
