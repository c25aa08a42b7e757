//! `#[service]`: makes the async methods of an impl block callable on any machine by name.
//!
//! ```text
//! #[service] impl S { async fn init(&mut self, ..); async fn f(&self, a: A) -> R { body } fn g() {} }
//!     ─►  impl S { const f: Method<S, A, One<R>>; async fn init(..); fn g() {} }   S::f, to call it there
//!         trait SMethods { async fn f(&self, a: A) -> R; }                         s.f(a), to call it here
//!         impl SMethods for S { async fn f(&self, a: A) -> R { body } }
//!         an entry of the registry: how S is set up, and what answers a call of f
//! ```

use proc_macro2::TokenStream;
use quote::{format_ident, quote};
use syn::{
    Error, FnArg, ImplItem, ImplItemFn, ItemImpl, Receiver, Result, ReturnType, Type, Visibility,
};

use crate::method::{Method, is_context};
use crate::reply::result_of;

/// Expands the service in `block`.
pub(crate) fn expand(block: &ItemImpl) -> Result<TokenStream> {
    if let Some((_, name, _)) = &block.trait_ {
        let message = "write #[service] on an impl block of the type itself, not of a trait";
        return Err(Error::new_spanned(name, message));
    }
    if !block.generics.params.is_empty() || block.generics.where_clause.is_some() {
        let message = "a service is found by its name: it cannot be generic";
        return Err(Error::new_spanned(&block.generics, message));
    }
    let of = &*block.self_ty;
    let Some(name) = (match of {
        Type::Path(path) => path.path.segments.last().map(|last| &last.ident),
        _ => None,
    }) else {
        return Err(Error::new_spanned(of, "a service is a struct or an enum"));
    };
    let mut methods = Vec::new();
    let mut others = Vec::new();
    let mut init = None;
    for item in &block.items {
        match item {
            ImplItem::Fn(function) if function.sig.asyncness.is_some() => {
                match function.sig.inputs.first() {
                    Some(FnArg::Receiver(receiver)) if function.sig.ident == "init" => {
                        init = Some(Init::of(function, receiver)?);
                        others.push(item);
                    }
                    Some(FnArg::Receiver(receiver)) => {
                        methods.push(Method::of(function, receiver)?);
                    }
                    _ => others.push(item),
                }
            }
            other => others.push(other),
        }
    }
    if methods.is_empty() {
        let message = "no method to call: write at least one `async fn name(&self, ...)`";
        return Err(Error::new_spanned(of, message));
    }
    let attrs = &block.attrs;
    let text = name.to_string();
    let trait_name = format_ident!("{name}Methods");
    let trait_doc = format!("The methods of the service `{name}`, to call them in this process.");
    let vis = widest(&methods);
    let constants = methods.iter().map(Method::constant);
    let declarations = methods.iter().map(Method::declaration);
    let definitions = methods.iter().map(Method::definition);
    let answers = methods.iter().map(|method| method.answer(&trait_name));
    let entries = methods.iter().map(Method::entry);
    let init = init.as_ref().map(Init::call);
    Ok(quote! {
        #(#attrs)*
        impl #of {
            #(#constants)*
            #(#others)*
        }

        #[doc = #trait_doc]
        #[allow(async_fn_in_trait, reason = "the type is known wherever the methods are called")]
        #vis trait #trait_name {
            #(#declarations)*
        }

        impl #trait_name for #of {
            #(#definitions)*
        }

        impl ::bigslice_cluster::Service for #of {
            const NAME: &'static str = ::core::concat!(::core::module_path!(), "::", #text);
        }

        const _: () = {
            impl #of {
                #(#answers)*

                fn __set_up(
                    value: ::bigslice_cluster::__private::Bytes,
                    #[allow(unused_variables, reason = "not every init asks for it")]
                    context: ::bigslice_cluster::ServiceContext,
                ) -> ::bigslice_cluster::__private::SettingUp {
                    ::std::boxed::Box::pin(async move {
                        #[allow(unused_mut, reason = "only init changes it")]
                        let mut service: Self = ::bigslice_cluster::__private::decode(&value)?;
                        #init
                        ::core::result::Result::Ok(::bigslice_cluster::__private::share(service))
                    })
                }

                const __ENTRIES: &'static [::bigslice_cluster::__private::Entry] =
                    &[#(#entries),*];
            }
            ::bigslice_cluster::__private::submit! {
                ::bigslice_cluster::__private::Registered {
                    name: <#of as ::bigslice_cluster::Service>::NAME,
                    file: ::core::file!(),
                    line: ::core::line!(),
                    methods: <#of>::__ENTRIES,
                    set_up: <#of>::__set_up,
                }
            }
        };
    })
}

/// The visibility that shows every method to the code that may see any of them.
fn widest(methods: &[Method<'_>]) -> Visibility {
    let all = || methods.iter().map(|method| &method.function.vis);
    let public = all().find(|vis| matches!(vis, Visibility::Public(_)));
    let restricted = all().find(|vis| matches!(vis, Visibility::Restricted(_)));
    public.or(restricted).cloned().unwrap_or(Visibility::Inherited)
}

/// The function that sets up the state of a service on its machine.
struct Init {
    has_context: bool,
    fallible: bool,
}

impl Init {
    fn of(function: &ImplItemFn, receiver: &Receiver) -> Result<Self> {
        let wrong = "init is `async fn init(&mut self)`, with `context: &ServiceContext` if it \
                     wants it; what else it needs are fields of the service";
        let mut rest = function.sig.inputs.iter().skip(1);
        let has_context = match rest.next() {
            None => false,
            Some(FnArg::Typed(parameter)) if is_context(&parameter.ty) => true,
            Some(other) => return Err(Error::new_spanned(other, wrong)),
        };
        if let Some(other) = rest.next() {
            return Err(Error::new_spanned(other, wrong));
        }
        if receiver.reference.is_none() {
            return Err(Error::new_spanned(receiver, wrong));
        }
        let fallible = match &function.sig.output {
            ReturnType::Default => false,
            ReturnType::Type(_, output) if result_of(output).is_some() => true,
            ReturnType::Type(_, output) => {
                let message = "init returns nothing, or `Result<(), E>`";
                return Err(Error::new_spanned(output, message));
            }
        };
        Ok(Self { has_context, fallible })
    }

    fn call(&self) -> TokenStream {
        let context = self.has_context.then(|| quote!(&context));
        let end = self.fallible.then(
            || quote!(.map_err(::core::convert::Into::<::bigslice_cluster::BoxError>::into)?),
        );
        quote!(service.init(#context).await #end;)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(block: &ItemImpl) -> String {
        expand(block).expect_err("it is refused").to_string()
    }

    #[test]
    fn what_cannot_be_a_service_is_refused_with_what_helps() {
        let rows: [(ItemImpl, &str); 14] = [
            (syn::parse_quote!(impl Clone for S { async fn f(&self) {} }), "not of a trait"),
            (
                syn::parse_quote!(
                    impl<T> S<T> {
                        async fn f(&self) {}
                    }
                ),
                "cannot be generic",
            ),
            (syn::parse_quote!(impl [u8] { async fn f(&self) {} }), "is a struct or an enum"),
            (syn::parse_quote!(impl S { fn f(&self) {} }), "no method to call"),
            (syn::parse_quote!(impl S { async fn f(&mut self) {} }), "it takes `&self`"),
            (syn::parse_quote!(impl S { async fn f(self) {} }), "it takes `&self`"),
            (syn::parse_quote!(impl S { async fn f<T>(&self, t: T) {} }), "cannot be generic"),
            (syn::parse_quote!(impl S { async fn f(&self, t: &str) {} }), "take an owned value"),
            (syn::parse_quote!(impl S { async fn f(&self, (a, b): (u8, u8)) {} }), "a name with"),
            (
                syn::parse_quote!(impl S { async fn f(&self) -> impl Iterator<Of = u8> {} }),
                "returns `impl Stream<Item = ...>`",
            ),
            (
                syn::parse_quote!(impl S { async fn f(&self) -> Result<impl Stream<Item = u8>> {} }),
                "name the error too",
            ),
            (syn::parse_quote!(impl S { async fn init(&mut self, n: u8) {} }), "are fields of"),
            (syn::parse_quote!(impl S { async fn init(self) {} }), "`async fn init(&mut self)`"),
            (
                syn::parse_quote!(impl S { async fn init(&mut self) -> u8 {} }),
                "returns nothing, or",
            ),
        ];
        for (block, reason) in rows {
            let refusal = refusal(&block);
            assert!(refusal.contains(reason), "{refusal}");
        }
    }

    #[test]
    fn the_registry_shows_methods_as_they_are_written() {
        let block: ItemImpl = syn::parse_quote! {
            impl S {
                async fn f(
                    &self, context: &ServiceContext, a: Vec<u8>, b: (u8, String), c: Input<a::T>,
                ) -> Result<impl Stream<Item = Result<u8, E>> + Send, E> {}
            }
        };
        let expanded = expand(&block).expect("it is a service").to_string();
        let signature = "(Vec<u8>, (u8, String), Input<a::T>) -> Result<impl Stream<Item = \
                         Result<u8, E>> + Send, E>";
        assert!(expanded.contains(signature), "{expanded}");
    }
}
