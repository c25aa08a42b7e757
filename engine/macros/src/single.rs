//! The `Row` of types that are one column: newtypes and enums.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Generics, Ident};

/// Writes a `Row` of one column on top of a `Value`.
pub(crate) fn row(ident: &Ident, generics: &Generics, column: &str) -> TokenStream {
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let derive = quote!(::bigslice::row::derive);
    let value = quote!(<Self as ::bigslice::row::Value>);
    quote! {
        #[automatically_derived]
        impl #impl_generics ::bigslice::row::Row for #ident #type_generics #where_clause {
            type View<'a> = #value::View<'a>;
            type Columns = #value::Column;
            type Builder = #value::Builder;

            const HAS_HEAP: bool = #value::HAS_HEAP;

            fn fields() -> #derive::Fields {
                #derive::fields([#derive::field::<Self>(#column)])
            }

            fn columns(
                arrays: &[#derive::ArrayRef],
            ) -> ::core::result::Result<Self::Columns, ::bigslice::row::Mismatch> {
                #derive::check(arrays, &[#column])?;
                #derive::open::<Self>(&arrays[0], ::core::option::Option::None, #column)
            }

            #[inline]
            fn has_rows(columns: &Self::Columns, rows: usize) -> bool {
                #value::rows(columns) >= rows
            }

            #[inline(always)]
            fn get(columns: &Self::Columns, row: usize) -> #value::View<'_> {
                #derive::in_batch::<Self>(columns, row);
                #value::get(columns, row)
            }

            #[inline]
            fn to_owned(view: #value::View<'_>) -> Self {
                #value::to_owned(view)
            }

            #[inline]
            fn view(&self) -> #value::View<'_> {
                #value::view(self)
            }

            #[inline]
            fn heap_bytes(view: #value::View<'_>) -> usize {
                #value::heap_bytes(view)
            }

            fn builder(capacity: usize) -> #value::Builder {
                #value::builder(capacity)
            }

            #[inline]
            fn append(builder: &mut #value::Builder, view: #value::View<'_>) {
                #value::append(builder, view);
            }

            fn lend(builder: &mut #value::Builder, arrays: &[#derive::ArrayRef]) {
                #value::lend(builder, arrays);
            }

            fn finish(builder: &mut #value::Builder) -> ::std::vec::Vec<#derive::ArrayRef> {
                ::std::vec![#value::finish(builder)]
            }
        }
    }
}
