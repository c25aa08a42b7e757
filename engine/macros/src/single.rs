//! The `Row` of types that are one column: newtypes and enums.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Generics, Ident};

/// Writes a `Row` of one column on top of a `Value`.
pub(crate) fn row(ident: &Ident, generics: &Generics, column: &str) -> TokenStream {
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let derive = quote!(::bigslice::row::derive);
    quote! {
        #[automatically_derived]
        impl #impl_generics ::bigslice::row::Row for #ident #type_generics #where_clause {
            #derive::one_column!(#column);
        }
    }
}
