//! Tuple structs of one field: the column of the field itself, with a view of its own.

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::DeriveInput;

use crate::fields::{Field, value_generics, view_generics};
use crate::{single, structs};

pub(crate) fn expand(input: &DeriveInput, field: &Field<'_>) -> TokenStream {
    let ident = &input.ident;
    let view = format_ident!("{ident}View");
    let generics = value_generics(input);
    let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
    let view_declared = view_generics(&generics);
    let (_, view_types, _) = view_declared.split_for_impl();

    let derive = quote!(::bigslice::row::derive);
    let value = field.value();
    let view_type = quote!(<Self as ::bigslice::row::Value>::View<'_>);
    let (column_type, builder_type) = (field.column_type(), field.builder_type());
    let column = if field.renamed { field.name.as_str() } else { "value" };
    let view_struct = structs::view(input, std::slice::from_ref(field));
    let row = single::row(ident, &generics, column);
    quote! {
        #view_struct

        #[automatically_derived]
        impl #impl_generics ::bigslice::row::Value for #ident #type_generics #where_clause {
            type View<'a> = #view #view_types;
            type Column = #column_type;
            type Builder = #builder_type;

            const NULLABLE: bool = #value::NULLABLE;
            const HAS_HEAP: bool = #value::HAS_HEAP;

            fn data_type() -> #derive::DataType {
                #value::data_type()
            }

            fn column(
                array: &#derive::ArrayRef,
                outer: ::core::option::Option<&#derive::NullBuffer>,
            ) -> ::core::result::Result<Self::Column, ::bigslice::row::Mismatch> {
                #value::column(array, outer)
            }

            #[inline]
            fn rows(column: &Self::Column) -> usize {
                #value::rows(column)
            }

            #[inline(always)]
            fn get(column: &Self::Column, row: usize) -> #view_type {
                #view(#value::get(column, row))
            }

            #[inline]
            fn to_owned(view: #view_type) -> Self {
                Self(#value::to_owned(view.0))
            }

            #[inline]
            fn view(&self) -> #view_type {
                #view(#value::view(&self.0))
            }

            #[inline]
            fn hash_key<__State: ::core::hash::Hasher>(view: #view_type, state: &mut __State) {
                #value::hash_key(view.0, state);
            }

            #[inline]
            fn same_key(a: #view_type, b: #view_type) -> bool {
                #value::same_key(a.0, b.0)
            }

            #[inline]
            fn heap_bytes(view: #view_type) -> usize {
                #value::heap_bytes(view.0)
            }

            fn builder(capacity: usize) -> #builder_type {
                #value::builder(capacity)
            }

            #[inline]
            fn append(builder: &mut #builder_type, view: #view_type) {
                #value::append(builder, view.0);
            }

            fn lend(builder: &mut #builder_type, arrays: &[#derive::ArrayRef]) {
                #value::lend(builder, arrays);
            }

            fn append_null(builder: &mut #builder_type) {
                #value::append_null(builder);
            }

            fn finish(builder: &mut #builder_type) -> #derive::ArrayRef {
                #value::finish(builder)
            }
        }

        #row
    }
}
