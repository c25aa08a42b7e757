//! The fields of a struct and the names of their columns; `structs` and `newtypes` write code for
//! them.

use std::collections::HashSet;

use proc_macro2::{Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::ext::IdentExt;
use syn::spanned::Spanned;
use syn::{
    Attribute, DataStruct, DeriveInput, Error, Generics, Ident, Member, Type, Visibility,
    parse_quote,
};

use crate::attributes;
use crate::case::Case;

/// A field of a struct.
pub(crate) struct Field<'a> {
    pub(crate) ident: Option<&'a Ident>,
    pub(crate) member: Member,
    pub(crate) vis: &'a Visibility,
    pub(crate) docs: Vec<&'a Attribute>,
    pub(crate) ty: &'a Type,
    /// The name of its column.
    pub(crate) name: String,
    /// Whether the name is from an attribute.
    pub(crate) renamed: bool,
}

impl Field<'_> {
    /// The type of the field as a value. This and what follows have the place of the type, where
    /// the compiler shows that a type is not a value.
    pub(crate) fn value(&self) -> TokenStream {
        let ty = self.ty;
        quote_spanned!(ty.span()=> <#ty as ::bigslice::row::Value>)
    }

    /// The type of the field in the view.
    pub(crate) fn view_type(&self) -> TokenStream {
        let ty = self.ty;
        quote_spanned!(ty.span()=> <#ty as ::bigslice::row::Value>::View<'a>)
    }

    /// The type of the field in the columns.
    pub(crate) fn column_type(&self) -> TokenStream {
        let ty = self.ty;
        quote_spanned!(ty.span()=> <#ty as ::bigslice::row::Value>::Column)
    }

    /// The type of the field in the builder.
    pub(crate) fn builder_type(&self) -> TokenStream {
        let ty = self.ty;
        quote_spanned!(ty.span()=> <#ty as ::bigslice::row::Value>::Builder)
    }

    /// The documentation of the field in the view.
    pub(crate) fn view_docs(&self) -> TokenStream {
        if self.docs.is_empty() {
            let text = format!("The view of `{}`.", self.member.to_token_stream());
            return quote!(#[doc = #text]);
        }
        let docs = &self.docs;
        quote!(#(#docs)*)
    }
}

/// The fields of a struct, after checking that their names are all different.
pub(crate) fn of<'a>(input: &DeriveInput, data: &'a DataStruct) -> syn::Result<Vec<Field<'a>>> {
    if data.fields.is_empty() {
        return Err(Error::new(input.ident.span(), "a row has at least one field"));
    }
    let case = attributes::rename_all(&input.attrs)?;
    let mut names = Names::default();
    let members = data.fields.members();
    data.fields
        .iter()
        .zip(members)
        .map(|(field, member)| {
            let renamed = attributes::rename(&field.attrs)?;
            let name = match (&renamed, &field.ident) {
                (Some(name), _) => name.value(),
                (None, Some(ident)) => field_name(ident, case),
                (None, None) => format!("_{}", index(&member)),
            };
            let span = renamed.as_ref().map_or_else(|| field.span(), |name| name.span());
            names.insert(&name, "columns", span)?;
            Ok(Field {
                ident: field.ident.as_ref(),
                member,
                vis: &field.vis,
                docs: attributes::docs(&field.attrs),
                ty: &field.ty,
                name,
                renamed: renamed.is_some(),
            })
        })
        .collect()
}

fn field_name(ident: &Ident, case: Option<Case>) -> String {
    let name = ident.unraw().to_string();
    case.map_or_else(|| name.clone(), |case| case.field(&name))
}

fn index(member: &Member) -> u32 {
    match member {
        Member::Unnamed(index) => index.index,
        Member::Named(_) => 0,
    }
}

/// The names of columns or variants so far.
#[derive(Default)]
pub(crate) struct Names(HashSet<String>);

impl Names {
    pub(crate) fn insert(&mut self, name: &str, what: &str, span: Span) -> syn::Result<()> {
        if self.0.insert(name.to_owned()) {
            return Ok(());
        }
        Err(Error::new(span, format!("two {what} have the name \"{name}\"")))
    }
}

/// The generics of the impls: every type parameter may be a field, so it has to be a value.
pub(crate) fn value_generics(input: &DeriveInput) -> Generics {
    let mut generics = input.generics.clone();
    for parameter in generics.type_params_mut() {
        parameter.bounds.push(parse_quote!(::bigslice::row::Value));
    }
    generics
}

/// The generics of the view, which has a lifetime besides.
pub(crate) fn view_generics(generics: &Generics) -> Generics {
    let mut generics = generics.clone();
    generics.params.insert(0, parse_quote!('a));
    generics
}
