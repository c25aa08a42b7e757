//! The attributes `#[row(..)]` of a type and of its fields or variants.

use syn::{Attribute, LitStr};

use crate::case::Case;

/// The rule of `#[row(rename_all = "..")]` on a type.
pub(crate) fn rename_all(attributes: &[Attribute]) -> syn::Result<Option<Case>> {
    let mut case = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("row")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("rename_all") {
                return Err(meta.error("a type has only the attribute `rename_all = \"..\"`"));
            }
            if case.is_some() {
                return Err(meta.error("`rename_all` is given twice"));
            }
            case = Some(Case::parse(&meta.value()?.parse()?)?);
            Ok(())
        })?;
    }
    Ok(case)
}

/// The name of `#[row(rename = "..")]` on a field or variant.
pub(crate) fn rename(attributes: &[Attribute]) -> syn::Result<Option<LitStr>> {
    let mut name = None;
    for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("row")) {
        attribute.parse_nested_meta(|meta| {
            if !meta.path.is_ident("rename") {
                let message = "a field or variant has only the attribute `rename = \"..\"`";
                return Err(meta.error(message));
            }
            if name.is_some() {
                return Err(meta.error("`rename` is given twice"));
            }
            name = Some(meta.value()?.parse()?);
            Ok(())
        })?;
    }
    Ok(name)
}

/// The documentation of a field, for its twin in the view.
pub(crate) fn docs(attributes: &[Attribute]) -> Vec<&Attribute> {
    attributes.iter().filter(|attribute| attribute.path().is_ident("doc")).collect()
}
