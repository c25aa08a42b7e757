//! A slice as a table: the leaf of a logical plan, and of the physical plan made from it. Created
//! by [`verbs`](super::verbs) and [`sql`](super::sql); [`cut`](super::cut) replaces it by the
//! slice.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::{Field, Schema, SchemaRef};
use datafusion::catalog::{Session, TableProvider};
use datafusion::common::{Result, internal_err};
use datafusion::execution::TaskContext;
use datafusion::logical_expr::{Expr, TableProviderFilterPushDown, TableType};
use datafusion::physical_expr::expressions::Column;
use datafusion::physical_expr::{EquivalenceProperties, PhysicalExpr};
use datafusion::physical_plan::projection::ProjectionExec;
use datafusion::physical_plan::{DisplayFormatType, ExecutionPlan};

use crate::leaf_plan::{LeafPlan, LeafSource, Rows};
use crate::pipeline::slice::tree::node::{Node, Op};

/// A slice as a table.
pub(super) struct Leaf {
    node: Arc<Node>,
    schema: SchemaRef,
}

impl Leaf {
    pub(super) fn new(node: Arc<Node>) -> Self {
        let schema = nullable(&node.schema);
        Self { node, schema }
    }
}

/// The columns, all nullable. A type of rows may have no nulls, but that holds only for rows that a
/// closure made, not for those of a file. It is checked where the rows are read as a type.
fn nullable(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| field.as_ref().clone().with_nullable(true));
    Arc::new(Schema::new(fields.collect::<Vec<Field>>()))
}

impl fmt::Debug for Leaf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.node.verb, self.node.place)
    }
}

#[async_trait]
impl TableProvider for Leaf {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.schema)
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    fn supports_filters_pushdown(
        &self,
        filters: &[&Expr],
    ) -> Result<Vec<TableProviderFilterPushDown>> {
        let takes = |filter: &&Expr| match &self.node.op {
            Op::Source(source) if source.takes(filter) => TableProviderFilterPushDown::Exact,
            _ => TableProviderFilterPushDown::Unsupported,
        };
        Ok(filters.iter().map(takes).collect())
    }

    async fn scan(
        &self,
        session: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        _limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let partitions = session.config().target_partitions();
        let all: Vec<usize> = (0..self.schema.fields().len()).collect();
        let columns = projection.unwrap_or(&all);
        // Rows without columns cannot be stored: read one column if only their number counts.
        let read = if columns.is_empty() { &all[..1.min(all.len())] } else { columns.as_slice() };
        if let Op::Source(source) = &self.node.op
            && let Some(pruned) = source.pruned(read, filters)
        {
            let schema = Arc::new(self.node.schema.project(read)?);
            let Node { verb, place, .. } = *self.node;
            let op = Op::Source(pruned);
            let node = Node::new(verb, place, schema, op);
            let scan = scan_of(Arc::new(node), partitions);
            let kept: Vec<usize> = (0..columns.len()).collect();
            return projected(scan, &kept);
        }
        if !filters.is_empty() {
            return internal_err!("a slice was given filters that it does not support");
        }
        projected(scan_of(Arc::clone(&self.node), partitions), columns)
    }
}

/// The columns with these indices, in this order.
fn projected(scan: SliceScan, columns: &[usize]) -> Result<Arc<dyn ExecutionPlan>> {
    let schema = scan.schema();
    let scan: Arc<dyn ExecutionPlan> = Arc::new(scan);
    if columns.iter().copied().eq(0..schema.fields().len()) {
        return Ok(scan);
    }
    let exprs = columns.iter().map(|n| {
        let name = schema.field(*n).name();
        (Arc::new(Column::new(name, *n)) as Arc<dyn PhysicalExpr>, name.clone())
    });
    Ok(Arc::new(ProjectionExec::try_new(exprs.collect::<Vec<_>>(), scan)?))
}

/// All rows of a slice, in several partitions without known properties.
pub(super) type SliceScan = LeafPlan<SliceRows>;

/// The source of a [`SliceScan`].
pub(super) struct SliceRows {
    pub(super) node: Arc<Node>,
}

/// A scan of the slice that ends in `node`.
pub(super) fn scan_of(node: Arc<Node>, partitions: usize) -> SliceScan {
    let known = EquivalenceProperties::new(nullable(&node.schema));
    SliceScan::of(SliceRows { node }, known, partitions)
}

impl fmt::Debug for SliceRows {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SliceRows")
    }
}

impl LeafSource for SliceRows {
    const NAME: &'static str = "SliceScan";

    fn describe(
        &self,
        _schema: &Schema,
        _format: DisplayFormatType,
        f: &mut fmt::Formatter<'_>,
    ) -> fmt::Result {
        write!(f, "SliceScan: {} at {}", self.node.verb, self.node.place)?;
        match &self.node.op {
            Op::Source(source) => match source.describe() {
                Some(text) => write!(f, ", {text}"),
                None => Ok(()),
            },
            _ => Ok(()),
        }
    }

    fn open(&self, _partition: usize, _schema: &SchemaRef, _context: &TaskContext) -> Result<Rows> {
        internal_err!("a slice is computed by tasks")
    }
}
