//! Random clauses beyond joins, filters and groups: USING, LATERAL, VALUES, series, limits within
//! FROM, DISTINCT ON, QUALIFY, recursive WITH, quantified comparisons, and more window functions.

use crate::data::Type;
use crate::grammar::{Column, Grammar, Scope, columns, equality};
use crate::tree::{Kind, Node};

impl Grammar<'_> {
    /// Two tables joined by USING, whose column `k` is that of both.
    pub(crate) fn using(&mut self) -> (Node, Scope) {
        let (left, right) =
            (self.random.pick(self.tables).clone(), self.random.pick(self.tables).clone());
        let (a, b) = (self.name('a'), self.name('a'));
        let kind = *self.random.pick(&["join", "left join", "right join", "full join"]);
        let from = format!("{} {a} {kind} {} {b} using (k)", left.name, right.name);
        let mut scope = vec![Column { sql: "k".to_owned(), of: Type::Int32 }];
        scope.extend(columns(&left, &a));
        scope.extend(columns(&right, &b));
        self.plain = false;
        (Node::leaf(Kind::From, from), scope)
    }

    /// A query in FROM that refers to the relations before it.
    pub(crate) fn lateral(&mut self, from: Node, scope: &Scope) -> (Node, Scope) {
        self.plain = false;
        let alias = self.name('l');
        let (within, inner) = self.relation(1);
        let filter = equality(self.random, &inner, scope);
        let both: Scope = inner.iter().chain(scope).cloned().collect();
        let (items, types) = match self.random.chance(50) {
            true => {
                let argument = self.expression(Type::Int32, &both, 1, 0);
                let name = *self.random.pick(&["min", "max", "sum", "count"]);
                let items = Node::new(Kind::Other)
                    .text("count(*) as o0, ")
                    .text(format!("{name}("))
                    .child(argument)
                    .text(") as o1");
                (items, vec![Type::Int64, Type::Int64])
            }
            false => {
                let of = self.some_type(&inner);
                let item = self.expression(of, &both, 1, 0);
                (Node::new(Kind::Other).child(item).text(" as o0"), vec![of])
            }
        };
        let (join, end) = match self.random.chance(50) {
            true => (" left join lateral (select ", " on true"),
            false => (" cross join lateral (select ", ""),
        };
        let from = Node::new(Kind::From)
            .child(from)
            .text(join)
            .child(items)
            .text(" from ")
            .child(within)
            .text(" where ")
            .child(filter)
            .text(format!(") {alias}{end}"));
        (from, outputs(&alias, &types))
    }

    /// A small relation that is not a table: VALUES or a series.
    pub(crate) fn small(&mut self) -> (Node, Scope) {
        self.plain = false;
        let alias = self.name('a');
        if self.random.chance(40) {
            let end = self.random.below(6);
            let from = Node::leaf(Kind::From, format!("generate_series(1, {end}) as {alias}(o0)"));
            return (from, outputs(&alias, &[Type::Int64]));
        }
        let count = 1 + self.random.below(3);
        let types: Vec<Type> = (0..count)
            .map(|_| *self.random.pick(&[Type::Int32, Type::Text, Type::Date, Type::Float64]))
            .collect();
        let mut rows = Vec::new();
        for _ in 0..=self.random.below(4) {
            let values: Vec<Node> = types.iter().map(|of| self.literal(*of)).collect();
            rows.push(Node::new(Kind::Other).text("(").list(values, ", ", count).text(")"));
        }
        let names: Vec<String> = (0..count).map(|n| format!("o{n}")).collect();
        let from = Node::new(Kind::From)
            .text("(values ")
            .list(rows, ", ", 1)
            .text(format!(") as {alias}({})", names.join(", ")));
        (from, outputs(&alias, &types))
    }

    /// A query with all of its columns as sort keys and a limit, as a relation.
    pub(crate) fn limited(&mut self, depth: usize) -> Option<(Node, Scope)> {
        let (query, types) = self.select(&Scope::new(), depth);
        if types.contains(&Type::List) {
            return None;
        }
        let alias = self.name('a');
        let order = self.sort_keys(types.len());
        let limit = self.random.below(8);
        let offset = match self.random.chance(30) {
            true => format!(" offset {}", self.random.below(4)),
            false => String::new(),
        };
        let inner = self.name('q');
        let from = Node::new(Kind::From)
            .text("(select * from (")
            .child(query)
            .text(format!(") {inner} order by "))
            .list(order, ", ", types.len())
            .text(format!(" limit {limit}{offset}) {alias}"));
        Some((from, outputs(&alias, &types)))
    }

    /// The first row of each key, which is one column of a table.
    pub(crate) fn distinct_on(&mut self) -> (Node, Vec<Type>) {
        self.plain = false;
        let table = self.random.pick(self.tables).clone();
        let alias = self.name('a');
        let scope = columns(&table, &alias);
        let keys: Vec<&Column> = scope.iter().filter(|column| column.of != Type::List).collect();
        let key = (*self.random.pick(&keys)).clone();
        let of = self.some_type(&scope);
        let item = self.expression(of, &scope, 2, 0);
        let inner = self.name('q');
        let direction = *self.random.pick(&["", " desc"]);
        let query = Node::new(Kind::Query)
            .text(format!("select * from (select distinct on ({0}) {0} as o0, ", key.sql))
            .child(item)
            .text(format!(" as o1 from {} {alias}", table.name))
            .child(self.filter(&scope, 0))
            .text(format!(" order by {} nulls first, {alias}.id{direction}) {inner}", key.sql));
        (query, vec![key.of, of])
    }

    /// A query over a recursive one.
    pub(crate) fn recursive(&mut self) -> (Node, Vec<Type>) {
        self.plain = false;
        let (name, alias) = (self.name('r'), self.name('a'));
        let table = self.random.pick(self.tables).clone();
        let scope = columns(&table, &alias);
        let mut both = scope.clone();
        both.push(Column { sql: format!("{name}.n"), of: Type::Int64 });
        let item = self.expression(Type::Int32, &both, 1, 0);
        let steps = 1 + self.random.below(5);
        let all = *self.random.pick(&[" union all ", " union "]);
        let outer = outputs_named(&name, &[("n", Type::Int64), ("m", Type::Int64)]);
        let condition = self.boolean(&outer, 1, 0);
        let query = Node::new(Kind::Other)
            .text(format!(
                "with recursive {name}(n, m) as (select 0::bigint, 1::bigint{all}select "
            ))
            .text(format!("{name}.n + 1, "))
            .child(Node::new(Kind::Other).text("cast(").child(item).text(" % 5 as bigint)"))
            .text(format!(" from {name} join {} {alias} on {alias}.id = {name}.n ", table.name))
            .text(format!("where {name}.n < {steps}) select n as o0, m as o1 from {name}"))
            .child(Node::new(Kind::Other).text(" where ").child(condition).optional());
        (query, vec![Type::Int64, Type::Int64])
    }

    /// A comparison with `ANY` or `ALL` rows of a subquery.
    pub(crate) fn quantified(&mut self, scope: &Scope, queries: usize) -> Node {
        self.plain = false;
        let (from, within) = self.from(&Scope::new(), 1);
        let filter = self.correlated(&within, scope, queries);
        let of = match self.some_type(&within) {
            Type::List | Type::Boolean => Type::Int32,
            other => other,
        };
        let (value, item) = (self.expression(of, scope, 1, 0), self.expression(of, &within, 1, 0));
        let operator = *self.random.pick(&["=", "<>", "<", "<=", ">", ">="]);
        let quantifier = *self.random.pick(&["any", "all"]);
        Node::new(Kind::Boolean)
            .text("(")
            .child(value)
            .text(format!(" {operator} {quantifier} (select "))
            .child(item)
            .text(" from ")
            .child(from)
            .child(filter)
            .text("))")
    }

    /// A window function of several kinds, over rows in the order of `{alias}.id`, and its type.
    pub(crate) fn window(&mut self, scope: &Scope, alias: &str, over: &str) -> (Node, Type) {
        let of = self.some_type(scope);
        let argument = self.expression(of, scope, 1, 0);
        let frame = *self.random.pick(&[
            "",
            " rows between 1 preceding and 1 following",
            " rows between 2 following and unbounded following",
            " range between 1 preceding and 2 following",
            " range between unbounded preceding and current row",
            " groups between 1 preceding and 1 following",
            " rows between unbounded preceding and unbounded following",
        ]);
        match self.random.below(6) {
            0 | 1 => {
                let name = *self.random.pick(&["first_value", "last_value"]);
                let nulls = *self.random.pick(&["", " ignore nulls"]);
                let call = Node::new(of.kind()).text(format!("{name}(")).child(argument);
                (call.text(format!("{nulls}) over ({over}{frame})")), of)
            }
            2 => {
                let call = Node::new(of.kind()).text("nth_value(").child(argument);
                let n = 1 + self.random.below(3);
                (call.text(format!(", {n}) over ({over}{frame})")), of)
            }
            3 => {
                let n = 1 + self.random.below(4);
                (Node::leaf(Kind::Integer, format!("ntile({n}) over ({over})")), Type::Int64)
            }
            4 => {
                let name = *self.random.pick(&["percent_rank", "cume_dist"]);
                let key = self.random.pick(scope).clone();
                let key = if key.of == Type::List { format!("{alias}.id") } else { key.sql };
                let call = format!("{name}() over (order by {key} nulls last)");
                (Node::leaf(Kind::Float, call), Type::Float64)
            }
            _ => {
                let (name, of) = *self.random.pick(&[
                    ("sum", Type::Decimal),
                    ("avg", Type::Int32),
                    ("count", Type::Text),
                    ("min", Type::Date),
                    ("max", Type::Text),
                    ("sum", Type::Float64),
                ]);
                let argument = self.expression(of, scope, 1, 0);
                let condition = self.boolean(scope, 1, 0);
                let filter = Node::new(Kind::Other)
                    .text(" filter (where ")
                    .child(condition)
                    .text(")")
                    .optional();
                let result = match (name, of) {
                    ("avg", _) => Type::Float64,
                    ("count", _) => Type::Int64,
                    (_, of) => of,
                };
                let call = Node::new(result.kind())
                    .text(format!("{name}("))
                    .child(argument)
                    .text(")")
                    .child(filter)
                    .text(format!(" over ({over}{frame})"));
                (call, result)
            }
        }
    }

    /// Sort keys that are all columns of a query with `count` of them.
    pub(crate) fn sort_keys(&mut self, count: usize) -> Vec<Node> {
        let key = |n: usize| {
            let direction = if self.random.chance(50) { " desc" } else { "" };
            let nulls = if self.random.chance(50) { "first" } else { "last" };
            Node::leaf(Kind::Other, format!("{n}{direction} nulls {nulls}"))
        };
        (1..=count).map(key).collect()
    }
}

/// The columns `o0`, `o1`, ... of a relation.
pub(crate) fn outputs(alias: &str, types: &[Type]) -> Scope {
    let column = |(n, of): (usize, &Type)| Column { sql: format!("{alias}.o{n}"), of: *of };
    types.iter().enumerate().map(column).collect()
}

fn outputs_named(alias: &str, of: &[(&str, Type)]) -> Scope {
    let column = |(name, of): &(&str, Type)| Column { sql: format!("{alias}.{name}"), of: *of };
    of.iter().map(column).collect()
}
