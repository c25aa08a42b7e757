//! One method of a service: its parameters, and the code that connects it to the wire.
//!
//! ```text
//! async fn f(&self, context: &ServiceContext, a: A, b: B, items: Input<T>) -> Result<R, E>
//!                   optional                  arguments  optional, last       reply
//! ```

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{
    Attribute, Error, FnArg, Ident, ImplItemFn, Pat, PatType, Receiver, Result, Signature, Type,
};

use crate::reply::{self, Reply};

/// A method that machines can call.
pub(crate) struct Method<'a> {
    pub(crate) function: &'a ImplItemFn,
    has_context: bool,
    arguments: Vec<&'a Type>,
    input: Option<&'a Type>,
    reply: Reply,
}

impl<'a> Method<'a> {
    /// Reads an async function with a receiver.
    pub(crate) fn of(function: &'a ImplItemFn, receiver: &Receiver) -> Result<Self> {
        let sig = &function.sig;
        if receiver.reference.is_none() || receiver.mutability.is_some() {
            let message = "several callers may be in a method at once: it takes `&self`; only \
                           `init` takes `&mut self`";
            return Err(Error::new_spanned(receiver, message));
        }
        if !sig.generics.params.is_empty() || sig.generics.where_clause.is_some() {
            let message = "a method of a service is found by its name: it cannot be generic";
            return Err(Error::new_spanned(&sig.generics, message));
        }
        let mut parameters: Vec<&PatType> = sig
            .inputs
            .iter()
            .filter_map(|input| match input {
                FnArg::Typed(parameter) => Some(parameter),
                FnArg::Receiver(_) => None,
            })
            .collect();
        let has_context = parameters.first().is_some_and(|first| is_context(&first.ty));
        if has_context {
            parameters.remove(0);
        }
        let input = parameters.last().and_then(|last| input_of(&last.ty));
        if input.is_some() {
            parameters.pop();
        }
        for parameter in &parameters {
            if !matches!(*parameter.pat, Pat::Ident(_) | Pat::Wild(_)) {
                let message = "an argument of a service's method is a name with a type";
                return Err(Error::new_spanned(&parameter.pat, message));
            }
            if matches!(*parameter.ty, Type::Reference(_)) {
                let message = "arguments come over the network: take an owned value (only the \
                               first parameter may be `&ServiceContext`)";
                return Err(Error::new_spanned(&parameter.ty, message));
            }
        }
        let arguments = parameters.iter().map(|parameter| &*parameter.ty).collect();
        let reply = reply::of(&sig.output)?;
        Ok(Self { function, has_context, arguments, input, reply })
    }

    pub(crate) fn name(&self) -> &Ident {
        &self.function.sig.ident
    }

    fn docs(&self) -> impl Iterator<Item = &Attribute> {
        self.function.attrs.iter().filter(|attribute| attribute.path().is_ident("doc"))
    }

    fn argument(&self) -> TokenStream {
        match self.arguments.as_slice() {
            [one] => quote!(#one),
            arguments => quote!((#(#arguments,)*)),
        }
    }

    /// The constant that names the method for callers.
    pub(crate) fn constant(&self) -> TokenStream {
        let (name, vis, docs) = (self.name(), &self.function.vis, self.docs());
        let (argument, marker) = (self.argument(), &self.reply.marker);
        let input = self.input.map_or_else(|| quote!(::bigslice_cluster::NoInput), |t| quote!(#t));
        let text = name.to_string();
        quote! {
            #(#docs)*
            #[expect(non_upper_case_globals, reason = "it is called like the method it names")]
            #vis const #name: ::bigslice_cluster::Method<Self, #argument, #marker, #input> =
                ::bigslice_cluster::Method::__new(#text);
        }
    }

    /// Its declaration in the trait of all methods.
    pub(crate) fn declaration(&self) -> TokenStream {
        let docs = self.docs();
        let Signature { ident, inputs, output, .. } = &self.function.sig;
        let inputs = inputs.iter().enumerate().map(|(n, input)| match input {
            FnArg::Receiver(receiver) => quote!(#receiver),
            FnArg::Typed(parameter) => {
                let (ty, plain) = (&parameter.ty, format_ident!("argument_{n}"));
                let name = match &*parameter.pat {
                    Pat::Ident(name) => &name.ident,
                    _ => &plain,
                };
                quote!(#name: #ty)
            }
        });
        quote!(#(#docs)* async fn #ident(#(#inputs),*) #output;)
    }

    /// Its definition, as the user wrote it.
    pub(crate) fn definition(&self) -> TokenStream {
        let ImplItemFn { attrs, sig, block, .. } = self.function;
        let attrs = attrs.iter().filter(|attribute| !attribute.path().is_ident("doc"));
        quote!(#(#attrs)* #sig #block)
    }

    /// The name of the function that answers a call.
    fn answerer(&self) -> Ident {
        format_ident!("__answer_{}", self.name())
    }

    /// The function that answers a call: reads the arguments, runs the method, sends the reply.
    pub(crate) fn answer(&self, methods: &Ident) -> TokenStream {
        let (name, answerer, argument) = (self.name(), self.answerer(), self.argument());
        let names: Vec<_> =
            (0..self.arguments.len()).map(|n| format_ident!("argument_{n}")).collect();
        let pattern = match names.as_slice() {
            [one] => quote!(#one),
            names => quote!((#(#names,)*)),
        };
        let context = self.has_context.then(|| quote!(let context = call.context();));
        let lent = self.has_context.then(|| quote!(&context,));
        let input = self.input.map(|item| quote!(call.input::<#item>(),));
        let send = &self.reply.send;
        quote! {
            fn #answerer(
                mut call: ::bigslice_cluster::__private::Incoming,
            ) -> ::bigslice_cluster::__private::Answering {
                ::std::boxed::Box::pin(async move {
                    let ::core::option::Option::Some(#pattern) = call.arguments::<#argument>().await
                    else {
                        return;
                    };
                    let (service, replies) = (call.service::<Self>(), call.replies());
                    #context
                    let answer =
                        <Self as #methods>::#name(&*service, #lent #(#names,)* #input).await;
                    #send;
                })
            }
        }
    }

    /// Its entry in the registry.
    pub(crate) fn entry(&self) -> TokenStream {
        let (name, answerer) = (self.name().to_string(), self.answerer());
        let (arguments, output) = (&self.arguments, &self.function.sig.output);
        let input = self.input.map(|item| quote!(Input<#item>));
        let arguments = arguments.iter().map(|of| quote!(#of)).chain(input);
        let signature = one_line(&quote!((#(#arguments),*) #output));
        quote! {
            ::bigslice_cluster::__private::Entry {
                name: #name, signature: #signature, answer: Self::#answerer
            }
        }
    }
}

/// Tokens formatted as source, in one line of any length.
fn one_line(tokens: &TokenStream) -> String {
    let words = tokens.to_string();
    let mut text = words.split_whitespace().collect::<Vec<_>>().join(" ");
    for (spread, tight) in [(" <", "<"), ("< ", "<"), (" >", ">"), (" ,", ","), (" :: ", "::")] {
        text = text.replace(spread, tight);
    }
    text
}

/// Returns true if a parameter is the context that every method may take.
pub(crate) fn is_context(ty: &Type) -> bool {
    let Type::Reference(reference) = ty else { return false };
    let Type::Path(path) = &*reference.elem else { return false };
    path.path.segments.last().is_some_and(|last| last.ident == "ServiceContext")
}

/// `T` of `Input<T>`.
fn input_of(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Input")?;
    reply::arguments_of(last).first().copied()
}
