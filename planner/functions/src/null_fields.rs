//! `null_fields(struct)`: the struct with fields that are null where it is, for code that takes
//! structs apart without looking at their null mask.
//!
//! DataFusion 55.2: `unnest(struct)` returns the columns of a struct's fields unchanged, even below
//! null structs.

use std::sync::Arc;

use datafusion::arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StructArray};
use datafusion::arrow::compute::kernels::nullif::nullif;
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Fields};
use datafusion::common::{Result, exec_err, internal_err, plan_err};
use datafusion::logical_expr::{
    ColumnarValue, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature,
    Volatility,
};

/// The function `null_fields`.
pub fn null_fields() -> Arc<ScalarUDF> {
    let signature = Signature::any(1, Volatility::Immutable);
    Arc::new(ScalarUDF::new_from_impl(NullFields { signature }))
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct NullFields {
    signature: Signature,
}

impl ScalarUDFImpl for NullFields {
    fn name(&self) -> &'static str {
        "null_fields"
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _arg_types: &[DataType]) -> Result<DataType> {
        internal_err!("return_field_from_args is called instead")
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.arg_fields {
            [field] => match field.data_type() {
                DataType::Struct(fields) => {
                    let kind = DataType::Struct(optional(fields));
                    Ok(Arc::new(field.as_ref().clone().with_data_type(kind)))
                }
                other => plan_err!("null_fields takes a struct, not {other}"),
            },
            _ => plan_err!("null_fields takes one struct"),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [record] = args.args.as_slice() else {
            return exec_err!("null_fields takes one struct");
        };
        let record = record.to_array(args.number_rows)?;
        let record = record.as_struct();
        let columns = match record.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => record.columns().to_vec(),
            Some(nulls) => {
                let absent = BooleanArray::new(!nulls.inner(), None);
                let columns = record.columns().iter();
                let columns = columns.map(|column| nullif(column.as_ref(), &absent));
                columns.collect::<std::result::Result<Vec<ArrayRef>, _>>()?
            }
        };
        let fields = optional(record.fields());
        let record = StructArray::try_new_with_length(
            fields,
            columns,
            record.nulls().cloned(),
            record.len(),
        )?;
        Ok(ColumnarValue::Array(Arc::new(record)))
    }
}

fn optional(fields: &Fields) -> Fields {
    let optional = |field: &FieldRef| -> Field { field.as_ref().clone().with_nullable(true) };
    fields.iter().map(optional).collect()
}
