//! Refuses lists, structs and maps as arguments of text functions.
//!
//! DataFusion 55.2 casts such an argument to its printed text: `upper([1])` is `[1]`, `left([12,
//! 3], 2)` is `[1`. The functions `length`, `reverse`, `concat` and `contains` are defined for
//! lists; see the functions crate.

use datafusion::common::config::ConfigOptions;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, Result, plan_err};
use datafusion::logical_expr::{Expr, ExprSchemable, LogicalPlan};
use datafusion::optimizer::AnalyzerRule;

use super::expressions::{rewrite, transform_parts};

/// The analyzer rule; see the [module](self). It runs before types are coerced.
#[derive(Debug)]
pub(super) struct TextCalls;

impl AnalyzerRule for TextCalls {
    fn name(&self) -> &'static str {
        "text_calls"
    }

    fn analyze(&self, plan: LogicalPlan, _config: &ConfigOptions) -> Result<LogicalPlan> {
        rewrite(plan, &|node| Ok(Transformed::no(node)), &|expr, schema| {
            transform_parts(expr, &mut |part| {
                of_texts(&part, schema)?;
                Ok(Transformed::no(part))
            })
        })
    }
}

const OF_TEXTS: [&str; 37] = [
    "ascii",
    "bit_length",
    "btrim",
    "concat_ws",
    "ends_with",
    "find_in_set",
    "initcap",
    "left",
    "levenshtein",
    "lower",
    "lpad",
    "ltrim",
    "md5",
    "octet_length",
    "overlay",
    "regexp_count",
    "regexp_instr",
    "regexp_like",
    "regexp_match",
    "regexp_replace",
    "repeat",
    "replace",
    "right",
    "rpad",
    "rtrim",
    "sha224",
    "sha256",
    "sha384",
    "sha512",
    "split_part",
    "starts_with",
    "strpos",
    "substr",
    "substr_index",
    "to_hex",
    "translate",
    "upper",
];

fn of_texts(expr: &Expr, schema: &DFSchema) -> Result<()> {
    let Expr::ScalarFunction(call) = expr else { return Ok(()) };
    if !OF_TEXTS.contains(&call.func.name()) {
        return Ok(());
    }
    for arg in &call.args {
        if let Ok(kind) = arg.get_type(schema)
            && kind.is_nested()
        {
            return plan_err!(
                "{} takes texts, and {arg} is a {kind}: cast it with CAST(.. AS VARCHAR), or write array_to_string(list, \
                 ', ')",
                call.func.name()
            );
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::SessionContext;

    #[tokio::test]
    async fn refusals_are_still_needed() {
        let sql = "SELECT left(make_array(12, 3), 2) AS x";
        let rows = SessionContext::new().sql(sql).await.expect("planned").collect().await;
        let shown = pretty_format_batches(&rows.expect("ran")).expect("shown").to_string();
        assert!(shown.contains("[1"), "{shown}");
    }
}
