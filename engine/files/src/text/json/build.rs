//! The values of JSON fields into the arrays of columns, by the type of each column. What was added
//! of a row that does not end within the text is taken back.

use std::borrow::Cow;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, ListArray, StringArray,
    UInt64Array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef};
use datafusion::error::Result;

use super::lex::{Scalar, Stop, Walk, Walker};
use super::object::Object;
use crate::text::columns::cast_texts;
use crate::text::fault::{Fault, declare, shown, type_name};
use crate::text::value;

/// The values of a field.
#[derive(Debug)]
pub(super) struct Field {
    name: String,
    kind: DataType,
    /// A user declared the type: values are read as a user would.
    declared: bool,
    present: Vec<bool>,
    values: Values,
    /// Where each value is, of those that are cast when the batch is done.
    places: Vec<usize>,
}

#[derive(Debug)]
enum Values {
    Booleans(Vec<bool>),
    Integers(Vec<i64>),
    Unsigned(Vec<u64>),
    Decimals(Vec<i128>),
    Floats(Vec<f64>),
    /// Texts, and the texts of other JSON.
    Texts {
        bytes: Vec<u8>,
        ends: Vec<i32>,
    },
    List {
        ends: Vec<i32>,
        item: Box<Field>,
        field: FieldRef,
    },
    Object(Box<Object>),
}

impl Field {
    /// A field without values.
    pub(super) fn new(name: &str, kind: &DataType, declared: bool) -> Self {
        let values = match kind {
            DataType::Boolean => Values::Booleans(Vec::new()),
            DataType::Int64 => Values::Integers(Vec::new()),
            DataType::UInt64 => Values::Unsigned(Vec::new()),
            DataType::Decimal128(_, 0) if !declared => Values::Decimals(Vec::new()),
            DataType::Float64 => Values::Floats(Vec::new()),
            DataType::List(field) => Values::List {
                ends: vec![0],
                item: Box::new(Self::new(name, field.data_type(), declared)),
                field: Arc::clone(field),
            },
            DataType::Struct(fields) => {
                Values::Object(Box::new(Object::of_field(name, fields, declared)))
            }
            _ => Values::Texts { bytes: Vec::new(), ends: vec![0] },
        };
        let (name, kind) = (name.to_owned(), kind.clone());
        Self { name, kind, declared, present: Vec::new(), values, places: Vec::new() }
    }

    /// The number of values.
    pub(super) fn len(&self) -> usize {
        self.present.len()
    }

    /// Takes values back.
    pub(super) fn truncate(&mut self, length: usize) {
        self.present.truncate(length);
        self.places.truncate(length);
        let last = |ends: &mut Vec<i32>| {
            ends.truncate(length + 1);
            ends.last().map_or(0, |end| usize::try_from(*end).unwrap_or_default())
        };
        match &mut self.values {
            Values::Booleans(values) => values.truncate(length),
            Values::Integers(values) => values.truncate(length),
            Values::Unsigned(values) => values.truncate(length),
            Values::Decimals(values) => values.truncate(length),
            Values::Floats(values) => values.truncate(length),
            Values::Texts { bytes, ends } => bytes.truncate(last(ends)),
            Values::List { ends, item, .. } => item.truncate(last(ends)),
            Values::Object(object) => object.truncate(length),
        }
    }

    /// Adds a null.
    pub(super) fn add_null(&mut self) {
        self.present.push(false);
        match &mut self.values {
            Values::Booleans(values) => values.push(false),
            Values::Integers(values) => values.push(0),
            Values::Unsigned(values) => values.push(0),
            Values::Decimals(values) => values.push(0),
            Values::Floats(values) => values.push(0.0),
            Values::Texts { ends, .. } => {
                ends.push(ends.last().copied().unwrap_or_default());
                self.places.push(0);
            }
            Values::List { ends, .. } => ends.push(ends.last().copied().unwrap_or_default()),
            Values::Object(object) => object.add_nulls(),
        }
    }

    /// Adds the value that is next in the text.
    pub(super) fn add(&mut self, walker: &mut Walker<'_>, depth: usize) -> Walk<()> {
        let first = walker.peek()?;
        let begin = walker.at;
        if first == b'n' && walker.scalar()? == Scalar::Null {
            self.add_null();
            return Ok(());
        }
        match &mut self.values {
            Values::Texts { bytes, ends } => {
                match first {
                    b'"' => bytes.extend_from_slice(&walker.string()?),
                    _ => bytes.extend_from_slice(walker.raw(depth)?),
                }
                ends.push(end_of(bytes.len(), begin)?);
                self.places.push(begin);
            }
            Values::List { ends, item, .. } if first == b'[' => {
                let mut more = walker.open(b']')?;
                while more {
                    item.add(walker, depth + 1)?;
                    more = walker.another(b']')?;
                }
                ends.push(end_of(item.len(), begin)?);
            }
            Values::Object(object) if first == b'{' => object.add(walker, depth + 1)?,
            Values::List { .. } | Values::Object(_) => return Err(self.unfit(walker, begin)),
            _ => {
                let fits = self.add_scalar(walker, first)?;
                if !fits {
                    return Err(self.unfit(walker, begin));
                }
            }
        }
        self.present.push(true);
        Ok(())
    }

    /// Adds a number or a boolean, if it is valid for the type.
    fn add_scalar(&mut self, walker: &mut Walker<'_>, first: u8) -> Walk<bool> {
        let string: Cow<'_, [u8]>;
        let scalar = match first {
            b'"' if self.declared || matches!(self.values, Values::Floats(_)) => {
                string = walker.string()?;
                let text = std::str::from_utf8(&string).ok();
                if !self.declared && text.and_then(value::no_number).is_none() {
                    return Ok(false);
                }
                text.map_or(Scalar::Null, Scalar::Fraction)
            }
            b'"' | b'{' | b'[' => return Ok(false),
            _ => walker.scalar()?,
        };
        let text = match scalar {
            Scalar::Integer(text) | Scalar::Fraction(text) => Some(text),
            Scalar::Boolean(_) | Scalar::Null => None,
        };
        Ok(match &mut self.values {
            Values::Booleans(values) => push(
                values,
                match scalar {
                    Scalar::Boolean(value) => Some(value),
                    _ => text.filter(|_| self.declared).and_then(value::declared_boolean),
                },
            ),
            Values::Integers(values) => push(
                values,
                match scalar {
                    Scalar::Integer(text) => text.parse().ok(),
                    _ => text.and_then(value::declared_integer),
                },
            ),
            Values::Unsigned(values) => push(values, text.and_then(|text| text.parse().ok())),
            Values::Decimals(values) => {
                let short = text.filter(|text| text.len() <= 38);
                push(values, short.and_then(|text| text.parse().ok()))
            }
            Values::Floats(values) => push(
                values,
                match self.declared {
                    true => text.and_then(value::declared_float),
                    false => text.and_then(value::float),
                },
            ),
            Values::Texts { .. } | Values::List { .. } | Values::Object(_) => false,
        })
    }

    /// The error for a value that is not valid for the type.
    fn unfit(&self, walker: &Walker<'_>, begin: usize) -> Stop {
        let mut value = Walker { text: walker.text, at: begin };
        let raw = match value.raw(0) {
            Ok(raw) => raw,
            Err(stop) => return stop,
        };
        self.fault(begin, &String::from_utf8_lossy(raw)).into()
    }

    fn fault(&self, at: usize, value: &str) -> Fault {
        let (value, kind) = (shown(value), type_name(&self.kind));
        if self.declared {
            let message = format!("{value} is not a valid {kind}, the declared type");
            return Fault::new(at, message)
                .column(&self.name)
                .hint("declare the column as VARCHAR and cast it with TRY_CAST");
        }
        Fault::new(
            at,
            format!("{value} is not a valid {kind}, the type of the field's first values"),
        )
        .column(&self.name)
        .hint(declare(&self.name, "JSON"))
    }

    /// The array of all values, which are given away.
    pub(super) fn finish(&mut self) -> Result<Result<ArrayRef, Fault>> {
        let nulls = NullBuffer::from(std::mem::take(&mut self.present));
        let nulls = Some(nulls).filter(|nulls| nulls.null_count() > 0);
        let array: ArrayRef = match &mut self.values {
            Values::Booleans(values) => {
                Arc::new(BooleanArray::new(std::mem::take(values).into(), nulls))
            }
            Values::Integers(values) => {
                Arc::new(Int64Array::new(std::mem::take(values).into(), nulls))
            }
            Values::Unsigned(values) => {
                Arc::new(UInt64Array::new(std::mem::take(values).into(), nulls))
            }
            Values::Decimals(values) => {
                let array = Decimal128Array::new(std::mem::take(values).into(), nulls);
                Arc::new(array.with_data_type(self.kind.clone()))
            }
            Values::Floats(values) => {
                Arc::new(Float64Array::new(std::mem::take(values).into(), nulls))
            }
            Values::Texts { bytes, ends } => {
                let offsets = OffsetBuffer::new(std::mem::replace(ends, vec![0]).into());
                let bytes = std::mem::take(bytes).into();
                Arc::new(StringArray::try_new(offsets, bytes, nulls)?)
            }
            Values::List { ends, item, field } => {
                let offsets = OffsetBuffer::new(std::mem::replace(ends, vec![0]).into());
                let items = match item.finish()? {
                    Ok(items) => items,
                    Err(fault) => return Ok(Err(fault)),
                };
                Arc::new(ListArray::try_new(Arc::clone(field), offsets, items, nulls)?)
            }
            Values::Object(object) => match object.finish(nulls)? {
                Ok(array) => array,
                Err(fault) => return Ok(Err(fault)),
            },
        };
        let places = std::mem::take(&mut self.places);
        if array.data_type() == &self.kind {
            return Ok(Ok(array));
        }
        if matches!(self.kind, DataType::Utf8View | DataType::LargeUtf8) {
            return Ok(Ok(cast(&array, &self.kind)?));
        }
        Ok(cast_texts(&array, &self.kind).map_err(|unfit| {
            let at = places.get(unfit.row).copied().unwrap_or_default();
            self.fault(at, &unfit.text)
        }))
    }
}

fn push<T>(values: &mut Vec<T>, value: Option<T>) -> bool {
    let fits = value.is_some();
    values.extend(value);
    fits
}

/// Where a text or a list ends in an array; too many of them are refused.
fn end_of(length: usize, at: usize) -> Walk<i32> {
    i32::try_from(length)
        .map_err(|_| Fault::new(at, "the values of a batch are longer than 2 GiB").into())
}
