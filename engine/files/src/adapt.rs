//! How what is asked of a table becomes what is asked of one of its files, whose columns may be of
//! other types, in another order, or not there: by their names, always.
//!
//! DataFusion's adapter does most of it. Ours, around it, does two things more. A field of a record
//! ([`GetField`]) becomes DataFusion's own `get_field` where the file shows that nothing can hide
//! below a null record: that one is pushed into the reader, which then reads the field alone. And
//! long integers that the table has as floats are looked at, so that none is rounded.

use std::collections::HashMap;
use std::sync::Arc;

use bigslice_functions::{GetField, exact_float, opaque_cast, parquet_interval, uuid_text};
use datafusion::arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::datasource::physical_plan::{FileSource, ParquetSource};
use datafusion::error::Result;
use datafusion::functions::core::get_field;
use datafusion::logical_expr::ScalarUDF;
use datafusion::physical_expr::expressions::{Column, Literal, lit};
use datafusion::physical_expr::{PhysicalExpr, ScalarFunctionExpr};
use datafusion::physical_expr_adapter::{
    DefaultPhysicalExprAdapterFactory, PhysicalExprAdapter, PhysicalExprAdapterFactory,
};

type Expr = Arc<dyn PhysicalExpr>;

/// Makes the adapter of each file.
#[derive(Debug)]
pub(crate) struct Adapters;

impl PhysicalExprAdapterFactory for Adapters {
    fn create(&self, table: SchemaRef, file: SchemaRef) -> Result<Arc<dyn PhysicalExprAdapter>> {
        let mut made: HashMap<String, Arc<ScalarUDF>> = HashMap::new();
        let mut names: HashMap<String, String> = HashMap::new();
        let places = columns_of(&file, &table);
        let left = table.fields().iter().zip(places).map(|(field, place)| {
            let Some(of_file) = place.map(|at| file.field(at)) else { return Arc::clone(field) };
            if of_file.name() != field.name() {
                names.insert(field.name().clone(), of_file.name().clone());
            }
            match self::made(of_file.data_type(), field.data_type()) {
                // DataFusion's adapter takes the columns that we make for what the file has.
                Some(function) => {
                    made.insert(of_file.name().clone(), function);
                    Arc::new(of_file.clone())
                }
                None => Arc::new(field.as_ref().clone().with_name(of_file.name())),
            }
        });
        let left: Vec<FieldRef> = left.collect();
        let left = Arc::new(Schema::new_with_metadata(left, table.metadata().clone()));
        let theirs = DefaultPhysicalExprAdapterFactory.create(left, Arc::clone(&file))?;
        Ok(Arc::new(Adapter { theirs, made, names, table, file }))
    }
}

/// For each column of a table its place in a file: the column of its name, or the only one of its
/// name but for capitals that is no other column of the table.
///
/// SQL writes names in small letters: DataFusion 55.2 says of a column `name` that it is not in a
/// file with `Name`, and makes all its values null.
pub(crate) fn columns_of(file: &Schema, table: &Schema) -> Vec<Option<usize>> {
    let names: HashMap<&str, usize> =
        file.fields().iter().enumerate().map(|(at, field)| (field.name().as_str(), at)).collect();
    let place = |field: &FieldRef| {
        let exact = names.get(field.name().as_str()).copied();
        exact.or_else(|| {
            let alike = |other: &FieldRef| {
                other.name().eq_ignore_ascii_case(field.name())
                    && table.index_of(other.name()).is_err()
            };
            let mut found = file.fields().iter().enumerate().filter(|(_, other)| alike(other));
            let only = found.next().map(|(at, _)| at);
            let mine = |other: &&FieldRef| other.name().eq_ignore_ascii_case(field.name());
            let one = table.fields().iter().filter(mine).count() == 1;
            only.filter(|_| found.next().is_none() && one)
        })
    };
    table.fields().iter().map(place).collect()
}

/// What makes a value of a table's column from the value that a file has, where DataFusion's casts
/// do not, or not as they should.
fn made(file: &DataType, table: &DataType) -> Option<Arc<ScalarUDF>> {
    match (file, table) {
        (DataType::Int64 | DataType::UInt64, DataType::Float64) => Some(exact_float()),
        (DataType::FixedSizeBinary(12), DataType::Interval(_)) => Some(parquet_interval()),
        (DataType::FixedSizeBinary(16), DataType::Utf8View) => Some(uuid_text()),
        (decimal, DataType::Float64) if decimal.is_decimal() => Some(opaque_cast(table.clone())),
        (DataType::Timestamp(unit, _), DataType::Timestamp(other, _)) if unit != other => {
            Some(opaque_cast(table.clone()))
        }
        _ => None,
    }
}

#[derive(Debug)]
struct Adapter {
    theirs: Arc<dyn PhysicalExprAdapter>,
    /// By the names of the file.
    made: HashMap<String, Arc<ScalarUDF>>,
    /// What the file calls columns that the table calls otherwise.
    names: HashMap<String, String>,
    table: SchemaRef,
    file: SchemaRef,
}

impl PhysicalExprAdapter for Adapter {
    fn rewrite(&self, expr: Expr) -> Result<Expr> {
        let expr = match self.names.is_empty() {
            true => expr,
            false => expr.transform_up(|expr| Ok(self.renamed(expr)))?.data,
        };
        let expr = expr.transform_up(|expr| Ok(self.field_alone(expr)))?.data;
        let expr = self.theirs.rewrite(expr)?;
        if self.made.is_empty() {
            return Ok(expr);
        }
        Ok(expr.transform_up(|expr| self.make(expr))?.data)
    }
}

impl Adapter {
    /// A column by the name that the file has for it.
    fn renamed(&self, expr: Expr) -> Transformed<Expr> {
        let column = expr.downcast_ref::<Column>();
        match column.and_then(|column| Some((self.names.get(column.name())?, column.index()))) {
            Some((name, at)) => Transformed::yes(Arc::new(Column::new(name, at))),
            None => Transformed::no(expr),
        }
    }

    /// DataFusion's `get_field` instead of ours, if both give the same for this file.
    fn field_alone(&self, expr: Expr) -> Transformed<Expr> {
        let Some(call) = ScalarFunctionExpr::try_downcast_func::<GetField>(expr.as_ref()) else {
            return Transformed::no(expr);
        };
        let field = call.args().first().and_then(|base| base.downcast_ref::<Column>());
        let field = field.and_then(|column| self.file.field_with_name(column.name()).ok());
        let keys: Option<Vec<&str>> = call.args().iter().skip(1).map(key).collect();
        let (Some(field), Some(keys)) = (field, keys) else { return Transformed::no(expr) };
        if hides_values(field, &keys) {
            return Transformed::no(expr);
        }
        let Ok(returned) = expr.return_field(&self.table) else { return Transformed::no(expr) };
        let config = Arc::new(call.config_options().clone());
        let args = call.args().to_vec();
        let theirs = ScalarFunctionExpr::new(call.name(), get_field(), args, returned, config);
        Transformed::yes(Arc::new(theirs))
    }

    /// The table's column, made of that of the file.
    fn make(&self, expr: Expr) -> Result<Transformed<Expr>> {
        let column = expr.downcast_ref::<Column>();
        let Some(made) = column.and_then(|column| self.made.get(column.name())) else {
            return Ok(Transformed::no(expr));
        };
        let made =
            ScalarFunctionExpr::try_new(Arc::clone(made), vec![expr], &self.file, Arc::default())?;
        Ok(Transformed::yes(Arc::new(made)))
    }
}

fn key(expr: &Expr) -> Option<&str> {
    expr.downcast_ref::<Literal>().and_then(|literal| literal.value().try_as_str().flatten())
}

/// Whether the field at the end of a path may have values below a null record. A reader of Parquet
/// marks a field that may be null as null below a null record, too.
fn hides_values(field: &Field, keys: &[&str]) -> bool {
    let mut optional = field.is_nullable();
    let mut kind = field.data_type();
    for key in keys {
        let DataType::Struct(fields) = kind else { return true };
        // One that the file does not have is null everywhere.
        let Some(field) = fields.iter().find(|field| field.name() == key) else { return false };
        if optional && !field.is_nullable() {
            return true;
        }
        optional |= field.is_nullable();
        kind = field.data_type();
    }
    false
}

/// A condition that makes DataFusion adapt what is asked to the file: it does so for files of the
/// table's own schema only where there is a condition. None when there is one, or nothing to adapt.
pub(crate) fn asked_to_adapt(source: &ParquetSource) -> Option<Expr> {
    let has_fields = source.projection().is_some_and(|projection| {
        projection.iter().any(|projected| {
            let mut found = false;
            let walked = projected.expr.apply(|expr| {
                let is = ScalarFunctionExpr::try_downcast_func::<GetField>(expr.as_ref()).is_some();
                found |= is;
                Ok(if is { TreeNodeRecursion::Stop } else { TreeNodeRecursion::Continue })
            });
            walked.is_ok() && found
        })
    });
    (has_fields && source.filter().is_none()).then(|| lit(true))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_found_whatever_their_capitals() {
        let schema = |names: &[&str]| {
            let field = |name: &&str| Field::new(*name, DataType::Int64, true);
            Schema::new(names.iter().map(field).collect::<Vec<_>>())
        };
        let places = |file: &[&str], table: &[&str]| columns_of(&schema(file), &schema(table));
        assert_eq!(places(&["Name", "age"], &["age", "name"]), [Some(1), Some(0)]);
        assert_eq!(places(&["Name", "NAME"], &["name"]), [None]);
        assert_eq!(places(&["Name", "name"], &["name"]), [Some(1)]);
        assert_eq!(places(&["Name"], &["Name", "name"]), [Some(0), None]);
        assert_eq!(places(&["NAME"], &["Name", "name"]), [None, None]);
    }

    #[test]
    fn names_of_the_file_are_still_needed() {
        let schema =
            |name: &str| Arc::new(Schema::new(vec![Field::new(name, DataType::Int64, true)]));
        let (table, file) = (schema("name"), schema("Name"));
        let column: Expr = Arc::new(Column::new("name", 0));
        let theirs =
            DefaultPhysicalExprAdapterFactory.create(Arc::clone(&table), Arc::clone(&file));
        let theirs = theirs.unwrap().rewrite(Arc::clone(&column)).unwrap();
        assert!(theirs.is::<Literal>(), "DataFusion finds columns of other capitals now");
        let ours = Adapters.create(table, file).unwrap().rewrite(column).unwrap();
        assert_eq!(ours.downcast_ref::<Column>().unwrap().name(), "Name");
    }

    fn record(name: &str, nullable: bool, fields: Vec<Field>) -> Field {
        Field::new(name, DataType::Struct(fields.into()), nullable)
    }

    #[test]
    fn required_fields_of_optional_records_hide_values() {
        let leaf = |nullable| Field::new("x", DataType::Int64, nullable);
        let nested = |outer, inner, required: bool| {
            record("r", outer, vec![record("in", inner, vec![leaf(!required)])])
        };
        assert!(hides_values(&record("r", true, vec![leaf(false)]), &["x"]));
        assert!(!hides_values(&record("r", true, vec![leaf(true)]), &["x"]));
        assert!(!hides_values(&record("r", false, vec![leaf(false)]), &["x"]));
        assert!(!hides_values(&record("r", true, vec![leaf(false)]), &["y"]));
        assert!(hides_values(&nested(true, false, true), &["in", "x"]));
        assert!(hides_values(&nested(false, true, true), &["in", "x"]));
        assert!(!hides_values(&nested(true, true, false), &["in", "x"]));
        assert!(!hides_values(&nested(false, false, true), &["in", "x"]));
    }
}
