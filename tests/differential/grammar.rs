//! Random queries over random tables. Every query has one right answer: a limit only occurs if all
//! columns are sort keys, and order-dependent windows have a total order.

use crate::clauses::outputs;
use crate::data::{Table, Type};
use crate::random::Random;
use crate::tree::{Kind, Node};

/// Maximum nesting of expressions.
const EXPRESSION_DEPTH: usize = 3;

/// Types of the columns of set operations.
const SET_TYPES: [Type; 8] = [
    Type::Int64,
    Type::Int64,
    Type::Int32,
    Type::Text,
    Type::Text,
    Type::Float64,
    Type::Decimal,
    Type::Timestamp,
];

/// Maximum nesting of queries.
const QUERY_DEPTH: usize = 3;

/// A query, and how to compare its rows.
#[derive(Debug, Clone)]
pub(crate) struct Query {
    pub(crate) tree: Node,
    /// Whether it sorts by all of its columns.
    pub(crate) ordered: bool,
    /// Whether it means the same in SQLite.
    pub(crate) plain: bool,
}

/// A column that an expression can refer to.
#[derive(Debug, Clone)]
pub(crate) struct Column {
    pub(crate) sql: String,
    pub(crate) of: Type,
}

pub(crate) type Scope = Vec<Column>;

/// Generates queries over some tables.
pub(crate) struct Grammar<'a> {
    pub(crate) random: &'a mut Random,
    pub(crate) tables: &'a [Table],
    names: usize,
    pub(crate) plain: bool,
}

/// A query over `tables`.
pub(crate) fn query(random: &mut Random, tables: &[Table]) -> Query {
    let mut grammar = Grammar { random, tables, names: 0, plain: true };
    let (tree, ordered) = grammar.statement();
    Query { tree, ordered, plain: grammar.plain }
}

impl Grammar<'_> {
    /// A new name.
    pub(crate) fn name(&mut self, prefix: char) -> String {
        self.names += 1;
        format!("{prefix}{}", self.names)
    }

    fn statement(&mut self) -> (Node, bool) {
        let mut statement = Node::new(Kind::Other);
        if self.random.chance(15) {
            let name = self.name('w');
            let (within, columns) = self.select(&Scope::new(), QUERY_DEPTH - 1);
            statement = statement.child(
                Node::new(Kind::Other).text(format!("with {name} as (")).child(within).text(") "),
            );
            let query = self.over_cte(&name, &columns);
            return (statement.child(query), false);
        }
        if self.random.chance(4) {
            return (self.recursive().0, false);
        }
        let (query, columns) = self.select(&Scope::new(), QUERY_DEPTH);
        let sorts = !columns.contains(&Type::List) && self.random.chance(40);
        if !sorts {
            return (statement.child(query), false);
        }
        let keys = self.sort_keys(columns.len());
        let count = keys.len();
        let mut order = Node::new(Kind::Other).text(" order by ").list(keys, ", ", count);
        if self.random.chance(60) {
            let limit = self.random.below(12);
            let mut cut = Node::new(Kind::Other).text(format!(" limit {limit}")).optional();
            if self.random.chance(40) {
                cut = cut.text(format!(" offset {}", self.random.below(6)));
            }
            order = order.child(cut);
        }
        (statement.child(query).child(order), true)
    }

    /// A query that reads a common table expression once or twice.
    fn over_cte(&mut self, name: &str, columns: &[Type]) -> Node {
        let (a, b) = (self.name('a'), self.name('a'));
        let (first, second) = (outputs(&a, columns), outputs(&b, columns));
        let both: Scope = first.iter().chain(&second).cloned().collect();
        let on = self.join_condition(&first, &second, &Scope::new());
        let condition = self.boolean(&both, EXPRESSION_DEPTH, 1);
        Node::new(Kind::Query)
            .text(format!("select count(*) as o0, count({}) as o1 from {name} {a} ", second[0].sql))
            .child(Node::new(Kind::Other).text(format!("left join {name} {b} on ")).child(on))
            .child(Node::new(Kind::Other).text(" where ").child(condition).optional())
    }

    /// A `select`, with columns `o0`, `o1`, ... of these types.
    pub(crate) fn select(&mut self, outer: &Scope, depth: usize) -> (Node, Vec<Type>) {
        match self.random.below(20) {
            0..=8 => self.plain_select(outer, depth),
            9..=14 => self.aggregate(outer, depth),
            15 | 16 => self.windows(outer, depth),
            17 | 18 => self.set_operation(outer, depth),
            _ => self.distinct_on(),
        }
    }

    fn plain_select(&mut self, outer: &Scope, depth: usize) -> (Node, Vec<Type>) {
        let (from, scope) = self.from(outer, depth);
        let all = visible(&scope, outer);
        let count = 1 + self.random.below(4);
        let mut types = Vec::new();
        let mut items = Vec::new();
        for n in 0..count {
            let of = self.some_type(&scope);
            types.push(of);
            items.push(
                Node::new(Kind::Other)
                    .child(self.expression(of, &all, EXPRESSION_DEPTH, depth))
                    .text(format!(" as o{n}")),
            );
        }
        let distinct = if self.random.chance(20) { "distinct " } else { "" };
        let select = Node::new(Kind::Query)
            .child(Node::leaf(Kind::Other, "select "))
            .child(Node::leaf(Kind::Other, distinct).optional())
            .list(items, ", ", count)
            .text(" from ")
            .child(from)
            .child(self.filter(&all, depth));
        (select, types)
    }

    pub(crate) fn filter(&mut self, scope: &Scope, depth: usize) -> Node {
        if self.random.chance(35) {
            return Node::leaf(Kind::Other, "");
        }
        let condition = self.boolean(scope, EXPRESSION_DEPTH, depth);
        Node::new(Kind::Other).text(" where ").child(condition).optional()
    }

    fn aggregate(&mut self, outer: &Scope, depth: usize) -> (Node, Vec<Type>) {
        let (from, scope) = self.from(outer, depth);
        let all = visible(&scope, outer);
        let keys = (0..self.random.below(3)).map(|_| self.random.pick(&scope).of);
        let mut types: Vec<Type> = keys.filter(|of| *of != Type::List).collect();
        let keys = types.len();
        // Copies, so that shrinking changes a key in one place only: then the keys differ.
        let (mut groups, mut items) = (Vec::new(), Vec::new());
        let by_name = self.random.chance(60);
        for (n, of) in types.iter().enumerate() {
            let key = match by_name {
                true => {
                    let of_type: Vec<&Column> = scope.iter().filter(|c| c.of == *of).collect();
                    self.column(&of_type)
                }
                false => self.expression(*of, &scope, 2, 0),
            };
            groups.push(match by_name {
                true => key.clone(),
                false => Node::leaf(Kind::Other, (n + 1).to_string()),
            });
            items.push(Node::new(Kind::Other).child(key).text(format!(" as o{n}")));
        }
        for n in keys..keys + 1 + self.random.below(3) {
            let (call, of) = self.call(&all, depth);
            types.push(of);
            items.push(Node::new(Kind::Other).child(call).text(format!(" as o{n}")));
        }
        let count = items.len();
        let mut select = Node::new(Kind::Query)
            .text("select ")
            .list(items, ", ", count)
            .text(" from ")
            .child(from)
            .child(self.filter(&all, depth));
        if keys > 0 {
            let form =
                *self.random.pick(&["", "", "", "", "", "all", "rollup (", "cube (", "sets"]);
            self.plain &= form.is_empty();
            select = match (form, by_name) {
                // Over constants alone DuckDB computes one group, also without rows.
                ("all", _) if by_name => select.text(" group by all"),
                ("sets", true) => {
                    let first = groups[0].clone();
                    select
                        .text(" group by grouping sets ((")
                        .list(groups, ", ", keys)
                        .text("), (")
                        .child(first)
                        .text("), ())")
                }
                ("rollup (" | "cube (", true) => select
                    .text(" group by ")
                    .child(Node::leaf(Kind::Other, form))
                    .list(groups, ", ", keys)
                    .text(")"),
                _ => select.text(" group by ").list(groups, ", ", keys),
            };
        }
        if self.random.chance(25) {
            let test = match self.random.chance(50) {
                true => Node::leaf(Kind::Boolean, format!("(count(*) > {})", self.random.below(4))),
                false => {
                    let (call, _) = self.call(&all, 0);
                    Node::new(Kind::Boolean).text("(").child(call).text(" is not null)")
                }
            };
            select = select.child(Node::new(Kind::Other).text(" having ").child(test).optional());
        }
        (select, types)
    }

    /// An aggregate.
    fn call(&mut self, scope: &Scope, depth: usize) -> (Node, Type) {
        let filter = match self.random.chance(15) {
            true => Node::new(Kind::Other)
                .text(" filter (where ")
                .child(self.boolean(scope, 1, 0))
                .text(")")
                .optional(),
            false => Node::leaf(Kind::Other, ""),
        };
        let depth = depth.min(1);
        let of = |kind| Node::new(kind);
        let (call, result) = match self.random.below(13) {
            9 => {
                self.plain = false;
                let result = *self.random.pick(&[Type::Decimal, Type::Float64]);
                let argument = self.expression(result, scope, 1, depth);
                (of(result.kind()).text("sum(").child(argument).text(")"), result)
            }
            10 => {
                self.plain = false;
                let argument = self.expression(Type::Text, scope, 1, 0);
                let again = argument.clone();
                let distinct = *self.random.pick(&["", "distinct "]);
                let call = of(Kind::Text).text(format!("string_agg({distinct}")).child(argument);
                (call.text(", '|' order by ").child(again).text(")"), Type::Text)
            }
            11 => {
                self.plain = false;
                let name =
                    *self.random.pick(&["bit_and", "bit_or", "bit_xor", "sum(distinct", "max"]);
                let argument = self.expression(Type::Int32, scope, 1, depth);
                let open = if name.contains('(') { " " } else { "(" };
                let call = of(Kind::Integer).text(format!("{name}{open}")).child(argument);
                (call.text(")"), Type::Int64)
            }
            12 => {
                self.plain = false;
                let argument = self.expression(Type::Int32, scope, 1, depth);
                (of(Kind::Float).text("median(").child(argument).text(")"), Type::Float64)
            }
            0 => (Node::leaf(Kind::Integer, "count(*)"), Type::Int64),
            1 | 2 => {
                let of_type = self.some_type(scope);
                let distinct = match of_type != Type::List && self.random.chance(50) {
                    true => "distinct ",
                    false => "",
                };
                let argument = self.expression(of_type, scope, 1, depth);
                let call = of(Kind::Integer).text(format!("count({distinct}")).child(argument);
                (call.text(")"), Type::Int64)
            }
            3 => {
                let argument = self.expression(Type::Int32, scope, 1, depth);
                (of(Kind::Integer).text("sum(").child(argument).text(")"), Type::Int64)
            }
            4 => {
                self.plain = false;
                let argument = self.expression(Type::Boolean, scope, 1, depth);
                let name = *self.random.pick(&["bool_and", "bool_or"]);
                (
                    of(Kind::Boolean).text(format!("{name}(")).child(argument).text(")"),
                    Type::Boolean,
                )
            }
            5 => {
                let argument = self.expression(Type::Int32, scope, 1, depth);
                (of(Kind::Float).text("avg(").child(argument).text(")"), Type::Float64)
            }
            _ => {
                let of_type = match self.some_type(scope) {
                    Type::List | Type::Boolean => Type::Int64,
                    other => other,
                };
                let name = *self.random.pick(&["min", "max"]);
                let argument = self.expression(of_type, scope, 1, depth);
                (of(of_type.kind()).text(format!("{name}(")).child(argument).text(")"), of_type)
            }
        };
        (Node::new(call.kind).child(call).child(filter), result)
    }

    fn windows(&mut self, outer: &Scope, depth: usize) -> (Node, Vec<Type>) {
        let table = self.random.pick(self.tables).clone();
        let alias = self.name('a');
        let scope = columns(&table, &alias);
        let all = visible(&scope, outer);
        let partition = self.random.pick(&scope).clone();
        self.plain = false;
        let over = match partition.of {
            Type::List => format!("order by {alias}.id"),
            _ => format!("partition by {} order by {alias}.id", partition.sql),
        };
        let of = self.some_type(&scope);
        let argument = self.expression(of, &scope, 1, 0);
        let (window, result) = match self.random.below(9) {
            5..=8 => self.window(&scope, &alias, &over),
            0 => (Node::leaf(Kind::Integer, format!("row_number() over ({over})")), Type::Int64),
            1 | 2 => {
                let name = *self.random.pick(&["lag", "lead"]);
                let by = 1 + self.random.below(3);
                let window = Node::new(of.kind()).text(format!("{name}(")).child(argument);
                (window.text(format!(", {by}) over ({over})")), of)
            }
            3 => {
                let frame = *self.random.pick(&[
                    "",
                    " rows between 1 preceding and 1 following",
                    " rows between unbounded preceding and 1 preceding",
                    " rows between 2 preceding and current row",
                ]);
                let argument = self.expression(Type::Int32, &scope, 1, 0);
                let name = *self.random.pick(&["sum", "count", "min", "max"]);
                let window = Node::new(Kind::Integer).text(format!("{name}(")).child(argument);
                (window.text(format!(") over ({over}{frame})")), Type::Int64)
            }
            _ => {
                let key = self.random.pick(&scope).clone();
                let name = *self.random.pick(&["rank", "dense_rank"]);
                let key = if key.of == Type::List { format!("{alias}.id") } else { key.sql };
                let text = format!("{name}() over (order by {key} nulls first)");
                (Node::leaf(Kind::Integer, text), Type::Int64)
            }
        };
        let select = Node::new(Kind::Query)
            .text(format!("select {alias}.id as o0, "))
            .child(window)
            .text(format!(" as o1 from {} {alias}", table.name))
            .child(self.filter(&all, depth));
        let select = match self.random.chance(10) {
            true => select.text(format!(" qualify row_number() over ({over}) <= 2")),
            false => select,
        };
        (select, vec![Type::Int64, result])
    }

    fn set_operation(&mut self, outer: &Scope, depth: usize) -> (Node, Vec<Type>) {
        let count = 1 + self.random.below(2);
        let types: Vec<Type> = (0..count).map(|_| *self.random.pick(&SET_TYPES)).collect();
        self.plain &= types.iter().all(|of| is_plain(*of));
        let name = *self.random.pick(&[
            " union ",
            " union all ",
            " intersect ",
            " except ",
            " intersect all ",
            " except all ",
        ]);
        self.plain &= !name.contains("t all");
        let side = |grammar: &mut Self| {
            let (from, scope) = grammar.from(outer, depth.min(1));
            let all = visible(&scope, outer);
            let mut items = Vec::new();
            for (n, of) in types.iter().enumerate() {
                let of = match grammar.random.chance(25) {
                    true => grammar.comparable(*of),
                    false => *of,
                };
                let item = Node::new(Kind::Other).child(grammar.expression(of, &all, 1, 0));
                items.push(item.text(format!(" as o{n}")));
            }
            let select = Node::new(Kind::Query).text("select ").list(items, ", ", count);
            select.text(" from ").child(from).child(grammar.filter(&all, 0))
        };
        let (left, right) = (side(self), side(self));
        (Node::new(Kind::Query).child(left).text(name).child(right), types)
    }

    /// A FROM clause and its columns.
    pub(crate) fn from(&mut self, outer: &Scope, depth: usize) -> (Node, Scope) {
        if self.random.chance(5) {
            return self.using();
        }
        let (mut from, mut scope) = self.relation(depth);
        while self.random.chance(35) && scope.len() < 24 {
            let (right, columns) = self.relation(depth);
            let kind = *self.random.pick(&[
                "inner join",
                "left join",
                "right join",
                "full join",
                "cross join",
            ]);
            from = Node::new(Kind::From).child(from).text(format!(" {kind} ")).child(right);
            if kind != "cross join" {
                // DuckDB has no full join by a condition other than an equality.
                let on = match kind {
                    "full join" => equality(self.random, &scope, &columns),
                    _ => self.join_condition(&scope, &columns, outer),
                };
                from = from.text(" on ").child(on);
            }
            scope.extend(columns);
        }
        if let Some(list) = scope.iter().find(|column| column.of == Type::List).cloned()
            && self.random.chance(40)
        {
            self.plain = false;
            let alias = self.name('u');
            from = Node::new(Kind::From)
                .child(from)
                .text(format!(" cross join unnest({}) as {alias}(x)", list.sql));
            scope.push(Column { sql: format!("{alias}.x"), of: Type::Int64 });
        }
        if depth > 1 && self.random.chance(6) {
            let (with, columns) = self.lateral(from, &scope);
            from = with;
            scope.extend(columns);
        }
        (from, scope)
    }

    pub(crate) fn relation(&mut self, depth: usize) -> (Node, Scope) {
        if self.random.chance(5) {
            return self.small();
        }
        if depth > 1
            && self.random.chance(6)
            && let Some(limited) = self.limited(depth - 1)
        {
            return limited;
        }
        let alias = self.name('a');
        if depth > 1 && self.random.chance(20) {
            let (query, types) = self.select(&Scope::new(), depth - 1);
            let scope = outputs(&alias, &types);
            return (
                Node::new(Kind::From).text("(").child(query).text(format!(") {alias}")),
                scope,
            );
        }
        let table = self.random.pick(self.tables).clone();
        (Node::leaf(Kind::From, format!("{} {alias}", table.name)), columns(&table, &alias))
    }

    fn join_condition(&mut self, left: &Scope, right: &Scope, outer: &Scope) -> Node {
        if self.random.chance(70) {
            let on = equality(self.random, left, right);
            if self.random.chance(70) {
                return on;
            }
            let both: Scope = left.iter().chain(right).chain(outer).cloned().collect();
            let more = self.boolean(&both, 1, 0);
            return Node::new(Kind::Boolean)
                .text("(")
                .child(on)
                .text(" and ")
                .child(more)
                .text(")");
        }
        let both: Scope = left.iter().chain(right).cloned().collect();
        self.boolean(&both, 2, 0)
    }
}

/// Whether SQLite has this type with the same meaning.
pub(crate) fn is_plain(of: Type) -> bool {
    matches!(of, Type::Int8 | Type::Int32 | Type::Text)
}

pub(crate) fn visible(scope: &Scope, outer: &Scope) -> Scope {
    scope.iter().chain(outer).cloned().collect()
}

pub(crate) fn columns(table: &Table, alias: &str) -> Scope {
    let column = |(name, of): &(String, Type)| Column { sql: format!("{alias}.{name}"), of: *of };
    table.columns.iter().map(column).collect()
}

/// An equality of two columns of one type, one from each side.
pub(crate) fn equality(random: &mut Random, left: &Scope, right: &Scope) -> Node {
    let mut pairs = Vec::new();
    for a in left.iter().filter(|a| a.of != Type::List) {
        pairs.extend(right.iter().filter(|b| b.of == a.of).map(|b| (a, b)));
    }
    if pairs.is_empty() {
        return Node::leaf(Kind::Boolean, "true");
    }
    let (a, b) = random.pick(&pairs);
    Node::leaf(Kind::Boolean, format!("({} = {})", a.sql, b.sql))
}
