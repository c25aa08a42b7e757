//! The tables and functions that one statement names, looked up once: to resolve its names, and for
//! its plan. Called by [`planning`](crate::statement::planning).
//!
//! This replaces `SessionState::statement_to_plan` of DataFusion 55.2, which accepts no tables of
//! ours and does not return those that it found.

use std::collections::HashMap;
use std::sync::Arc;

use bigslice_planner::{headers, parse, resolve as resolve_names, rewrite};
use datafusion::arrow::datatypes::{DataType, SchemaRef, TimeUnit};
use datafusion::catalog::{TableFunctionArgs, TableProvider};
use datafusion::common::file_options::file_type::FileType;
use datafusion::common::{
    DFSchema, ResolvedTableReference, TableReference, plan_datafusion_err, plan_err,
};
use datafusion::config::ConfigOptions;
use datafusion::datasource::cte_worktable::CteWorkTable;
use datafusion::datasource::file_format::format_as_file_type;
use datafusion::datasource::{ViewTable, provider_as_source};
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::session_state::SessionState;
use datafusion::logical_expr::planner::{ContextProvider, ExprPlanner, RelationPlanner};
use datafusion::logical_expr::simplify::SimplifyContext;
use datafusion::logical_expr::var_provider::{VarType, is_system_variables};
use datafusion::logical_expr::{
    AggregateUDF, DdlStatement, Expr, HigherOrderUDF, LogicalPlan, ScalarUDF, TableSource,
    Volatility, WindowUDF,
};
use datafusion::optimizer::simplify_expressions::ExprSimplifier;
use datafusion::sql::parser::Statement;
use datafusion::sql::planner::{ParserOptions, SqlToRel, object_name_to_table_reference};
use datafusion::sql::sqlparser::ast::{ObjectName, Statement as Sql};
use datafusion::sql::sqlparser::dialect::dialect_from_str;

use crate::statement::written::Written;

/// See the [module](self).
pub(crate) struct Lookup<'a> {
    state: &'a SessionState,
    tables: HashMap<ResolvedTableReference, Arc<dyn TableSource>>,
    /// Settings that replace those of the session, for statements that declare columns.
    settings: Option<ConfigOptions>,
}

/// The settings for a statement that declares columns. If the session has no time zone, DataFusion
/// 55.2 turns TIMESTAMP WITH TIME ZONE into a timestamp without one; it should be in UTC, as it is
/// for a cast.
fn of_declarations(state: &SessionState, statement: &Statement) -> Option<ConfigOptions> {
    let declares = match statement {
        Statement::CreateExternalTable(_) => true,
        Statement::Statement(statement) => matches!(**statement, Sql::CreateTable(_)),
        _ => false,
    };
    let options = state.config_options();
    (declares && options.execution.time_zone.is_none()).then(|| {
        let mut options = options.as_ref().clone();
        options.execution.time_zone = Some("UTC".to_owned());
        options
    })
}

/// True if the plan of the statement runs once, right after it was made. The plan of a view or of a
/// prepared statement is kept, and has to list its files whenever it runs.
fn runs_once(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(statement) => {
            !matches!(**statement, Sql::CreateView(_) | Sql::Prepare { .. })
        }
        _ => true,
    }
}

/// A timestamp with nanoseconds, which `generate_series` of DataFusion 55.2 requires.
fn in_nanos(arg: Expr) -> Result<Expr> {
    match arg {
        Expr::Literal(value, metadata) => {
            let value = match value.data_type() {
                DataType::Timestamp(_, zone) => {
                    value.cast_to(&DataType::Timestamp(TimeUnit::Nanosecond, zone))?
                }
                _ => value,
            };
            Ok(Expr::Literal(value, metadata))
        }
        other => Ok(other),
    }
}

impl<'a> Lookup<'a> {
    /// Looks up the tables that `statement` names.
    pub(crate) async fn of(state: &'a SessionState, statement: &Statement) -> Result<Self> {
        Self::within(state, statement, &[], runs_once(statement)).await
    }

    /// The same for the definition of the last of `views`, each of which is read by the one before
    /// it.
    async fn within(
        state: &'a SessionState,
        statement: &Statement,
        views: &[ResolvedTableReference],
        once: bool,
    ) -> Result<Self> {
        let mut tables = HashMap::new();
        for reference in state.resolve_table_references(statement)? {
            let resolved = resolve(state, reference);
            if tables.contains_key(&resolved) {
                continue;
            }
            if let Some(source) = look_up(state, &resolved, views, once).await? {
                tables.insert(resolved, source);
            }
        }
        Ok(Self { state, tables, settings: of_declarations(state, statement) })
    }

    /// Adds a table for this statement only.
    pub(crate) fn add(&mut self, name: &str, table: Arc<dyn TableProvider>) {
        let name = resolve(self.state, TableReference::bare(name));
        self.tables.insert(name, provider_as_source(table));
    }

    /// The plan of `statement`, whose tables are all looked up.
    pub(crate) fn plan(&self, statement: Statement) -> Result<LogicalPlan> {
        let options = &self.state.config().options().sql_parser;
        let options = ParserOptions {
            parse_float_as_decimal: options.parse_float_as_decimal,
            enable_ident_normalization: options.enable_ident_normalization,
            enable_options_value_normalization: options.enable_options_value_normalization,
            support_varchar_with_length: options.support_varchar_with_length,
            map_string_types_to_utf8view: options.map_string_types_to_utf8view,
            collect_spans: options.collect_spans,
            default_null_ordering: options.default_null_ordering.as_str().into(),
        };
        SqlToRel::new_with_options(self, options).statement_to_plan(statement)
    }
}

fn resolve(state: &SessionState, reference: TableReference) -> ResolvedTableReference {
    let catalog = &state.config_options().catalog;
    reference.resolve(&catalog.default_catalog, &catalog.default_schema)
}

/// The table of this name, or else the only one whose name differs only in capital letters.
async fn look_up(
    state: &SessionState,
    table: &ResolvedTableReference,
    views: &[ResolvedTableReference],
    once: bool,
) -> Result<Option<Arc<dyn TableSource>>> {
    let Ok(schema) = state.schema_for_ref(table.clone()) else { return Ok(None) };
    let mut found = schema.table(&table.table).await?;
    if found.is_none() {
        let names = schema.table_names();
        let mut alike = names.iter().filter(|name| name.to_lowercase() == *table.table);
        let (Some(name), None) = (alike.next(), alike.next()) else { return Ok(None) };
        found = schema.table(name).await?;
    }
    let Some(found) = found else { return Ok(None) };
    if let Some(view) = found.downcast_ref::<ViewTable>()
        && let Some(definition) = view.definition()
    {
        // Boxed, because views can read views.
        let view = Box::pin(planned_view(state, table, definition, (views, once))).await?;
        return Ok(Some(provider_as_source(Arc::new(view))));
    }
    let found = match once {
        true => bigslice_files::read_as_listed(&table.table, found),
        false => found,
    };
    Ok(Some(provider_as_source(found)))
}

/// The view, planned with the tables that exist now. DataFusion 55.2 keeps the plan from when the
/// view was created, and reads tables that were dropped or replaced since.
async fn planned_view(
    state: &SessionState,
    name: &ResolvedTableReference,
    definition: &str,
    (views, once): (&[ResolvedTableReference], bool),
) -> Result<ViewTable> {
    if views.contains(name) {
        return plan_err!("the view \"{}\" reads itself", name.table);
    }
    let views: Vec<_> = views.iter().chain([name]).cloned().collect();
    let planned = async {
        let options = &state.config().options().sql_parser;
        let dialect = dialect_from_str(options.dialect)
            .ok_or_else(|| plan_datafusion_err!("there is no dialect \"{}\"", options.dialect))?;
        let statement = parse(definition, dialect, options.recursion_limit.get())?;
        let headers = headers(&statement);
        let written = Written { text: definition.to_owned(), headers: &headers };
        let external = |e: bigslice_planner::Error| DataFusionError::External(e.into());
        let mut statement = rewrite(statement).map_err(external)?;
        let tables = Lookup::within(state, &statement, &views, once).await?;
        resolve_names(&mut statement, &tables).map_err(external)?;
        written.stored(tables.plan(statement)?)
    };
    let reads = || format!("the view \"{}\" can no longer be read", name.table);
    match planned.await.map_err(|e| e.context(reads()))? {
        LogicalPlan::Ddl(DdlStatement::CreateView(view)) => {
            Ok(ViewTable::new(Arc::unwrap_or_clone(view.input), view.definition))
        }
        _ => plan_err!(
            "the definition of the view \"{}\" is not a CREATE VIEW statement",
            name.table
        ),
    }
}

impl bigslice_planner::Catalog for Lookup<'_> {
    fn columns(&self, table: &ObjectName) -> Option<Vec<String>> {
        let reference = object_name_to_table_reference(table.clone(), self.folds_names()).ok()?;
        let table = self.tables.get(&resolve(self.state, reference))?;
        Some(table.schema().fields().iter().map(|field| field.name().clone()).collect())
    }

    fn is_scalar(&self, function: &str) -> bool {
        let state = self.state;
        state.scalar_functions().contains_key(function)
            && !state.aggregate_functions().contains_key(function)
            && !state.window_functions().contains_key(function)
    }

    fn is_volatile(&self, function: &str) -> bool {
        let function = self.state.scalar_functions().get(function);
        function.is_some_and(|function| function.signature().volatility == Volatility::Volatile)
    }

    fn folds_names(&self) -> bool {
        self.state.config_options().sql_parser.enable_ident_normalization
    }
}

impl ContextProvider for Lookup<'_> {
    fn get_table_source(&self, name: TableReference) -> Result<Arc<dyn TableSource>> {
        let name = resolve(self.state, name);
        let table = self.tables.get(&name).cloned();
        table.ok_or_else(|| plan_datafusion_err!("table '{name}' not found"))
    }

    fn get_file_type(&self, extension: &str) -> Result<Arc<dyn FileType>> {
        let format = self.state.get_file_format_factory(&extension.to_lowercase());
        format.map(format_as_file_type).ok_or_else(|| {
            plan_datafusion_err!("there is no file format with the extension \"{extension}\"")
        })
    }

    fn get_table_function_source(
        &self,
        name: &str,
        args: Vec<Expr>,
    ) -> Result<Arc<dyn TableSource>> {
        let function = self.state.table_functions().get(name);
        let function = function
            .ok_or_else(|| plan_datafusion_err!("there is no table function \"{name}\""))?;
        let context = SimplifyContext::builder()
            .with_config_options(Arc::clone(self.state.config_options()))
            .with_query_execution_start_time(
                self.state.execution_props().query_execution_start_time,
            )
            .build();
        let simplifier = ExprSimplifier::new(context);
        let schema = DFSchema::empty();
        let simplified = |arg| {
            let coerced = simplifier.coerce(arg, &schema)?;
            simplifier.simplify(coerced)
        };
        let args = args.into_iter().map(simplified).collect::<Result<Vec<_>, DataFusionError>>()?;
        let args = args.into_iter().map(in_nanos).collect::<Result<Vec<_>>>()?;
        let args = TableFunctionArgs::new(&args, self.state);
        Ok(provider_as_source(function.create_table_provider_with_args(args)?))
    }

    fn create_cte_work_table(&self, name: &str, schema: SchemaRef) -> Result<Arc<dyn TableSource>> {
        Ok(provider_as_source(Arc::new(CteWorkTable::new(name, schema))))
    }

    fn get_expr_planners(&self) -> &[Arc<dyn ExprPlanner>] {
        self.state.expr_planners()
    }

    fn get_relation_planners(&self) -> &[Arc<dyn RelationPlanner>] {
        self.state.relation_planners()
    }

    fn get_function_meta(&self, name: &str) -> Option<Arc<ScalarUDF>> {
        self.state.scalar_functions().get(name).cloned()
    }

    fn get_higher_order_meta(&self, name: &str) -> Option<Arc<HigherOrderUDF>> {
        self.state.higher_order_functions().get(name).cloned()
    }

    fn get_aggregate_meta(&self, name: &str) -> Option<Arc<AggregateUDF>> {
        self.state.aggregate_functions().get(name).cloned()
    }

    fn get_window_meta(&self, name: &str) -> Option<Arc<WindowUDF>> {
        self.state.window_functions().get(name).cloned()
    }

    fn get_variable_type(&self, names: &[String]) -> Option<DataType> {
        if names.is_empty() {
            return None;
        }
        let kind = match is_system_variables(names) {
            true => VarType::System,
            false => VarType::UserDefined,
        };
        let providers = self.state.execution_props().var_providers.as_ref()?;
        providers.get(&kind)?.get_type(names)
    }

    fn options(&self) -> &ConfigOptions {
        self.settings.as_ref().unwrap_or_else(|| self.state.config_options())
    }

    fn udf_names(&self) -> Vec<String> {
        self.state.scalar_functions().keys().cloned().collect()
    }

    fn higher_order_function_names(&self) -> Vec<String> {
        self.state.higher_order_functions().keys().cloned().collect()
    }

    fn udaf_names(&self) -> Vec<String> {
        self.state.aggregate_functions().keys().cloned().collect()
    }

    fn udwf_names(&self) -> Vec<String> {
        self.state.window_functions().keys().cloned().collect()
    }
}
