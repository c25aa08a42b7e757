//! The arguments of a function or of `add`: which column each reads, and how it is made of one.

use proc_macro2::{Ident, TokenStream};
use quote::{format_ident, quote};
use syn::punctuated::Punctuated;
use syn::{Error, FnArg, GenericArgument, Pat, PathArguments, Result, Signature, Token, Type};

/// Arguments that a tuple of columns has room for.
const ARGUMENTS_MAX: usize = 12;

/// The arguments of a function.
pub(super) struct Arguments {
    /// The names they have in the code that is generated.
    pub(super) names: Vec<Ident>,
    /// The names that the user gave them.
    pub(super) given: Vec<Ident>,
    /// The types of the values of their columns.
    pub(super) values: Vec<TokenStream>,
    /// How each is made of the view of a value.
    pub(super) made: Vec<TokenStream>,
}

impl Arguments {
    pub(super) fn of<'a>(inputs: impl Iterator<Item = &'a FnArg>) -> Result<Self> {
        let (mut names, mut given) = (Vec::new(), Vec::new());
        let (mut values, mut made) = (Vec::new(), Vec::new());
        for input in inputs {
            let FnArg::Typed(argument) = input else {
                let message = "a function of SQL is a function of its own, not a method";
                return Err(Error::new_spanned(input, message));
            };
            let n = names.len();
            if n == ARGUMENTS_MAX {
                let message = format!("a function of SQL has at most {ARGUMENTS_MAX} arguments");
                return Err(Error::new_spanned(argument, message));
            }
            let name = format_ident!("argument_{n}");
            given.push(match &*argument.pat {
                Pat::Ident(pattern) => pattern.ident.clone(),
                _ => name.clone(),
            });
            if let Type::ImplTrait(_) = &*argument.ty {
                let message = "an argument has the type of a column, not `impl Trait`";
                return Err(Error::new_spanned(&argument.ty, message));
            }
            let of = quote!(::bigslice::__private::Argument::of);
            match optional(&argument.ty) {
                Some(inner) => {
                    let value = value(inner);
                    values.push(quote!(::core::option::Option<#value>));
                    made.push(quote!(::core::option::Option::map(#name, #of)));
                }
                None => {
                    values.push(value(&argument.ty));
                    made.push(quote!(#of(#name)));
                }
            }
            names.push(name);
        }
        Ok(Self { names, given, values, made })
    }
}

/// Refuses functions that cannot be called by name alone.
pub(super) fn check(sig: &Signature) -> Result<()> {
    let wrong = if let Some(token) = &sig.asyncness {
        Some((quote!(#token), "a function of SQL computes: it cannot be async"))
    } else if let Some(token) = &sig.unsafety {
        Some((quote!(#token), "a function of SQL cannot be unsafe"))
    } else if sig.generics.type_params().next().is_some()
        || sig.generics.const_params().next().is_some()
    {
        let generics = &sig.generics;
        Some((quote!(#generics), "SQL calls a function by its name alone: it cannot be generic"))
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

/// `T` of `Option<T>`.
fn optional(ty: &Type) -> Option<&Type> {
    let Type::Path(path) = ty else { return None };
    let last = path.path.segments.last().filter(|last| last.ident == "Option")?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else { return None };
    match arguments.args.first() {
        Some(GenericArgument::Type(inner)) => Some(inner),
        _ => None,
    }
}

/// The type of the values of the column that an argument reads.
fn value(ty: &Type) -> TokenStream {
    let ty = unbound(ty.clone());
    quote!(<#ty as ::bigslice::__private::Argument<'static>>::Value)
}

/// A type whose borrows live for ever: outside of its function nothing else can be said of them.
pub(super) fn unbound(ty: Type) -> Type {
    match ty {
        Type::Reference(mut reference) => {
            reference.lifetime = Some(syn::parse_quote!('static));
            *reference.elem = unbound(*reference.elem);
            Type::Reference(reference)
        }
        Type::Slice(mut slice) => {
            *slice.elem = unbound(*slice.elem);
            Type::Slice(slice)
        }
        Type::Tuple(mut tuple) => {
            let elems = std::mem::take(&mut tuple.elems).into_iter().map(unbound);
            tuple.elems = elems.collect::<Punctuated<_, Token![,]>>();
            if tuple.elems.len() == 1 {
                tuple.elems.push_punct(syn::parse_quote!(,));
            }
            Type::Tuple(tuple)
        }
        Type::Paren(paren) => unbound(*paren.elem),
        Type::Path(mut path) => {
            for segment in &mut path.path.segments {
                let PathArguments::AngleBracketed(arguments) = &mut segment.arguments else {
                    continue;
                };
                for argument in &mut arguments.args {
                    match argument {
                        GenericArgument::Lifetime(lifetime) => {
                            *lifetime = syn::parse_quote!('static);
                        }
                        GenericArgument::Type(inner) => *inner = unbound(inner.clone()),
                        _ => {}
                    }
                }
            }
            Type::Path(path)
        }
        other => other,
    }
}
