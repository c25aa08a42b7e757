//! `#[udf]` on a function: called for each row.

use proc_macro2::TokenStream;
use quote::quote;
use syn::{Error, ItemFn, Result, ReturnType};

use super::arguments::{Arguments, check, unbound};
use super::options::Options;

pub(super) fn expand(options: &Options, function: &ItemFn) -> Result<TokenStream> {
    let ItemFn { vis, sig, .. } = function;
    check(sig)?;
    let ReturnType::Type(_, output) = &sig.output else {
        return Err(Error::new_spanned(sig, "a function of SQL returns a value: write `-> T`"));
    };
    let returned = unbound((**output).clone());
    let returned = quote!(<#returned as ::bigslice::__private::Returned>::Value);
    let Arguments { names, given, values, made } = Arguments::of(sig.inputs.iter())?;
    let ident = &sig.ident;
    let name = options.name(&ident.to_string(), ident.span())?;
    let volatility = options.volatility()?;
    let doc =
        format!("The function `{ident}` in expressions: `{ident}::expr(..)` is a call of it.");
    let expr_doc = format!("A call of the function `{name}`.");
    Ok(quote! {
        #function

        #[doc = #doc]
        #[allow(non_camel_case_types, dead_code, clippy::allow_attributes)]
        #vis enum #ident {}

        const _: () = {
            fn evaluate(
                arrays: &[::bigslice::row::derive::ArrayRef],
                rows: usize,
            ) -> ::core::result::Result<
                ::bigslice::row::derive::ArrayRef,
                ::bigslice::__private::Fault,
            > {
                ::bigslice::__private::each_row::<(#(#values,)*), #returned>(
                    arrays,
                    rows,
                    |(#(#names,)*), builder| {
                        ::bigslice::__private::Returned::append(#ident(#(#made),*), builder)
                    },
                )
            }

            const UDF: ::bigslice::__private::Udf = ::bigslice::__private::Udf {
                name: #name,
                file: ::core::file!(),
                line: ::core::line!(),
                volatility: #volatility,
                kind: ::bigslice::__private::Kind::Scalar(::bigslice::__private::ScalarParts {
                    arguments: <(#(#values,)*) as ::bigslice::__private::Arguments>::types,
                    returns: <#returned as ::bigslice::row::Value>::data_type,
                    evaluate,
                }),
            };
            ::bigslice::__private::submit! { UDF }

            #[allow(dead_code, clippy::allow_attributes)]
            impl #ident {
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
