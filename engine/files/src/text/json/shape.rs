//! What the values of a JSON field are, as far as they were seen, and the type that has all of
//! them.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::datatypes::{DataType, Field, Fields};

use super::lex::{Scalar, Walk, Walker};
use crate::text::value;

/// Lists and objects in each other that become types; what is deeper is the text of its JSON. A
/// plan with deeper types cannot be sent to a machine.
const TYPE_DEPTH_MAX: usize = 20;

/// Keys of an object that become fields; with more it is a map, and the text of its JSON.
const KEYS_MAX: usize = 2000;

/// Digits of a number that a decimal can have.
const DECIMAL_DIGITS: u8 = 38;

/// The kinds of values so far except lists and objects, one bit for each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Kinds(u16);

const BOOLEAN: u16 = 1;
const INTEGER: u16 = 1 << 1;
const NEGATIVE: u16 = 1 << 2;
/// An integer that no 64-bit float represents exactly.
const LONG: u16 = 1 << 3;
/// An integer beyond 63 bits, but not 64.
const UNSIGNED: u16 = 1 << 4;
/// A longer one.
const BIG: u16 = 1 << 5;
const FLOAT: u16 = 1 << 6;
const TEXT: u16 = 1 << 7;
/// The string `NaN` or that of an infinity, which is a number among numbers only: JSON has no
/// other way to write it.
const NO_NUMBER: u16 = 1 << 8;

/// The shape of the values of a field.
#[derive(Debug, Clone, Default)]
pub(super) struct Shape {
    kinds: Kinds,
    list: Option<Box<Self>>,
    object: Option<Keys>,
}

/// The keys of objects, in the order in which they were seen.
#[derive(Debug, Clone, Default)]
pub(super) struct Keys {
    shapes: Vec<(String, Shape)>,
    places: HashMap<String, usize>,
}

impl Keys {
    fn shape(&mut self, key: &str) -> &mut Shape {
        let at = match self.places.get(key) {
            Some(at) => *at,
            None => {
                self.places.insert(key.to_owned(), self.shapes.len());
                self.shapes.push((key.to_owned(), Shape::default()));
                self.shapes.len() - 1
            }
        };
        &mut self.shapes[at].1
    }

    /// Adds an object; the next byte of the text is its bracket.
    pub(super) fn add(&mut self, walker: &mut Walker<'_>, depth: usize) -> Walk<()> {
        let mut more = walker.open(b'}')?;
        while more {
            let key = walker.key()?;
            walker.peek()?;
            self.shape(&String::from_utf8_lossy(&key)).add(walker, depth + 1)?;
            more = walker.another(b'}')?;
        }
        Ok(())
    }

    /// Adds what was seen elsewhere.
    pub(super) fn join(&mut self, other: Self) {
        for (key, shape) in other.shapes {
            self.shape(&key).join(shape);
        }
    }

    /// The fields that have all of it.
    pub(super) fn fields(&self, depth: usize) -> Fields {
        let fields = self.shapes.iter();
        fields.map(|(key, shape)| Field::new(key, shape.data_type(depth), true)).collect()
    }
}

impl Shape {
    /// Adds a value; the next byte of the text is its first one.
    fn add(&mut self, walker: &mut Walker<'_>, depth: usize) -> Walk<()> {
        if depth > TYPE_DEPTH_MAX {
            self.kinds.0 |= TEXT;
            return walker.pass(depth);
        }
        match walker.peek()? {
            b'"' => {
                let string = walker.string()?;
                let is_number =
                    std::str::from_utf8(&string).is_ok_and(|text| value::no_number(text).is_some());
                self.kinds.0 |= if is_number { NO_NUMBER } else { TEXT };
            }
            b'{' => {
                let keys = self.object.get_or_insert_default();
                keys.add(walker, depth)?;
            }
            b'[' => {
                let item = self.list.get_or_insert_default();
                let mut more = walker.open(b']')?;
                while more {
                    walker.peek()?;
                    item.add(walker, depth + 1)?;
                    more = walker.another(b']')?;
                }
            }
            _ => self.kinds.0 |= kinds(walker.scalar()?),
        }
        Ok(())
    }

    fn join(&mut self, other: Self) {
        self.kinds.0 |= other.kinds.0;
        if let Some(item) = other.list {
            self.list.get_or_insert_default().join(*item);
        }
        if let Some(keys) = other.object {
            self.object.get_or_insert_default().join(keys);
        }
    }

    /// The type that has all of it; text, where values are of several kinds or none was seen.
    fn data_type(&self, depth: usize) -> DataType {
        if depth >= TYPE_DEPTH_MAX {
            return DataType::Utf8;
        }
        match (self.kinds.0, &self.list, &self.object) {
            (0, Some(item), None) => {
                DataType::List(Arc::new(Field::new("item", item.data_type(depth + 1), true)))
            }
            (0, None, Some(keys)) if (1..=KEYS_MAX).contains(&keys.shapes.len()) => {
                DataType::Struct(keys.fields(depth + 1))
            }
            (kinds, None, None) => of_kinds(kinds),
            _ => DataType::Utf8,
        }
    }
}

fn of_kinds(kinds: u16) -> DataType {
    let only = |some: u16| kinds != 0 && kinds & !some == 0;
    if only(BOOLEAN) {
        DataType::Boolean
    } else if only(INTEGER | NEGATIVE | LONG) {
        DataType::Int64
    } else if only(INTEGER | LONG | UNSIGNED) {
        DataType::UInt64
    } else if only(INTEGER | NEGATIVE | LONG | UNSIGNED | BIG) {
        DataType::Decimal128(DECIMAL_DIGITS, 0)
    } else if only(INTEGER | NEGATIVE | FLOAT | NO_NUMBER) && kinds != NO_NUMBER {
        DataType::Float64
    } else {
        DataType::Utf8
    }
}

/// The kinds of a number or a word.
fn kinds(scalar: Scalar<'_>) -> u16 {
    match scalar {
        Scalar::Null => 0,
        Scalar::Boolean(_) => BOOLEAN,
        Scalar::Fraction(text) if value::float(text).is_some() => FLOAT,
        Scalar::Fraction(_) => TEXT,
        Scalar::Integer(text) => {
            let negative = if text.starts_with('-') { NEGATIVE } else { 0 };
            if text.parse::<i64>().is_ok() {
                let long = if value::is_no_float(text) { LONG } else { 0 };
                INTEGER | negative | long
            } else if text.parse::<u64>().is_ok() {
                UNSIGNED
            } else if text.len() <= usize::from(DECIMAL_DIGITS) {
                BIG | negative
            } else {
                TEXT
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[&str]) -> DataType {
        let mut keys = Keys::default();
        for value in values {
            let text = format!("{{\"a\":{value}}}");
            keys.add(&mut Walker { text: text.as_bytes(), at: 0 }, 0).unwrap();
        }
        keys.fields(0)[0].data_type().clone()
    }

    #[test]
    fn types_lose_nothing_of_a_value() {
        assert_eq!(of(&["1", "null", "-2"]), DataType::Int64);
        assert_eq!(of(&["1", "18446744073709551615"]), DataType::UInt64);
        assert_eq!(of(&["-1", "18446744073709551615"]), DataType::Decimal128(38, 0));
        assert_eq!(of(&["100000000000000000000000000000000000000000"]), DataType::Utf8);
        assert_eq!(of(&["1", "2.5"]), DataType::Float64);
        assert_eq!(of(&["9007199254740993", "2.5"]), DataType::Utf8);
        assert_eq!(of(&["1", "true"]), DataType::Utf8);
        assert_eq!(of(&["1", "\"x\""]), DataType::Utf8);
        assert_eq!(of(&["\"NaN\"", "1", "\"-Infinity\""]), DataType::Float64);
        assert_eq!(of(&["\"NaN\""]), DataType::Utf8);
        assert_eq!(of(&["\"NaN\"", "true"]), DataType::Utf8);
        assert_eq!(of(&["1", "[1]"]), DataType::Utf8);
        assert_eq!(of(&["{}"]), DataType::Utf8);
        let list = |kind| DataType::List(Arc::new(Field::new("item", kind, true)));
        assert_eq!(of(&["[]", "[1,2]"]), list(DataType::Int64));
        assert_eq!(of(&["[1,\"a\"]"]), list(DataType::Utf8));
        assert_eq!(of(&["[]"]), list(DataType::Utf8));
        let x = Field::new("x", DataType::Int64, true);
        let y = Field::new("y", DataType::Utf8, true);
        assert_eq!(of(&["{\"x\":1}", "{\"y\":null}"]), DataType::Struct(vec![x, y].into()));
    }
}
