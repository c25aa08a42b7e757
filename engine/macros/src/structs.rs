//! Structs of several fields: the view, the columns and builders of the fields, and the two impls
//! over them.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::ext::IdentExt;
use syn::{DeriveInput, Generics};

use crate::fields::{Field, value_generics, view_generics};

/// The inputs of all parts of the code for a struct.
struct Parts<'a> {
    input: &'a DeriveInput,
    fields: &'a [Field<'a>],
    generics: Generics,
    /// The names of the generated types and, in the same order as the fields, of their fields.
    view: Ident,
    columns: Ident,
    builders: Ident,
    children: Vec<Ident>,
}

pub(crate) fn expand(input: &DeriveInput, fields: &[Field<'_>]) -> TokenStream {
    let ident = &input.ident;
    let parts = Parts {
        input,
        fields,
        generics: value_generics(input),
        view: format_ident!("{ident}View"),
        columns: format_ident!("__{ident}Columns"),
        builders: format_ident!("__{ident}Builders"),
        children: (0..fields.len()).map(|position| format_ident!("_{position}")).collect(),
    };
    let view = view(input, fields);
    let columns = parts.children(&parts.columns, Field::column_type);
    let builders = parts.children(&parts.builders, Field::builder_type);
    let open = parts.open();
    let value = parts.value();
    let row = parts.row();
    quote! {
        #view

        const _: () = {
            #columns
            #builders
            #open
            #value
            #row
        };
    }
}

/// The struct that a closure sees. Its traits are written out, since derives would demand them of
/// the type parameters.
pub(crate) fn view(input: &DeriveInput, fields: &[Field<'_>]) -> TokenStream {
    let (ident, vis) = (&input.ident, &input.vis);
    let view = format_ident!("{ident}View");
    let declared = view_generics(&value_generics(input));
    let (impl_generics, type_generics, where_clause) = declared.split_for_impl();

    let members: Vec<_> = fields.iter().map(|field| &field.member).collect();
    let named = fields.iter().all(|field| field.ident.is_some());
    let declarations = fields.iter().map(|field| {
        let (docs, vis, view) = (field.view_docs(), field.vis, field.view_type());
        match field.ident {
            Some(ident) => quote!(#docs #vis #ident: #view),
            None => quote!(#docs #vis #view),
        }
    });
    let body = if named {
        quote!(#where_clause { #(#declarations,)* })
    } else {
        quote!((#(#declarations,)*) #where_clause;)
    };
    let debug = if named {
        let names = fields.iter().filter_map(|field| field.ident).map(|i| i.unraw().to_string());
        quote!(f.debug_struct(stringify!(#view)) #(.field(#names, &self.#members))*)
    } else {
        quote!(f.debug_tuple(stringify!(#view)) #(.field(&self.#members))*)
    };
    let doc =
        format!("The view of a [`{ident}`]: its fields, borrowed from the columns of a batch.");
    quote! {
        #[doc = #doc]
        #vis struct #view #declared #body

        #[automatically_derived]
        impl #impl_generics ::core::clone::Clone for #view #type_generics #where_clause {
            #[inline]
            fn clone(&self) -> Self {
                *self
            }
        }

        #[automatically_derived]
        impl #impl_generics ::core::marker::Copy for #view #type_generics #where_clause {}

        impl #impl_generics ::core::fmt::Debug for #view #type_generics #where_clause {
            fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                #debug.finish()
            }
        }
    }
}

impl<'a> Parts<'a> {
    fn values(&self) -> Vec<TokenStream> {
        self.fields.iter().map(Field::value).collect()
    }

    fn names(&self) -> Vec<&str> {
        self.fields.iter().map(|field| field.name.as_str()).collect()
    }

    /// A struct with something of each field: its column or its builder.
    fn children(&self, ident: &Ident, child_type: fn(&Field<'a>) -> TokenStream) -> TokenStream {
        let Self { input, generics, children, .. } = self;
        let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
        let (vis, child_types) = (&input.vis, self.fields.iter().map(child_type));
        quote! {
            #[doc(hidden)]
            #vis struct #ident #generics #where_clause {
                #(#children: #child_types,)*
            }

            impl #impl_generics ::core::fmt::Debug for #ident #type_generics #where_clause {
                fn fmt(&self, f: &mut ::core::fmt::Formatter<'_>) -> ::core::fmt::Result {
                    f.debug_struct(stringify!(#ident))
                        #(.field(stringify!(#children), &self.#children))*
                        .finish()
                }
            }
        }
    }

    /// Opens the arrays of the fields; for rows and struct columns.
    fn open(&self) -> TokenStream {
        let Self { generics, columns, children, .. } = self;
        let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
        let derive = quote!(::bigslice::row::derive);
        let types = self.fields.iter().map(|field| field.ty);
        let names = self.names();
        let positions = 0_usize..;
        quote! {
            impl #impl_generics #columns #type_generics #where_clause {
                fn open(
                    arrays: &[#derive::ArrayRef],
                    outer: ::core::option::Option<&#derive::NullBuffer>,
                ) -> ::core::result::Result<Self, ::bigslice::row::Mismatch> {
                    ::core::result::Result::Ok(Self {
                        #(#children: #derive::open::<#types>(&arrays[#positions], outer, #names)?,)*
                    })
                }
            }
        }
    }

    fn value(&self) -> TokenStream {
        let Self { input, fields, generics, view, columns, builders, children } = self;
        let ident = &input.ident;
        let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
        let declared = view_generics(generics);
        let (_, view_types, _) = declared.split_for_impl();
        let derive = quote!(::bigslice::row::derive);
        let view_type = quote!(<Self as ::bigslice::row::Value>::View<'_>);
        let builder_type = quote!(<Self as ::bigslice::row::Value>::Builder);
        let (values, names) = (self.values(), self.names());
        let members: Vec<_> = fields.iter().map(|field| &field.member).collect();
        let (first_value, first_child) = (&values[0], &children[0]);
        quote! {
            #[automatically_derived]
            impl #impl_generics ::bigslice::row::Value for #ident #type_generics #where_clause {
                type View<'a> = #view #view_types;
                type Column = #columns #type_generics;
                type Builder = #derive::Group<#builders #type_generics>;

                const NULLABLE: bool = false;
                const HAS_HEAP: bool = #(#values::HAS_HEAP)||*;

                fn data_type() -> #derive::DataType {
                    #derive::struct_type(<Self as ::bigslice::row::Row>::fields())
                }

                fn column(
                    array: &#derive::ArrayRef,
                    outer: ::core::option::Option<&#derive::NullBuffer>,
                ) -> ::core::result::Result<Self::Column, ::bigslice::row::Mismatch> {
                    let (arrays, inner) =
                        #derive::open_struct::<Self>(array, outer, &[#(#names),*])?;
                    #columns::open(arrays, inner.as_ref())
                }

                #[inline]
                fn rows(column: &Self::Column) -> usize {
                    #first_value::rows(&column.#first_child)
                }

                #[inline(always)]
                fn get(column: &Self::Column, row: usize) -> #view_type {
                    #view { #(#members: #values::get(&column.#children, row),)* }
                }

                #[inline]
                fn to_owned(view: #view_type) -> Self {
                    Self { #(#members: #values::to_owned(view.#members),)* }
                }

                #[inline]
                fn view(&self) -> #view_type {
                    #view { #(#members: #values::view(&self.#members),)* }
                }

                #[inline]
                fn hash_key<__State: ::core::hash::Hasher>(view: #view_type, state: &mut __State) {
                    #(#values::hash_key(view.#members, state);)*
                }

                #[inline]
                fn same_key(a: #view_type, b: #view_type) -> bool {
                    #(#values::same_key(a.#members, b.#members))&&*
                }

                #[inline]
                fn heap_bytes(view: #view_type) -> usize {
                    0 #(+ #values::heap_bytes(view.#members))*
                }

                fn builder(capacity: usize) -> #builder_type {
                    #derive::Group::new(#builders { #(#children: #values::builder(capacity),)* })
                }

                #[inline]
                fn append(builder: &mut #builder_type, view: #view_type) {
                    #(#values::append(&mut builder.children.#children, view.#members);)*
                    builder.count();
                }

                fn lend(builder: &mut #builder_type, arrays: &[#derive::ArrayRef]) {
                    #(#values::lend(&mut builder.children.#children, arrays);)*
                }

                fn append_null(builder: &mut #builder_type) {
                    #(#values::append_null(&mut builder.children.#children);)*
                    builder.count_null();
                }

                fn finish(builder: &mut #builder_type) -> #derive::ArrayRef {
                    let arrays =
                        ::std::vec![#(#values::finish(&mut builder.children.#children)),*];
                    builder.finish(<Self as ::bigslice::row::Row>::fields(), arrays)
                }
            }
        }
    }

    fn row(&self) -> TokenStream {
        let Self { input, fields, generics, columns, children, .. } = self;
        let ident = &input.ident;
        let (impl_generics, type_generics, where_clause) = generics.split_for_impl();
        let derive = quote!(::bigslice::row::derive);
        let value = quote!(<Self as ::bigslice::row::Value>);
        let types = fields.iter().map(|field| field.ty);
        let (values, names) = (self.values(), self.names());
        quote! {
            #[automatically_derived]
            impl #impl_generics ::bigslice::row::Row for #ident #type_generics #where_clause {
                #derive::row_as_value!();

                fn fields() -> #derive::Fields {
                    #derive::fields([#(#derive::field::<#types>(#names)),*])
                }

                fn columns(
                    arrays: &[#derive::ArrayRef],
                ) -> ::core::result::Result<Self::Columns, ::bigslice::row::Mismatch> {
                    #derive::check(arrays, &[#(#names),*])?;
                    #columns::open(arrays, ::core::option::Option::None)
                }

                #[inline]
                fn has_rows(columns: &Self::Columns, rows: usize) -> bool {
                    #(#values::rows(&columns.#children) >= rows)&&*
                }

                fn finish(builder: &mut #value::Builder) -> ::std::vec::Vec<#derive::ArrayRef> {
                    builder.reset();
                    ::std::vec![#(#values::finish(&mut builder.children.#children)),*]
                }
            }
        }
    }
}
