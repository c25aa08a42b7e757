//! Decimal numbers, which neither Rust nor a small dependency has.

use std::convert::identity;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use arrow::array::ArrayRef;
use arrow::buffer::{NullBuffer, ScalarBuffer};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Decimal128Type};

use super::Value;
use super::mismatch::Mismatch;
use super::numbers::{Numbers, scalars, stored_as};
use super::shared::{self, scalar};

/// A decimal number of `P` digits, `S` of them after the point: the SQL type `decimal(P, S)`.
///
/// ```
/// # extern crate bigslice_rows as bigslice;
/// use bigslice::row::Decimal;
///
/// let price: Decimal<10, 2> = "12.5".parse()?;
/// assert_eq!(price.unscaled(), 1250);
/// assert_eq!(price.to_string(), "12.50");
/// # Ok::<(), bigslice::row::DecimalError>(())
/// ```
#[derive(Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Decimal<const P: u8, const S: i8>(i128);

/// The error for a text or number that a decimal type cannot hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecimalError {
    /// The text is not a decimal number.
    #[error("\"{text}\" is not a decimal number")]
    Malformed {
        /// The text.
        text: String,
    },
    /// The number has more digits after the point than the type keeps.
    #[error("\"{text}\" would lose digits with a scale of {scale}")]
    Inexact {
        /// The text.
        text: String,
        /// The scale of the type.
        scale: i8,
    },
    /// The number has more digits than the type.
    #[error(
        "\"{text}\" has more digits than a precision of {precision} and scale of {scale} allow"
    )]
    TooLarge {
        /// The text.
        text: String,
        /// The precision of the type.
        precision: u8,
        /// The scale of the type.
        scale: i8,
    },
}

impl<const P: u8, const S: i8> Decimal<P, S> {
    /// The first number with too many digits; refers to every check of the parameters.
    const LIMIT: u128 = {
        assert!(P >= 1 && P <= 38, "the precision of a Decimal is 1 to 38");
        assert!(S >= -38 && S as i16 <= P as i16, "the scale of a Decimal is -38 to its precision");
        10u128.pow(P as u32)
    };

    /// The number `unscaled * 10^-S`, if it has no more than `P` digits.
    #[must_use]
    pub const fn from_unscaled(unscaled: i128) -> Option<Self> {
        if unscaled.unsigned_abs() < Self::LIMIT { Some(Self(unscaled)) } else { None }
    }

    /// The number without its point: itself times `10^S`.
    #[must_use]
    pub const fn unscaled(self) -> i128 {
        self.0
    }
}

impl<const P: u8, const S: i8> fmt::Display for Decimal<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.unsigned_abs();
        let places = usize::from(S.unsigned_abs());
        let text = match S {
            ..0 if digits > 0 => format!("{digits}{:0places$}", 0),
            ..=0 => digits.to_string(),
            1.. => {
                let one = 10u128.pow(u32::from(S.unsigned_abs()));
                format!("{}.{:0places$}", digits / one, digits % one)
            }
        };
        f.pad_integral(self.0 >= 0, "", &text)
    }
}

impl<const P: u8, const S: i8> fmt::Debug for Decimal<P, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<const P: u8, const S: i8> FromStr for Decimal<P, S> {
    type Err = DecimalError;

    fn from_str(text: &str) -> Result<Self, DecimalError> {
        let owned = || text.to_owned();
        let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
        let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, ""));
        let mut digits = format!("{whole}{fraction}");
        if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(DecimalError::Malformed { text: owned() });
        }
        // Make it as many digits after the point as the scale says: with zeros, or by cutting
        // zeros off.
        let mut places = i64::try_from(fraction.len()).unwrap_or(i64::MAX);
        while places > i64::from(S) {
            match digits.pop() {
                Some('0') | None => places -= 1,
                Some(_) => return Err(DecimalError::Inexact { text: owned(), scale: S }),
            }
            if digits.is_empty() {
                break;
            }
        }
        let missing = usize::try_from(i64::from(S) - places).unwrap_or_default();
        digits.extend(std::iter::repeat_n('0', missing));

        let digits = digits.trim_start_matches('0');
        let unscaled = if digits.is_empty() { Ok(0) } else { digits.parse::<i128>() };
        let sign = if text.starts_with('-') { -1 } else { 1 };
        unscaled
            .ok()
            .and_then(|unscaled| Self::from_unscaled(sign * unscaled))
            .ok_or_else(|| DecimalError::TooLarge { text: owned(), precision: P, scale: S })
    }
}

impl<const P: u8, const S: i8> Value for Decimal<P, S> {
    scalar!(identity);
    stored_as!(Decimal128Type, Self, Self::unscaled);

    fn data_type() -> DataType {
        const { assert!(Self::LIMIT > 0) };
        DataType::Decimal128(P, S)
    }

    /// Numbers are not checked against the precision, as nowhere in Arrow.
    fn column(array: &ArrayRef, outer: Option<&NullBuffer>) -> Result<Self::Column, Mismatch> {
        scalars::<Decimal128Type>(array, outer, Self::data_type())
    }
}

shared::row!([const P: u8, const S: i8] Decimal<P, S>);
