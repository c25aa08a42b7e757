//! The reply of a method, read from its return type: one value or a stream, and whether it may
//! fail.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{
    AssocType, Error, GenericArgument, PathArguments, PathSegment, Result, ReturnType, Type,
    TypeImplTrait, TypeParamBound,
};

/// The shape of a method's reply.
pub(crate) struct Reply {
    /// The type in the method's descriptor.
    pub(crate) marker: TokenStream,
    /// An expression that sends `answer`, the method's return value, with `replies`.
    pub(crate) send: TokenStream,
}

/// Reads the shape of `output`.
pub(crate) fn of(output: &ReturnType) -> Result<Reply> {
    let unit: Type = syn::parse_quote!(());
    let returned = match output {
        ReturnType::Default => &unit,
        ReturnType::Type(_, returned) => returned,
    };
    if let Type::ImplTrait(stream) = returned {
        return many(stream, None);
    }
    let Some(result) = result_of(returned) else {
        return Ok(Reply {
            marker: quote!(::bigslice_cluster::One<#returned>),
            send: quote! {
                replies.one::<_, ::bigslice_cluster::Never>(::core::result::Result::Ok(answer)).await
            },
        });
    };
    let arguments = arguments_of(result);
    if let Some(Type::ImplTrait(stream)) = arguments.first() {
        let Some(error) = arguments.get(1) else {
            let message = "name the error too: `Result<impl Stream<Item = ...>, E>`";
            return Err(Error::new_spanned(result, message));
        };
        return many(stream, Some(error));
    }
    let fallible = quote!(#returned as ::bigslice_cluster::__private::Fallible);
    Ok(Reply {
        marker: quote!(::bigslice_cluster::One<<#fallible>::Value, <#fallible>::Error>),
        send: quote!(replies.one(answer).await),
    })
}

fn many(stream: &TypeImplTrait, outer: Option<&Type>) -> Result<Reply> {
    let Some(item) = item_of(stream) else {
        let message = "a method that answers with a stream returns `impl Stream<Item = ...>`";
        return Err(Error::new_spanned(stream, message));
    };
    let fallible = result_of(item).is_some();
    let (value, error) = if fallible {
        let item = quote!(#item as ::bigslice_cluster::__private::Fallible);
        (quote!(<#item>::Value), quote!(<#item>::Error))
    } else {
        let error = outer.map_or_else(|| quote!(::bigslice_cluster::Never), |e| quote!(#e));
        (quote!(#item), error)
    };
    let stream = if fallible {
        quote!(stream)
    } else {
        quote!(::bigslice_cluster::__private::all_ok::<_, #error>(stream))
    };
    let begun = if outer.is_some() {
        quote!(answer)
    } else {
        quote!(::core::result::Result::<_, #error>::Ok(answer))
    };
    Ok(Reply {
        marker: quote!(::bigslice_cluster::Many<#value, #error>),
        send: quote! {
            match #begun {
                ::core::result::Result::Ok(stream) => replies.many(#stream).await,
                ::core::result::Result::Err(error) => replies.fail(&error).await,
            }
        },
    })
}

/// The last segment of `returned` if it is a `Result` by any path.
pub(crate) fn result_of(returned: &Type) -> Option<&PathSegment> {
    let Type::Path(path) = returned else { return None };
    path.path.segments.last().filter(|last| last.ident == "Result")
}

/// The types between the angle brackets.
pub(crate) fn arguments_of(segment: &PathSegment) -> Vec<&Type> {
    let PathArguments::AngleBracketed(arguments) = &segment.arguments else { return Vec::new() };
    let types = arguments.args.iter().filter_map(|argument| match argument {
        GenericArgument::Type(of) => Some(of),
        _ => None,
    });
    types.collect()
}

/// `T` of `impl Stream<Item = T>`.
fn item_of(stream: &TypeImplTrait) -> Option<&Type> {
    stream.bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else { return None };
        let PathArguments::AngleBracketed(arguments) = &bound.path.segments.last()?.arguments
        else {
            return None;
        };
        arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(AssocType { ident, ty, .. }) if ident == "Item" => Some(ty),
            _ => None,
        })
    })
}
