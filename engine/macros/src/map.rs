//! `#[map]`: makes a function one that machines can call for an item, by its name.
//!
//! ```text
//! #[map] fn f(item: A) -> Result<B> { body }
//!     ─►  struct f: a value to hand to Session::map, which is called like the function
//!         an entry of the registry that decodes the item and calls it
//! ```

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, FnArg, ItemFn, Pat, Result, ReturnType, Signature, Type};

/// The value in the place of `function`, and the registry's entry.
pub(crate) fn expand(arguments: &TokenStream, function: &ItemFn) -> Result<TokenStream> {
    if !arguments.is_empty() {
        return Err(Error::new_spanned(arguments, "map takes no arguments"));
    }
    let ItemFn { attrs, vis, sig, block } = function;
    check(sig)?;
    let (names, types) = inputs(sig)?;
    let name = &sig.ident;
    let text = name.to_string();
    let given = match &sig.output {
        ReturnType::Type(_, given) => quote!(#given),
        ReturnType::Default => quote!(()),
    };
    let (output, convert) = match &sig.output {
        ReturnType::Type(_, given) if is_result(given) => (
            quote!(<#given as ::bigslice::__private::Fallible>::Output),
            quote!(::bigslice::__private::Fallible::into_text_error),
        ),
        _ => (given.clone(), quote!(::core::result::Result::Ok)),
    };
    let item = match &types[..] {
        [item] => quote!(#item),
        items => quote!((#(#items),*)),
    };
    let pattern = match &names[..] {
        [name] => quote!(#name),
        names => quote!((#(#names),*)),
    };
    let inputs = &sig.inputs;
    let converted_as = quote!(::core::result::Result<#output, ::std::string::String>);
    let (returns, body, call, pending) = if sig.asyncness.is_some() {
        let future = quote!(::core::pin::Pin<
            ::std::boxed::Box<dyn ::core::future::Future<Output = #given> + ::core::marker::Send>
        >);
        let body = quote!({ ::std::boxed::Box::pin(async move #block) });
        let call = quote! {
            async fn call(#pattern: #item) -> #converted_as { #convert(run(#(#names),*).await) }
        };
        (future, body, call, quote!(waiting))
    } else {
        let call = quote!(fn call(#pattern: #item) -> #converted_as { #convert(run(#(#names),*)) });
        (given, quote!(#block), call, quote!(blocking))
    };
    let pointer = quote!(fn(#(#types),*) -> #returns);
    Ok(quote! {
        #(#attrs)*
        #[allow(non_camel_case_types, clippy::allow_attributes)]
        #[derive(Clone, Copy, Debug)]
        #vis struct #name;

        const _: () = {
            fn run(#inputs) -> #returns #body

            #call

            const MAPPING: ::bigslice::__private::Mapping = ::bigslice::__private::Mapping {
                name: ::core::concat!(::core::module_path!(), "::", #text),
                file: ::core::file!(),
                line: ::core::line!(),
                call: |bytes| ::bigslice::__private::Pending::#pending(bytes, call),
            };
            ::bigslice::__private::submit! { MAPPING }

            impl ::bigslice::MapFunction for #name {
                type Item = #item;
                type Output = #output;

                const MAPPING: ::bigslice::__private::Mapping = MAPPING;
            }

            impl ::core::ops::Deref for #name {
                type Target = #pointer;

                fn deref(&self) -> &Self::Target {
                    const RUN: #pointer = run;
                    &RUN
                }
            }
        };
    })
}

fn check(sig: &Signature) -> Result<()> {
    let wrong = if let Some(token) = &sig.unsafety {
        Some((quote!(#token), "a mapped function cannot be unsafe"))
    } else if !sig.generics.params.is_empty() || sig.generics.where_clause.is_some() {
        let generics = &sig.generics;
        Some((
            quote!(#generics),
            "machines call a function by its name alone: it cannot be generic",
        ))
    } else if sig.inputs.is_empty() {
        Some((quote!(#sig), "a mapped function takes an item: it has an argument"))
    } else {
        sig.variadic
            .as_ref()
            .map(|token| (quote!(#token), "a function has a fixed list of arguments"))
    };
    match wrong {
        Some((tokens, message)) => Err(Error::new_spanned(tokens, message)),
        None => Ok(()),
    }
}

/// The names that the arguments have in the code that is generated, and their types.
fn inputs(sig: &Signature) -> Result<(Vec<syn::Ident>, Vec<&Type>)> {
    let (mut names, mut types) = (Vec::new(), Vec::new());
    for input in &sig.inputs {
        match input {
            FnArg::Typed(argument) if matches!(*argument.pat, Pat::Ident(_) | Pat::Wild(_)) => {
                if let Type::Reference(borrow) = &*argument.ty {
                    let message = "an item is sent to another machine: its parts are owned, such as \
                                   String for &str";
                    return Err(Error::new_spanned(borrow, message));
                }
                names.push(quote::format_ident!("argument_{}", names.len()));
                types.push(&*argument.ty);
            }
            FnArg::Typed(argument) => {
                let message = "an argument of a mapped function is a name with a type";
                return Err(Error::new_spanned(&argument.pat, message));
            }
            FnArg::Receiver(receiver) => {
                let message = "a mapped function is a function of its own, not a method";
                return Err(Error::new_spanned(receiver, message));
            }
        }
    }
    Ok((names, types))
}

fn is_result(ty: &Type) -> bool {
    match ty {
        Type::Path(path) => path.path.segments.last().is_some_and(|last| last.ident == "Result"),
        _ => false,
    }
}
