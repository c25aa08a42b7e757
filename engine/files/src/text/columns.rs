//! Values of text into the arrays of columns.

use std::sync::Arc;

use super::dialect::Nulls;
use super::spans::Span;
use super::value;
use datafusion::arrow::array::{
    Array, ArrayRef, BooleanBuilder, PrimitiveBuilder, StringArray, StringBuilder, new_null_array,
};
use datafusion::arrow::compute::{CastOptions, cast, cast_with_options};
use datafusion::arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, TimeUnit, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type,
};

/// A value that a column cannot have: the number of its row and its text.
#[derive(Debug)]
pub(super) struct Unfit {
    pub(super) row: usize,
    pub(super) text: String,
}

/// The values of a column in a batch of rows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Values<'a> {
    pub(super) text: &'a str,
    pub(super) copies: &'a str,
    pub(super) spans: &'a [Span],
    /// Which texts are null.
    pub(super) nulls: &'a Nulls,
    /// How dates and timestamps are written, if an option says it.
    pub(super) date_format: Option<&'a str>,
    pub(super) timestamp_format: Option<&'a str>,
    /// The type was declared by a user: values are read as a user would.
    pub(super) declared: bool,
}

impl<'a> Values<'a> {
    /// The array of a column of a type.
    pub(super) fn array(self, kind: &DataType) -> Result<ArrayRef, Unfit> {
        match kind {
            DataType::Utf8 => Ok(Arc::new(self.texts(true).finish())),
            DataType::Int8 => self.integers::<Int8Type>(),
            DataType::Int16 => self.integers::<Int16Type>(),
            DataType::Int32 => self.integers::<Int32Type>(),
            DataType::Int64 => self.integers::<Int64Type>(),
            DataType::UInt8 => self.integers::<UInt8Type>(),
            DataType::UInt16 => self.integers::<UInt16Type>(),
            DataType::UInt32 => self.integers::<UInt32Type>(),
            DataType::Float64 => match self.declared {
                true => self.primitives::<Float64Type>(value::declared_float),
                false => self.primitives::<Float64Type>(value::float),
            },
            DataType::Boolean => self.booleans(),
            DataType::Date32 if self.date_format.is_some() => {
                let format = self.date_format.unwrap_or_default();
                self.primitives::<Date32Type>(|text| value::date_by(text, format))
            }
            DataType::Date32 => self
                .primitives::<Date32Type>(value::date)
                .or_else(|unfit| if self.declared { self.cast(kind) } else { Err(unfit) }),
            DataType::Timestamp(unit, _) if self.timestamp_format.is_some() => {
                let format = self.timestamp_format.unwrap_or_default();
                let array = self.timestamps(*unit, |text| value::timestamp_by(text, format, *unit));
                // The unit is that of the type: only the zone is added.
                let zoned = |array: ArrayRef| cast(&array, kind).unwrap_or(array);
                array.map(zoned)
            }
            DataType::Timestamp(unit, None) => self
                .timestamps(*unit, |text| match value::timestamp(text) {
                    Some((time, _)) => value::in_unit(&time, *unit),
                    None => value::midnight(text, *unit),
                })
                .or_else(|unfit| if self.declared { self.cast(kind) } else { Err(unfit) }),
            DataType::Null => Ok(new_null_array(kind, self.spans.len())),
            _ => self.cast(kind),
        }
    }

    /// The text of a value, if it is not null.
    fn get(&self, span: Span, is_text: bool) -> Option<&'a str> {
        let text = span.of(self.text, self.copies);
        let null = match self.nulls {
            Nulls::Empty => text.is_empty() && !(is_text && span.is_quoted()),
            nulls => nulls.is(text, is_text && span.is_quoted()) || (text.is_empty() && !is_text),
        };
        (!null).then_some(text)
    }

    fn texts(&self, is_text: bool) -> StringBuilder {
        let bytes = self.text.len().min(self.spans.len() * 16);
        let mut builder = StringBuilder::with_capacity(self.spans.len(), bytes);
        for span in self.spans {
            builder.append_option(self.get(*span, is_text));
        }
        builder
    }

    fn primitives<T: ArrowPrimitiveType>(
        &self,
        parse: impl Fn(&str) -> Option<T::Native>,
    ) -> Result<ArrayRef, Unfit> {
        let mut builder = PrimitiveBuilder::<T>::with_capacity(self.spans.len());
        for (row, span) in self.spans.iter().enumerate() {
            match self.get(*span, false) {
                None => builder.append_null(),
                Some(text) => match parse(text) {
                    Some(value) => builder.append_value(value),
                    None => return Err(Unfit { row, text: text.to_owned() }),
                },
            }
        }
        Ok(Arc::new(builder.finish()))
    }

    fn integers<T: ArrowPrimitiveType>(&self) -> Result<ArrayRef, Unfit>
    where
        T::Native: TryFrom<i64>,
    {
        let narrow = |value: i64| T::Native::try_from(value).ok();
        if self.declared {
            return self.primitives::<T>(|text| value::declared_integer(text).and_then(narrow));
        }
        self.primitives::<T>(|text| value::integer(text).and_then(narrow))
    }

    fn booleans(&self) -> Result<ArrayRef, Unfit> {
        let mut builder = BooleanBuilder::with_capacity(self.spans.len());
        for (row, span) in self.spans.iter().enumerate() {
            let Some(text) = self.get(*span, false) else {
                builder.append_null();
                continue;
            };
            let parsed =
                if self.declared { value::declared_boolean(text) } else { value::boolean(text) };
            match parsed {
                Some(value) => builder.append_value(value),
                None => return Err(Unfit { row, text: text.to_owned() }),
            }
        }
        Ok(Arc::new(builder.finish()))
    }

    fn timestamps(
        &self,
        unit: TimeUnit,
        parse: impl Fn(&str) -> Option<i64>,
    ) -> Result<ArrayRef, Unfit> {
        match unit {
            TimeUnit::Second => self.primitives::<TimestampSecondType>(parse),
            TimeUnit::Millisecond => self.primitives::<TimestampMillisecondType>(parse),
            TimeUnit::Microsecond => self.primitives::<TimestampMicrosecondType>(parse),
            TimeUnit::Nanosecond => self.primitives::<TimestampNanosecondType>(parse),
        }
    }

    /// Any other type: as SQL would cast the text.
    fn cast(&self, kind: &DataType) -> Result<ArrayRef, Unfit> {
        let is_text = matches!(kind, DataType::Utf8View | DataType::LargeUtf8);
        let mut texts = self.texts(is_text || is_words(kind));
        let texts = texts.finish();
        let array: ArrayRef = Arc::new(texts.clone());
        let cast = cast_texts(&array, kind);
        if cast.is_ok() || !kind.is_decimal() {
            return cast;
        }
        // Arrow's decimals have no exponents.
        let plain = |text: &str| value::without_exponent(text).unwrap_or_else(|| text.to_owned());
        let plain: StringArray = texts.iter().map(|text| text.map(plain)).collect();
        cast_texts(&(Arc::new(plain) as ArrayRef), kind).or(cast)
    }
}

/// Are values of the type texts, stored in another way?
fn is_words(kind: &DataType) -> bool {
    match kind {
        DataType::Dictionary(_, values) => {
            matches!(**values, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
        }
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => true,
        _ => false,
    }
}

/// Casts texts; a value that is none of the type is an error.
pub(super) fn cast_texts(texts: &ArrayRef, kind: &DataType) -> Result<ArrayRef, Unfit> {
    let options = CastOptions { safe: false, ..CastOptions::default() };
    let whole = cast_with_options(texts, kind, &options);
    whole.map_err(|_| {
        let fits = |row: &usize| cast_with_options(&texts.slice(*row, 1), kind, &options).is_ok();
        let row = (0..texts.len()).find(|row| !fits(row)).unwrap_or_default();
        let texts = texts.as_any().downcast_ref::<datafusion::arrow::array::StringArray>();
        let text = texts.map(|texts| texts.value(row).to_owned()).unwrap_or_default();
        Unfit { row, text }
    })
}
