//! The macros of Bigslice: `#[derive(Row)]`, `#[func]`, `#[udf]`, `#[map]`, `#[service]`,
//! `#[main]`. Users reach them through the crate
//! `bigslice`, which documents them and whose paths the generated code names.

mod attributes;
mod case;
mod enums;
mod fields;
mod func;
mod main_fn;
mod map;
mod newtypes;
mod single;
mod structs;
mod udf;

use proc_macro::TokenStream;
use proc_macro2::TokenStream as TokenStream2;
use syn::spanned::Spanned;
use syn::{Data, DeriveInput, Error, Item, ItemFn, parse_macro_input};

/// Makes a function that returns a slice one that workers can call; see `bigslice::func`.
#[proc_macro_attribute]
pub fn func(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as ItemFn);
    done(func::expand(&arguments.into(), &function))
}

/// Makes a function one that machines call for an item; see `bigslice::map`.
#[proc_macro_attribute]
pub fn map(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as ItemFn);
    done(map::expand(&arguments.into(), &function))
}

/// Makes a function one that SQL can call; see `bigslice::udf`.
#[proc_macro_attribute]
pub fn udf(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let item = parse_macro_input!(item as Item);
    done(udf::expand(arguments.into(), &item))
}

/// Makes the async methods of an impl block callable on any machine; see `bigslice::service`.
#[proc_macro_attribute]
pub fn service(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let (arguments, item) = (TokenStream2::from(arguments), TokenStream2::from(item));
    if !arguments.is_empty() {
        return done(Err(Error::new_spanned(arguments, "service takes no arguments")));
    }
    // The macro of the crate that machines are made with, by the way that is known to be there.
    quote::quote! {
        #[::bigslice::cluster::service(crate = ::bigslice::cluster)]
        #item
    }
    .into()
}

/// Makes an async `main` one that is also a worker's; see `bigslice::main`.
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    let function = parse_macro_input!(item as ItemFn);
    done(main_fn::expand(&arguments.into(), &function))
}

fn done(expanded: syn::Result<proc_macro2::TokenStream>) -> TokenStream {
    expanded.unwrap_or_else(Error::into_compile_error).into()
}

/// Makes a type a row of a slice. It is documented where it is used, in `bigslice::row`.
#[proc_macro_derive(Row, attributes(row))]
pub fn derive_row(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    done(expand(&input))
}

fn expand(input: &DeriveInput) -> syn::Result<proc_macro2::TokenStream> {
    if let Some(lifetime) = input.generics.lifetimes().next() {
        let message = "a row owns its values: use String for &str, Vec for a slice; the view that \
                       is generated borrows them";
        return Err(Error::new(lifetime.span(), message));
    }
    match &input.data {
        Data::Struct(data) => {
            let fields = fields::of(input, data)?;
            match fields.as_slice() {
                [field] if field.ident.is_none() => Ok(newtypes::expand(input, field)),
                fields => Ok(structs::expand(input, fields)),
            }
        }
        Data::Enum(data) => enums::expand(input, data),
        Data::Union(data) => {
            Err(Error::new(data.union_token.span, "a union cannot be a row; use a struct"))
        }
    }
}
