//! `like_pattern(pattern, escape)`: converts a pattern of `LIKE ... ESCAPE` to one with the
//! backslash as escape character, the only one that DataFusion 55.2 supports. The planner calls it
//! for patterns that are columns, and converts literal patterns itself.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, StringBuilder};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::DataType;
use datafusion::common::exec_datafusion_err;
use datafusion::error::Result;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDFImpl, Signature, Volatility,
};

/// The function; see the [module](self).
#[derive(Debug, PartialEq, Eq, Hash)]
pub(crate) struct LikePattern {
    signature: Signature,
}

impl LikePattern {
    pub(crate) fn new() -> Self {
        Self { signature: Signature::string(2, Volatility::Immutable) }
    }
}

impl ScalarUDFImpl for LikePattern {
    fn name(&self) -> &'static str {
        "like_pattern"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _args: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let arrays = ColumnarValue::values_to_arrays(&args.args)?;
        let [patterns, escapes] = arrays.as_slice() else {
            return Err(exec_datafusion_err!("like_pattern takes a pattern and a character"));
        };
        let scalar = args.args.iter().all(|arg| matches!(arg, ColumnarValue::Scalar(_)));
        let patterns = cast(patterns, &DataType::Utf8)?;
        let escapes = cast(escapes, &DataType::Utf8)?;
        let (patterns, escapes) = (patterns.as_string::<i32>(), escapes.as_string::<i32>());
        let mut written = StringBuilder::with_capacity(patterns.len(), patterns.values().len());
        let mut buffer = String::new();
        for (pattern, escape) in patterns.iter().zip(escapes) {
            match pattern.zip(escape) {
                None => written.append_null(),
                Some((pattern, escape)) => {
                    buffer.clear();
                    write(pattern, escape.chars().next(), &mut buffer)?;
                    written.append_value(&buffer);
                }
            }
        }
        let array: ArrayRef = Arc::new(written.finish());
        if scalar && array.len() == 1 {
            let value = datafusion::scalar::ScalarValue::try_from_array(&array, 0)?;
            return Ok(ColumnarValue::Scalar(value));
        }
        Ok(ColumnarValue::Array(array))
    }
}

fn write(pattern: &str, escape: Option<char>, to: &mut String) -> Result<()> {
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        if Some(c) == escape {
            let next = chars.next().ok_or_else(|| {
                exec_datafusion_err!(
                    "the pattern '{pattern}' ends with its escape character {c}: a character must follow"
                )
            })?;
            if matches!(next, '%' | '_' | '\\') {
                to.push('\\');
            }
            to.push(next);
        } else {
            if c == '\\' {
                to.push('\\');
            }
            to.push(c);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_written_with_backslashes() {
        for (pattern, escape, expected) in [
            ("100!%%", Some('!'), "100\\%%"),
            ("a!!b\\", Some('!'), "a!b\\\\"),
            ("a\\%", None, "a\\\\%"),
        ] {
            let mut written = String::new();
            write(pattern, escape, &mut written).unwrap();
            assert_eq!(written, expected);
        }
        assert!(write("a!", Some('!'), &mut String::new()).is_err());
    }
}
