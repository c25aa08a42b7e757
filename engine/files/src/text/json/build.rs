//! The values of JSON objects into the columns of their fields, by the type of each column: rows,
//! and the objects within them. What was added of a row that does not end within the text is taken
//! back.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{
    ArrayRef, BooleanArray, Decimal128Array, Float64Array, Int64Array, ListArray, StringArray,
    StructArray, UInt64Array,
};
use datafusion::arrow::buffer::{NullBuffer, OffsetBuffer};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, FieldRef, Fields, SchemaRef};
use datafusion::error::Result;

use super::lex::{Scalar, Stop, Walk, Walker};
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

/// Keys that are remembered although they are no field's as they are written, at most.
const OTHER_KEYS_MAX: usize = 1000;

/// What to do with keys that are no fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unknown {
    /// They are skipped.
    Pass,
    /// The first rows did not have them: what they say would be lost.
    Refuse,
}

/// Builds the columns of objects.
#[derive(Debug)]
pub(super) struct Object {
    /// The path to the objects, for errors.
    name: Option<String>,
    /// All keys that are known, in their usual order.
    keys: Vec<String>,
    /// Where keys go; those that are no field's, too, once they were seen.
    places: HashMap<String, Option<usize>>,
    declared: bool,
    /// For each key, the field that its values go to.
    slots: Vec<Option<usize>>,
    fields: Vec<Field>,
    types: Fields,
    unknown: Unknown,
    length: usize,
}

impl Object {
    /// The rows of a table, of which some columns are read.
    pub(super) fn of_rows(table: &SchemaRef, projection: &[usize], declared: bool) -> Self {
        let slot = |column: usize| projection.iter().position(|at| *at == column);
        let slots = (0..table.fields().len()).map(slot).collect();
        let read: Fields =
            projection.iter().map(|column| Arc::clone(&table.fields()[*column])).collect();
        // Who does not ask for all columns does not miss one.
        let all = (0..table.fields().len()).all(|column| projection.contains(&column));
        Self::new(None, table.fields(), read, slots, declared, !declared && all)
    }

    /// The objects of a field.
    pub(super) fn of_field(name: &str, fields: &Fields, declared: bool) -> Self {
        let slots = (0..fields.len()).map(Some).collect();
        Self::new(Some(name.to_owned()), fields, fields.clone(), slots, declared, !declared)
    }

    fn new(
        name: Option<String>,
        known: &Fields,
        read: Fields,
        slots: Vec<Option<usize>>,
        declared: bool,
        refuse: bool,
    ) -> Self {
        let keys: Vec<String> = known.iter().map(|field| field.name().clone()).collect();
        let places = keys.iter().enumerate().map(|(at, key)| (key.clone(), Some(at))).collect();
        let builders = read.iter();
        let fields =
            builders.map(|field| Field::new(field.name(), field.data_type(), declared)).collect();
        let unknown = if refuse { Unknown::Refuse } else { Unknown::Pass };
        Self { name, keys, places, declared, slots, fields, types: read, unknown, length: 0 }
    }

    /// The number of objects.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Takes objects back.
    pub(super) fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
        self.fields.iter_mut().for_each(|field| field.truncate(length));
    }

    /// Adds an object without values.
    pub(super) fn add_nulls(&mut self) {
        self.fields.iter_mut().for_each(Field::add_null);
        self.length += 1;
    }

    /// Adds the object that is next in the text.
    pub(super) fn add(&mut self, walker: &mut Walker<'_>, depth: usize) -> Walk<()> {
        let mut usual = 0;
        let mut more = walker.open(b'}')?;
        while more {
            walker.peek()?;
            let begin = walker.at;
            let key = walker.key()?;
            walker.peek()?;
            let known = match self.keys.get(usual) {
                Some(expected) if expected.as_bytes() == &*key => Some(usual),
                _ => std::str::from_utf8(&key).ok().and_then(|key| self.place(key)),
            };
            match known.map(|at| self.slots[at]) {
                Some(Some(slot)) => {
                    let field = &mut self.fields[slot];
                    if field.len() > self.length {
                        return Err(self.twice(begin, &key).into());
                    }
                    field.add(walker, depth)?;
                }
                Some(None) => walker.pass(depth)?,
                None if self.unknown == Unknown::Refuse => {
                    return Err(self.unknown(begin, &key).into());
                }
                None => walker.pass(depth)?,
            }
            usual = known.map_or(usual, |at| at + 1);
            more = walker.another(b'}')?;
        }
        self.length += 1;
        for field in &mut self.fields {
            if field.len() < self.length {
                field.add_null();
            }
        }
        Ok(())
    }

    /// The field of a key. A user who declares fields may have written their names in small
    /// letters: a key that no field has is that of the only one with other capitals.
    fn place(&mut self, key: &str) -> Option<usize> {
        if let Some(at) = self.places.get(key) {
            return *at;
        }
        if !self.declared {
            return None;
        }
        let mut alike =
            self.keys.iter().enumerate().filter(|(_, known)| known.eq_ignore_ascii_case(key));
        let only = alike.next().map(|(at, _)| at);
        let only = only.filter(|_| alike.next().is_none());
        if self.places.len() < self.keys.len() + OTHER_KEYS_MAX {
            self.places.insert(key.to_owned(), only);
        }
        only
    }

    fn twice(&self, at: usize, key: &[u8]) -> Fault {
        let key = shown(&String::from_utf8_lossy(key));
        Fault::new(at, format!("an object has the key \"{key}\" twice"))
    }

    fn unknown(&self, at: usize, key: &[u8]) -> Fault {
        let key = shown(&String::from_utf8_lossy(key));
        let within = self.name.as_ref().map(|name| format!(" in \"{name}\"")).unwrap_or_default();
        Fault::new(at, format!("the key \"{key}\"{within} is not in the first rows of the files"))
            .hint(
                "name the columns that you want instead of *, declare all columns with CREATE EXTERNAL TABLE \
                 t (name type, ...) STORED AS JSON LOCATION '...', or let more rows decide with \
                 OPTIONS ('format.schema_infer_max_rec' '1000000')",
            )
    }

    /// The columns of all objects, which are given away.
    pub(super) fn columns(&mut self) -> Result<Result<Vec<ArrayRef>, Fault>> {
        self.length = 0;
        let mut columns = Vec::with_capacity(self.fields.len());
        for field in &mut self.fields {
            match field.finish()? {
                Ok(column) => columns.push(column),
                Err(fault) => return Ok(Err(fault)),
            }
        }
        Ok(Ok(columns))
    }

    /// One array of all objects.
    pub(super) fn finish(&mut self, nulls: Option<NullBuffer>) -> Result<Result<ArrayRef, Fault>> {
        let columns = match self.columns()? {
            Ok(columns) => columns,
            Err(fault) => return Ok(Err(fault)),
        };
        let array = StructArray::try_new(self.types.clone(), columns, nulls)?;
        Ok(Ok(Arc::new(array)))
    }
}
