//! `#[derive(Row)]`, documented here and not beside its code, since its examples need this crate.

/// Makes a type a `Row`, what a slice is of, and a `Value`, what one column holds.
///
/// # Structs
///
/// Each field becomes a column, and may be any `Value`: numbers, strings, dates, `Option`, `Vec`,
/// other structs with this derive. Beside the struct `Visit` the macro writes `VisitView`, what a
/// closure sees: the same fields, borrowed from the columns. As a field of another struct it is a
/// struct column. Type parameters may be used as fields.
///
/// ```
/// # extern crate bigslice_rows as bigslice;
/// use bigslice::row::Row;
///
/// /// A visit of a page.
/// #[derive(Row)]
/// #[row(rename_all = "camelCase")]
/// pub struct Visit {
///     /// The page.
///     pub page_url: String, // column "pageUrl"
///     #[row(rename = "duration")]
///     ms: Option<i64>, // column "duration", which may be null
/// }
///
/// fn slow(visit: VisitView<'_>) -> bool {
///     visit.ms > Some(500) && visit.page_url.starts_with("https:")
/// }
/// ```
///
/// The columns of a tuple struct are `_0`, `_1` and so on. A tuple struct of one field is a
/// newtype: it is stored as its field is, without a struct around it; as a row its column is
/// called `value`.
///
/// ```
/// # extern crate bigslice_rows as bigslice;
/// use bigslice::row::Row;
///
/// #[derive(Row)]
/// struct UserId(u64); // as a field or in a tuple: a column of the type UInt64
/// ```
///
/// # Enums
///
/// An enum without fields is stored as a dictionary of the names of its variants. It is its own
/// view, and so has to be `Copy` and `Debug`. A text that is not a variant is an error.
///
/// ```
/// # extern crate bigslice_rows as bigslice;
/// use bigslice::row::Row;
///
/// #[derive(Clone, Copy, Debug, Row)]
/// #[row(rename_all = "lowercase")]
/// enum Method {
///     Get,
///     Post,
/// }
/// ```
///
/// # Attributes
///
/// - `#[row(rename = "name")]` on a field or variant: the name of its column or its text.
/// - `#[row(rename_all = "rule")]` on the type: the names of those without a `rename`; the rule is
///   one of `lowercase`, `UPPERCASE`, `PascalCase`, `camelCase`, `snake_case`,
///   `SCREAMING_SNAKE_CASE`, `kebab-case`.
///
/// # What is refused
///
/// Two columns of one name:
///
/// ```compile_fail
/// # extern crate bigslice_rows as bigslice;
/// #[derive(bigslice::row::Row)]
/// struct Twice {
///     a: i64,
///     #[row(rename = "a")]
///     b: i64,
/// }
/// ```
///
/// A borrow, since a row has to live longer than its batch:
///
/// ```compile_fail
/// # extern crate bigslice_rows as bigslice;
/// #[derive(bigslice::row::Row)]
/// struct Borrowed<'a> {
///     url: &'a str,
/// }
/// ```
///
/// Fields that no column can hold:
///
/// ```compile_fail
/// # extern crate bigslice_rows as bigslice;
/// #[derive(bigslice::row::Row)]
/// struct Opaque {
///     thread: std::thread::Thread,
/// }
/// ```
///
/// Enums whose variants have fields, enums that are not `Copy`, unions, and structs without
/// fields:
///
/// ```compile_fail
/// # extern crate bigslice_rows as bigslice;
/// #[derive(Clone, Copy, Debug, bigslice::row::Row)]
/// enum Shape {
///     Circle(f64),
/// }
/// ```
///
/// ```compile_fail
/// # extern crate bigslice_rows as bigslice;
/// #[derive(Debug, bigslice::row::Row)]
/// enum NotCopy {
///     A,
/// }
/// ```
///
/// ```compile_fail
/// # extern crate bigslice_rows as bigslice;
/// #[derive(bigslice::row::Row)]
/// union Either {
///     a: i64,
///     b: f64,
/// }
/// ```
///
/// ```compile_fail
/// # extern crate bigslice_rows as bigslice;
/// #[derive(bigslice::row::Row)]
/// struct Empty {}
/// ```
///
/// Attributes that it does not know:
///
/// ```compile_fail
/// # extern crate bigslice_rows as bigslice;
/// #[derive(bigslice::row::Row)]
/// #[row(rename_all = "Camel")]
/// struct Unruly {
///     a: i64,
/// }
/// ```
pub use bigslice_macros::Row;
