//! Enums without fields: a column of their names, as a dictionary.

use proc_macro2::TokenStream;
use quote::quote;
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{DataEnum, DeriveInput, Error, Ident};

use crate::fields::Names;
use crate::{attributes, single};

pub(crate) fn expand(input: &DeriveInput, data: &DataEnum) -> syn::Result<TokenStream> {
    if !input.generics.params.is_empty() {
        let message = "an enum with type parameters cannot be a row";
        return Err(Error::new(input.generics.span(), message));
    }
    if data.variants.is_empty() {
        return Err(Error::new(input.ident.span(), "an enum without variants cannot be a row"));
    }
    let names = names(input, data)?;
    let variants: Vec<&Ident> = data.variants.iter().map(|variant| &variant.ident).collect();
    let row = single::row(&input.ident, &input.generics, "value");
    let value = value(&input.ident, &variants, &names);
    Ok(quote! { #value #row })
}

/// The text of each variant.
fn names(input: &DeriveInput, data: &DataEnum) -> syn::Result<Vec<String>> {
    let case = attributes::rename_all(&input.attrs)?;
    let mut seen = Names::default();
    let name = |variant: &syn::Variant| {
        if !variant.fields.is_empty() {
            let message = "a variant with fields cannot be a value of a column; use a struct of \
                           options";
            return Err(Error::new(variant.fields.span(), message));
        }
        let renamed = attributes::rename(&variant.attrs)?;
        let ident = variant.ident.unraw().to_string();
        let name = match (&renamed, case) {
            (Some(name), _) => name.value(),
            (None, Some(case)) => case.variant(&ident),
            (None, None) => ident,
        };
        let span = renamed.map_or_else(|| variant.span(), |name| name.span());
        seen.insert(&name, "variants", span)?;
        Ok(name)
    };
    data.variants.iter().map(name).collect()
}

fn value(ident: &Ident, variants: &[&Ident], names: &[String]) -> TokenStream {
    let derive = quote!(::bigslice::row::derive);
    let positions = 0_i32..;
    quote! {
        #[automatically_derived]
        impl ::bigslice::row::Value for #ident {
            #derive::scalar!(|view: Self| ::core::mem::discriminant(&view));

            type Column = #derive::Variants<#ident>;
            type Builder = #derive::VariantKeys;

            fn data_type() -> #derive::DataType {
                #derive::Variants::<#ident>::data_type()
            }

            fn column(
                array: &#derive::ArrayRef,
                outer: ::core::option::Option<&#derive::NullBuffer>,
            ) -> ::core::result::Result<Self::Column, ::bigslice::row::Mismatch> {
                #derive::Variants::open(array, outer, &[#(#names),*], &[#(#ident::#variants),*])
            }

            #[inline]
            fn rows(column: &Self::Column) -> usize {
                column.rows()
            }

            #[inline(always)]
            fn get(column: &Self::Column, row: usize) -> Self {
                column.get(row)
            }

            fn builder(capacity: usize) -> #derive::VariantKeys {
                #derive::VariantKeys::with_capacity(capacity)
            }

            #[inline]
            fn append(builder: &mut #derive::VariantKeys, view: Self) {
                builder.push(match view {
                    #(#ident::#variants => #positions,)*
                });
            }

            fn append_null(builder: &mut #derive::VariantKeys) {
                builder.push_null();
            }

            fn finish(builder: &mut #derive::VariantKeys) -> #derive::ArrayRef {
                static NAMES: ::std::sync::LazyLock<#derive::ArrayRef> =
                    ::std::sync::LazyLock::new(|| #derive::names(&[#(#names),*]));
                builder.finish(&NAMES)
            }
        }
    }
}
