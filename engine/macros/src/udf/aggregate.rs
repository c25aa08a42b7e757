//! `#[udf(aggregate)]` on an impl block: the type is the state of a group of rows, its methods take
//! rows in, bring two states together, and give the value.

use proc_macro2::{Ident, TokenStream};
use quote::quote;
use syn::{Error, FnArg, ImplItem, ImplItemFn, ItemImpl, Result, ReturnType, Type};

use super::arguments::{Arguments, check, unbound};
use super::options::{Options, snake};

/// The methods that mean something.
struct Methods<'a> {
    new: Option<&'a ImplItemFn>,
    add: &'a ImplItemFn,
    merge: &'a ImplItemFn,
    finish: &'a ImplItemFn,
    heap_bytes: Option<&'a ImplItemFn>,
}

impl<'a> Methods<'a> {
    fn of(block: &'a ItemImpl) -> Result<Self> {
        let find = |name: &str| {
            block.items.iter().find_map(|item| match item {
                ImplItem::Fn(method) if method.sig.ident == name => Some(method),
                _ => None,
            })
        };
        let missing = |what: &str| {
            let message = format!("an aggregate function needs the method `{what}`");
            Error::new_spanned(&block.self_ty, message)
        };
        let methods = Self {
            new: find("new"),
            add: find("add").ok_or_else(|| missing("fn add(&mut self, ..)"))?,
            merge: find("merge").ok_or_else(|| missing("fn merge(&mut self, other: Self)"))?,
            finish: find("finish").ok_or_else(|| missing("fn finish(self) -> T"))?,
            heap_bytes: find("heap_bytes"),
        };
        methods.check()?;
        Ok(methods)
    }

    fn check(&self) -> Result<()> {
        let all = [self.new, Some(self.add), Some(self.merge), Some(self.finish), self.heap_bytes];
        all.into_iter().flatten().try_for_each(|method| check(&method.sig))?;
        let shape = |method: Option<&ImplItemFn>, receiver: Receiver, others, shape: &str| {
            let Some(method) = method else { return Ok(()) };
            let found = Receiver::of(method);
            let count = method.sig.inputs.len() - usize::from(found != Receiver::None);
            if found == receiver && others == count {
                return Ok(());
            }
            Err(Error::new_spanned(&method.sig, format!("write `{shape}`")))
        };
        shape(self.new, Receiver::None, 0, "fn new() -> Self")?;
        shape(Some(self.merge), Receiver::Mut, 1, "fn merge(&mut self, other: Self)")?;
        shape(Some(self.finish), Receiver::Owned, 0, "fn finish(self) -> T")?;
        shape(self.heap_bytes, Receiver::Shared, 0, "fn heap_bytes(&self) -> usize")?;
        let count = self.add.sig.inputs.len();
        shape(Some(self.add), Receiver::Mut, count.max(2) - 1, "fn add(&mut self, value: T, ..)")
    }
}

/// The way a method takes its state.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Receiver {
    None,
    Owned,
    Shared,
    Mut,
}

impl Receiver {
    fn of(method: &ImplItemFn) -> Self {
        match method.sig.inputs.first() {
            Some(FnArg::Receiver(receiver)) => match (&receiver.reference, &receiver.mutability) {
                (None, _) => Self::Owned,
                (Some(_), None) => Self::Shared,
                (Some(_), Some(_)) => Self::Mut,
            },
            _ => Self::None,
        }
    }
}

/// The name of the type, which has to be one of its own.
fn state_name(block: &ItemImpl) -> Result<&Ident> {
    if let Some((_, path, _)) = &block.trait_ {
        let message = "the methods of an aggregate function are the type's own: `impl Type { .. }`";
        return Err(Error::new_spanned(path, message));
    }
    if !block.generics.params.is_empty() {
        let message = "SQL calls a function by its name alone: it cannot be generic";
        return Err(Error::new_spanned(&block.generics, message));
    }
    let last = match &*block.self_ty {
        Type::Path(path) => path.path.segments.last(),
        _ => None,
    };
    let last = last.ok_or_else(|| Error::new_spanned(&block.self_ty, "the state is a struct"))?;
    Ok(&last.ident)
}

pub(super) fn expand(options: &Options, block: &ItemImpl) -> Result<TokenStream> {
    let (state, ident) = (&block.self_ty, state_name(block)?);
    let methods = Methods::of(block)?;
    let ReturnType::Type(_, output) = &methods.finish.sig.output else {
        let message = "`finish` returns the value: write `fn finish(self) -> T`";
        return Err(Error::new_spanned(&methods.finish.sig, message));
    };
    let output = unbound((**output).clone());
    let output = quote!(<#output as ::bigslice::__private::Returned>::Value);
    let Arguments { names, given, values, made } =
        Arguments::of(methods.add.sig.inputs.iter().skip(1))?;
    let name = options.name(&snake(&ident.to_string()), ident.span())?;
    let volatility = options.volatility()?;
    let empty = match methods.new {
        Some(_) => quote!(<#state>::new()),
        None => quote!(<#state as ::core::default::Default>::default()),
    };
    let owns = methods.heap_bytes.is_some();
    let heap_bytes = match methods.heap_bytes {
        Some(_) => quote!(<#state>::heap_bytes(self)),
        None => quote!(0),
    };
    let expr_doc = format!("A call of the aggregate function `{name}`.");
    let vis = &methods.add.vis;
    Ok(quote! {
        #block

        const _: () = {
            const _: () = ::core::assert!(
                #owns || !::core::mem::needs_drop::<#state>(),
                "the state of this aggregate function owns memory that is not counted: add a method \
                 `fn heap_bytes(&self) -> usize` that says how much"
            );

            impl ::bigslice::__private::Aggregate for #state {
                type Arguments = (#(#values,)*);
                type Output = #output;

                const OWNS_MEMORY: bool = #owns;

                #[inline(always)]
                fn empty() -> Self {
                    #empty
                }

                #[inline(always)]
                fn add(
                    &mut self,
                    (#(#names,)*): <
                        (#(#values,)*) as ::bigslice::__private::Arguments
                    >::Views<'_>,
                ) -> ::core::result::Result<(), ::std::string::String> {
                    ::bigslice::__private::Done::done(<#state>::add(self, #(#made),*))
                }

                #[inline(always)]
                fn merge(
                    &mut self,
                    other: Self,
                ) -> ::core::result::Result<(), ::std::string::String> {
                    ::bigslice::__private::Done::done(<#state>::merge(self, other))
                }

                #[inline(always)]
                fn finish(
                    self,
                    builder: &mut <#output as ::bigslice::row::Value>::Builder,
                ) -> ::core::result::Result<(), ::std::string::String> {
                    ::bigslice::__private::Returned::append(<#state>::finish(self), builder)
                }

                #[inline(always)]
                fn heap_bytes(&self) -> usize {
                    #heap_bytes
                }
            }

            const UDF: ::bigslice::__private::Udf = ::bigslice::__private::Udf {
                name: #name,
                file: ::core::file!(),
                line: ::core::line!(),
                volatility: #volatility,
                kind: ::bigslice::__private::Kind::Aggregate(
                    ::bigslice::__private::AggregateParts::of::<#state>(),
                ),
            };
            ::bigslice::__private::submit! { UDF }

            #[allow(dead_code, clippy::allow_attributes)]
            impl #state {
                #[doc = #expr_doc]
                #vis fn expr(
                    #(#given: ::bigslice::__private::Expr),*
                ) -> ::bigslice::__private::Expr {
                    ::bigslice::__private::expr(&UDF, ::std::vec![#(#given),*])
                }
            }
        };
    })
}
