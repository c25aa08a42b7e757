//! Pushes a domain down through a plan until nothing in the plan refers to it.
//!
//! The result has the columns of the plan, in their order and under their names, followed by the
//! columns of the domain. It has the plan's rows for each value of the domain. If an inner
//! expression has replaced the domain, it may also have rows for other values, which the join to
//! the outer plan removes.

use std::sync::Arc;

use datafusion::common::{Column, DFSchema, Result, not_impl_err};
use datafusion::logical_expr::utils::split_conjunction_owned;
use datafusion::logical_expr::{
    BinaryExpr, Distinct, DistinctOn, Expr, Filter, LogicalPlan, Operator, Projection, Sort,
    SubqueryAlias, Union, Unnest, Values, Window,
};

use super::domain::{Domain, Key, type_of};
use super::shape::{all, cross, filter, is_row_by_row, named, project, substituted};
use super::{Unnester, scope};

/// A plan followed by the columns of a domain.
#[derive(Debug)]
pub(super) struct Decorrelated {
    pub(super) plan: LogicalPlan,
    /// The plan's column for each column of the domain.
    pub(super) keys: Vec<Key>,
}

impl Decorrelated {
    pub(super) fn key_columns(&self) -> Vec<Column> {
        self.keys.iter().map(|key| key.column.clone()).collect()
    }
}

/// For each column of a domain, an expression over the plan's columns that equals it in all rows
/// that a filter above will keep.
pub(super) type Hints = Vec<Option<Expr>>;

impl Unnester {
    /// Pushes `domain` down through `plan`; see the [module](self).
    pub(super) fn push_down(
        &self,
        plan: &LogicalPlan,
        domain: &Domain,
        hints: Hints,
    ) -> Result<Decorrelated> {
        if !domain.is_used_by(plan)? {
            return self.leaf(plan, domain, hints);
        }
        match plan {
            LogicalPlan::Projection(projection) => {
                self.push_down_projection(projection, domain, hints)
            }
            LogicalPlan::Filter(filter) => self.push_down_filter(filter, domain, hints),
            LogicalPlan::SubqueryAlias(alias) => self.push_down_alias(alias, domain, hints),
            LogicalPlan::Subquery(subquery) => self.push_down(&subquery.subquery, domain, hints),
            LogicalPlan::Join(join) => self.push_down_join(join, domain, &hints),
            LogicalPlan::Aggregate(aggregate) => self.push_down_aggregate(aggregate, domain),
            LogicalPlan::Distinct(distinct) => self.push_down_distinct(distinct, domain, hints),
            LogicalPlan::Sort(sort) => self.push_down_sort(sort, domain, hints),
            LogicalPlan::Limit(limit) => self.push_down_limit(limit, domain),
            LogicalPlan::Union(union) => self.push_down_union(union, domain),
            LogicalPlan::Window(window) => self.push_down_window(window, domain),
            LogicalPlan::Unnest(unnest) => self.push_down_unnest(unnest, domain),
            LogicalPlan::Values(values) => self.push_down_values(values, domain),
            LogicalPlan::RecursiveQuery(_) => not_impl_err!(
                "a recursive query that refers to columns of an outer query: put the values it needs \
                 into the recursive query"
            ),
            other => {
                not_impl_err!("{} with references to columns of an outer query", other.display())
            }
        }
    }

    /// No hints for a domain.
    pub(super) fn no_hints(domain: &Domain) -> Hints {
        vec![None; domain.len()]
    }

    /// A plan without references to the domain: each of its rows is paired with each value.
    fn leaf(&self, plan: &LogicalPlan, domain: &Domain, hints: Hints) -> Result<Decorrelated> {
        if let Some(hints) = hints.into_iter().collect::<Option<Vec<Expr>>>() {
            return self.replaced(plan, domain, hints);
        }
        let (values, keys) = domain.instance(self)?;
        if let LogicalPlan::EmptyRelation(empty) = plan
            && empty.produce_one_row
            && empty.schema.fields().is_empty()
        {
            return Ok(Decorrelated { plan: values, keys });
        }
        Ok(Decorrelated { plan: cross(plan.clone(), values)?, keys })
    }

    /// A plan in which inner expressions replace the domain.
    fn replaced(
        &self,
        plan: &LogicalPlan,
        domain: &Domain,
        hints: Vec<Expr>,
    ) -> Result<Decorrelated> {
        debug_assert_eq!(hints.len(), domain.len());
        let mut exprs = all(plan.schema());
        let mut keys = Vec::with_capacity(hints.len());
        for hint in &hints {
            let name = self.fresh();
            exprs.push(hint.clone().alias(&name));
            keys.push(Key {
                column: Column::new_unqualified(name),
                data_type: type_of(hint, plan)?,
                without_nulls: true,
            });
        }
        // Null equals nothing.
        let known = filter(hints.into_iter().map(Expr::is_not_null).collect(), plan.clone())?;
        Ok(Decorrelated { plan: project(exprs, known)?, keys })
    }

    fn push_down_projection(
        &self,
        projection: &Projection,
        domain: &Domain,
        hints: Hints,
    ) -> Result<Decorrelated> {
        let below = if is_row_by_row(projection) {
            moved(hints, &projection.schema, &projection.expr)?
        } else {
            Self::no_hints(domain)
        };
        let input = self.push_down(&projection.input, domain, below)?;
        let bound = projection.expr.iter().map(|expr| domain.bind(expr.clone(), &input.keys));
        let exprs = bound.collect::<Result<Vec<Expr>>>()?;
        let plan = projected(input.plan, exprs, projection, &input.keys)?;
        Ok(Decorrelated { plan, keys: input.keys })
    }

    fn push_down_filter(
        &self,
        node: &Filter,
        domain: &Domain,
        hints: Hints,
    ) -> Result<Decorrelated> {
        let conjuncts = split_conjunction_owned(node.predicate.clone());
        let mut below = hints;
        let mut rest = Vec::new();
        let mut said = Vec::new();
        for conjunct in conjuncts {
            match self.equality(&conjunct, &node.input, domain)? {
                Some((index, expr)) if below[index].is_none() => {
                    below[index] = Some(expr);
                    said.push(conjunct);
                }
                _ => rest.push(conjunct),
            }
        }
        let input = self.push_down(&node.input, domain, below.clone())?;
        let is_replaced = !domain.is_used_by(&node.input)? && below.iter().all(Option::is_some);
        if !is_replaced {
            rest.extend(said);
        }
        let bound = rest.into_iter().map(|expr| domain.bind(expr, &input.keys));
        let plan = filter(bound.collect::<Result<Vec<Expr>>>()?, input.plan)?;
        Ok(Decorrelated { plan, keys: input.keys })
    }

    /// The domain column that the conjunct equates with an expression over `input`, and the
    /// expression.
    fn equality(
        &self,
        conjunct: &Expr,
        input: &LogicalPlan,
        domain: &Domain,
    ) -> Result<Option<(usize, Expr)>> {
        let Expr::BinaryExpr(BinaryExpr { left, op: Operator::Eq, right }) = conjunct else {
            return Ok(None);
        };
        for (reference, expr) in [(left, right), (right, left)] {
            let Some(index) = domain.reference(reference) else { continue };
            let is_inner = scope::outer_columns_of(expr)?.is_empty()
                && !expr.is_volatile()
                && !scope::contains_subquery(expr)?;
            let once = !domain.is_used_by(input)?;
            if is_inner && domain.may_be_replaced(index, &type_of(expr, input)?, once) {
                return Ok(Some((index, expr.as_ref().clone())));
            }
        }
        Ok(None)
    }

    fn push_down_alias(
        &self,
        alias: &SubqueryAlias,
        domain: &Domain,
        hints: Hints,
    ) -> Result<Decorrelated> {
        let below = moved(hints, &alias.schema, &all(alias.input.schema()))?;
        let input = self.push_down(&alias.input, domain, below)?;
        let keys = input.keys.into_iter().map(|key| Key {
            column: Column::new(Some(alias.alias.clone()), key.column.name),
            ..key
        });
        let keys = keys.collect();
        let plan = SubqueryAlias::try_new(Arc::new(input.plan), alias.alias.clone())?;
        Ok(Decorrelated { plan: LogicalPlan::SubqueryAlias(plan), keys })
    }

    fn push_down_distinct(
        &self,
        distinct: &Distinct,
        domain: &Domain,
        hints: Hints,
    ) -> Result<Decorrelated> {
        match distinct {
            Distinct::All(input) => {
                let input = self.push_down(input, domain, hints)?;
                let plan = LogicalPlan::Distinct(Distinct::All(Arc::new(input.plan)));
                Ok(Decorrelated { plan, keys: input.keys })
            }
            Distinct::On(distinct) => self.push_down_distinct_on(distinct, domain),
        }
    }

    fn push_down_distinct_on(
        &self,
        distinct: &DistinctOn,
        domain: &Domain,
    ) -> Result<Decorrelated> {
        let input = self.push_down(&distinct.input, domain, Self::no_hints(domain))?;
        let bind = |exprs: &[Expr]| -> Result<Vec<Expr>> {
            exprs.iter().map(|expr| domain.bind(expr.clone(), &input.keys)).collect()
        };
        let keys = || input.keys.iter().map(|key| Expr::Column(key.column.clone()));
        let on = keys().chain(bind(&distinct.on_expr)?).collect();
        let names =
            distinct.schema.iter().map(|(relation, field)| (relation.cloned(), field.name()));
        let select = bind(&distinct.select_expr)?.into_iter().zip(names);
        let select =
            select.map(|(expr, (relation, name))| expr.unalias().alias_qualified(relation, name));
        let select = select.chain(keys()).collect();
        let sort = match &distinct.sort_expr {
            None => None,
            Some(sort) => {
                let mut sorted: Vec<_> = keys().map(|key| key.sort(true, false)).collect();
                for by in sort {
                    sorted.push(by.with_expr(domain.bind(by.expr.clone(), &input.keys)?));
                }
                Some(sorted)
            }
        };
        let plan = DistinctOn::try_new(on, select, sort, Arc::new(input.plan.clone()))?;
        Ok(Decorrelated { plan: LogicalPlan::Distinct(Distinct::On(plan)), keys: input.keys })
    }

    /// The order of a subquery's rows only matters to a limit above, which looks for it.
    fn push_down_sort(&self, sort: &Sort, domain: &Domain, hints: Hints) -> Result<Decorrelated> {
        match sort.fetch {
            None => self.push_down(&sort.input, domain, hints),
            Some(fetch) => self.first_rows(&sort.input, &sort.expr, None, Some(fetch), domain),
        }
    }

    fn push_down_union(&self, union: &Union, domain: &Domain) -> Result<Decorrelated> {
        let names: Vec<String> = (0..domain.len()).map(|_| self.fresh()).collect();
        let mut inputs = Vec::with_capacity(union.inputs.len());
        let mut without_nulls = vec![true; domain.len()];
        let mut keys = Vec::new();
        for input in &union.inputs {
            let decorrelated = self.push_down(input, domain, Self::no_hints(domain))?;
            let mut exprs = all(input.schema());
            for ((key, name), none) in decorrelated.keys.iter().zip(&names).zip(&mut without_nulls)
            {
                exprs.push(Expr::Column(key.column.clone()).alias(name));
                *none &= key.without_nulls;
            }
            inputs.push(Arc::new(project(exprs, decorrelated.plan)?));
            keys = decorrelated.keys;
        }
        let plan = LogicalPlan::Union(Union::try_new_with_loose_types(inputs)?);
        let columns = plan.schema().columns();
        let (own, added) = columns.split_at(union.schema.fields().len());
        for ((key, column), without_nulls) in keys.iter_mut().zip(added).zip(without_nulls) {
            key.column = column.clone();
            key.without_nulls = without_nulls;
        }
        let own = own.iter().cloned().map(Expr::Column).collect();
        let plan = named(plan, own, &union.schema, added)?;
        Ok(Decorrelated { plan, keys })
    }

    fn push_down_window(&self, window: &Window, domain: &Domain) -> Result<Decorrelated> {
        let input = self.push_down(&window.input, domain, Self::no_hints(domain))?;
        let parts: Vec<Expr> =
            input.keys.iter().map(|key| Expr::Column(key.column.clone())).collect();
        let mut exprs = Vec::with_capacity(window.window_expr.len());
        for expr in &window.window_expr {
            let bound = domain.bind(expr.clone().unalias(), &input.keys)?;
            let Expr::WindowFunction(mut function) = bound else {
                return not_impl_err!(
                    "the window expression {expr} in a correlated subquery is not supported"
                );
            };
            function.params.partition_by.extend(parts.iter().cloned());
            exprs.push(Expr::WindowFunction(function));
        }
        let n_input = window.input.schema().fields().len();
        let n_pulled = input.plan.schema().fields().len();
        let key_columns = input.key_columns();
        let plan = LogicalPlan::Window(Window::try_new(exprs, Arc::new(input.plan))?);
        let columns = plan.schema().columns();
        let own = columns[..n_input].iter().chain(&columns[n_pulled..]).cloned().map(Expr::Column);
        let plan = named(plan.clone(), own.collect(), &window.schema, &key_columns)?;
        Ok(Decorrelated { plan, keys: input.keys })
    }

    fn push_down_unnest(&self, unnest: &Unnest, domain: &Domain) -> Result<Decorrelated> {
        let input = self.push_down(&unnest.input, domain, Self::no_hints(domain))?;
        let plan = Unnest::try_new(
            Arc::new(input.plan),
            unnest.exec_columns.clone(),
            unnest.options.clone(),
        )?;
        Ok(Decorrelated { plan: LogicalPlan::Unnest(plan), keys: input.keys })
    }

    /// Each row of the values is a projection of the domain.
    fn push_down_values(&self, values: &Values, domain: &Domain) -> Result<Decorrelated> {
        let mut rows = Vec::with_capacity(values.values.len());
        let (plan, keys) = domain.instance(self)?;
        let key_columns: Vec<Column> = keys.iter().map(|key| key.column.clone()).collect();
        for row in &values.values {
            let bound = row.iter().map(|expr| domain.bind(expr.clone(), &keys));
            let exprs = bound.collect::<Result<Vec<Expr>>>()?;
            rows.push(Arc::new(named(plan.clone(), exprs, &values.schema, &key_columns)?));
        }
        let plan = match rows.len() {
            1 => Arc::unwrap_or_clone(rows.swap_remove(0)),
            _ => LogicalPlan::Union(Union::try_new_with_loose_types(rows)?),
        };
        Ok(Decorrelated { plan, keys })
    }
}

/// The projection's expressions under their names, and the keys.
fn projected(
    input: LogicalPlan,
    exprs: Vec<Expr>,
    old: &Projection,
    keys: &[Key],
) -> Result<LogicalPlan> {
    let mut all = Vec::with_capacity(exprs.len() + keys.len());
    for (expr, (relation, field)) in exprs.into_iter().zip(old.schema.iter()) {
        let (new_relation, new_name) = expr.qualified_name();
        if new_relation.as_ref() == relation && new_name == *field.name() {
            all.push(expr);
        } else {
            all.push(expr.unalias().alias_qualified(relation.cloned(), field.name()));
        }
    }
    all.extend(keys.iter().map(|key| Expr::Column(key.column.clone())));
    project(all, input)
}

/// The hints over the input of an operator whose columns are `exprs`.
fn moved(hints: Hints, schema: &DFSchema, exprs: &[Expr]) -> Result<Hints> {
    hints
        .into_iter()
        .map(|hint| match hint {
            Some(hint) => substituted(hint, schema, exprs),
            None => Ok(None),
        })
        .collect()
}
