//! Random expressions for select lists, conditions and arguments.

use crate::data::Type;
use crate::grammar::{Column, Grammar, Scope, equality, is_plain, visible};
use crate::tree::{Kind, Node};

impl Grammar<'_> {
    /// The type of some column in `scope`.
    pub(crate) fn some_type(&mut self, scope: &Scope) -> Type {
        self.random.pick(scope).of
    }

    /// An expression of a type.
    pub(crate) fn expression(
        &mut self,
        of: Type,
        scope: &Scope,
        depth: usize,
        queries: usize,
    ) -> Node {
        let columns: Vec<&Column> =
            scope.iter().filter(|column| column.of.kind() == of.kind()).collect();
        if depth > 0
            && self.random.chance(12)
            && let Some(converted) = self.conversion(of, scope, depth)
        {
            return converted;
        }
        if depth == 0 || matches!(of, Type::List | Type::Decimal) || self.random.chance(45) {
            if !columns.is_empty() && self.random.chance(85) || of == Type::List {
                return match columns.is_empty() {
                    true => Node::leaf(of.kind(), "cast(null as bigint[])"),
                    false => self.column(&columns),
                };
            }
            return self.literal(of);
        }
        match of.kind() {
            Kind::Boolean => self.boolean(scope, depth, queries),
            _ if self.random.chance(15) => self.case(of, scope, depth, queries),
            _ if self.random.chance(10) => {
                let first = self.expression(of, scope, depth - 1, queries);
                let second = self.expression(of, scope, depth - 1, queries);
                let name = *self.random.pick(&["coalesce(", "nullif("]);
                Node::new(of.kind()).text(name).child(first).text(", ").child(second).text(")")
            }
            Kind::Integer if queries > 0 && self.random.chance(12) => self.scalar(scope, queries),
            Kind::Integer => self.integer(scope, depth, queries),
            Kind::Float => {
                self.plain = false;
                let first = self.expression(of, scope, depth - 1, queries);
                let second = self.expression(of, scope, depth - 1, queries);
                let operator = *self.random.pick(&[" + ", " - ", " * "]);
                let sum = Node::new(Kind::Float).text("(").child(first).text(operator);
                sum.child(second).text(")")
            }
            Kind::Text => {
                let argument = self.expression(of, scope, depth - 1, queries);
                match self.random.below(4) {
                    0 => {
                        // SQLite changes the case of ASCII letters only.
                        self.plain = false;
                        Node::new(Kind::Text).text("upper(").child(argument).text(")")
                    }
                    1 => Node::new(Kind::Text).text("substr(").child(argument).text(", 1, 2)"),
                    _ => {
                        let second = self.expression(of, scope, depth - 1, queries);
                        let both = Node::new(Kind::Text).text("(").child(argument).text(" || ");
                        both.child(second).text(")")
                    }
                }
            }
            _ => match columns.is_empty() {
                true => self.literal(of),
                false => self.column(&columns),
            },
        }
    }

    pub(crate) fn column(&mut self, columns: &[&Column]) -> Node {
        let column = *self.random.pick(columns);
        self.plain &= is_plain(column.of);
        Node::leaf(column.of.kind(), column.sql.clone())
    }

    pub(crate) fn literal(&mut self, of: Type) -> Node {
        let kind = of.kind();
        self.plain &= is_plain(of);
        if self.random.chance(10) {
            let name = match kind {
                Kind::Boolean => "boolean",
                Kind::Integer => "bigint",
                Kind::Float => "double",
                Kind::Date => "date",
                Kind::Timestamp => "timestamp",
                Kind::Decimal => "decimal(12, 2)",
                _ => "varchar",
            };
            return Node::leaf(kind, format!("cast(null as {name})"));
        }
        let text = match kind {
            Kind::Boolean => (*self.random.pick(&["true", "false"])).to_owned(),
            Kind::Integer => self.random.pick(&[-1i64, 0, 1, 2, 3, 5, 100]).to_string(),
            Kind::Float => {
                let value = *self.random.pick(&["0", "-0.0", "1", "2.5", "'nan'", "'inf'"]);
                format!("cast({value} as double)")
            }
            Kind::Text => format!("'{}'", self.random.pick(&["", "a", "b", "ab", "abc", "10"])),
            Kind::Date => {
                format!("date '{}'", self.random.pick(&["1970-01-01", "2024-02-29", "2000-02-29"]))
            }
            Kind::Timestamp => "timestamp '2024-02-29 03:00:00'".to_owned(),
            _ => "cast(1.25 as decimal(12, 2))".to_owned(),
        };
        Node::leaf(kind, text)
    }

    pub(crate) fn case(&mut self, of: Type, scope: &Scope, depth: usize, queries: usize) -> Node {
        let when = self.boolean(scope, depth - 1, queries);
        let then = self.expression(of, scope, depth - 1, queries);
        let otherwise = self.expression(of, scope, depth - 1, queries);
        let case = Node::new(of.kind()).text("case when ").child(when).text(" then ").child(then);
        case.child(Node::new(Kind::Other).text(" else ").child(otherwise).optional()).text(" end")
    }

    pub(crate) fn integer(&mut self, scope: &Scope, depth: usize, queries: usize) -> Node {
        let first = self.expression(Type::Int32, scope, depth - 1, queries);
        if self.random.chance(15) {
            let text = self.expression(Type::Text, scope, depth - 1, queries);
            return Node::new(Kind::Integer).text("length(").child(text).text(")");
        }
        let second = self.expression(Type::Int32, scope, depth - 1, queries);
        let operator = *self.random.pick(&[" + ", " - ", " * "]);
        Node::new(Kind::Integer).text("(").child(first).text(operator).child(second).text(")")
    }

    /// A scalar subquery of one row.
    pub(crate) fn scalar(&mut self, scope: &Scope, queries: usize) -> Node {
        let (from, within) = self.from(&Scope::new(), 1);
        let inner = within.clone();
        let name = *self.random.pick(&["count", "min", "max", "sum"]);
        let argument = self.expression(Type::Int32, &inner, 1, 0);
        let call = Node::new(Kind::Integer).text(format!("{name}(")).child(argument).text(")");
        let filter = self.correlated(&within, scope, queries);
        Node::new(Kind::Integer)
            .text("(select ")
            .child(call)
            .text(" from ")
            .child(from)
            .child(filter)
            .text(")")
    }

    /// A filter of a subquery, which may refer to outer columns.
    pub(crate) fn correlated(&mut self, within: &Scope, outer: &Scope, queries: usize) -> Node {
        let condition = match self.random.below(4) {
            0 | 1 => equality(self.random, within, outer),
            2 => {
                let both = visible(within, outer);
                self.boolean(&both, 2, queries - 1)
            }
            _ => self.boolean(within, 2, 0),
        };
        Node::new(Kind::Other).text(" where ").child(condition).optional()
    }

    pub(crate) fn boolean(&mut self, scope: &Scope, depth: usize, queries: usize) -> Node {
        if depth == 0 {
            return self.comparison(scope, 0, queries);
        }
        if queries > 0 && self.random.chance(15) {
            return match self.random.chance(20) {
                true => self.quantified(scope, queries),
                false => self.membership(scope, queries),
            };
        }
        match self.random.below(10) {
            0..=2 => {
                let first = self.boolean(scope, depth - 1, queries);
                let second = self.boolean(scope, depth - 1, queries);
                let operator = *self.random.pick(&[" and ", " or "]);
                let both = Node::new(Kind::Boolean).text("(").child(first).text(operator);
                both.child(second).text(")")
            }
            3 => {
                let within = self.boolean(scope, depth - 1, queries);
                Node::new(Kind::Boolean).text("(not ").child(within).text(")")
            }
            4 => {
                let of = self.some_type(scope);
                let within = self.expression(of, scope, depth - 1, queries);
                let test = *self.random.pick(&[" is null)", " is not null)"]);
                Node::new(Kind::Boolean).text("(").child(within).text(test)
            }
            5 => {
                let within = self.boolean(scope, depth - 1, queries);
                let test = *self.random.pick(&[
                    " is true)",
                    " is not true)",
                    " is false)",
                    " is not false)",
                ]);
                Node::new(Kind::Boolean).text("(").child(within).text(test)
            }
            6 => {
                let text = self.expression(Type::Text, scope, depth - 1, 0);
                let not = *self.random.pick(&["", "not "]);
                let pattern = *self.random.pick(&["%", "a%", "%b", "_", "a_", "%b%", ""]);
                Node::new(Kind::Boolean)
                    .text("(")
                    .child(text)
                    .text(format!(" {not}like '{pattern}')"))
            }
            _ => self.comparison(scope, depth - 1, queries),
        }
    }

    pub(crate) fn comparison(&mut self, scope: &Scope, depth: usize, queries: usize) -> Node {
        let of = match self.some_type(scope) {
            Type::List | Type::Boolean => Type::Int32,
            other => other,
        };
        let first = self.expression(of, scope, depth, queries);
        let test = Node::new(Kind::Boolean).text("(").child(first);
        let of = if self.random.chance(12) { self.comparable(of) } else { of };
        match self.random.below(8) {
            0 => {
                let count = 1 + self.random.below(4);
                let items: Vec<Node> = (0..count).map(|_| self.literal(of)).collect();
                let not = *self.random.pick(&["", "not "]);
                test.text(format!(" {not}in (")).list(items, ", ", 1).text("))")
            }
            1 => {
                let low = self.expression(of, scope, 0, 0);
                let high = self.expression(of, scope, 0, 0);
                test.text(" between ").child(low).text(" and ").child(high).text(")")
            }
            2 => {
                let second = self.expression(of, scope, depth, queries);
                let not = *self.random.pick(&["", "not "]);
                test.each(
                    &format!(" is {not}distinct from "),
                    &format!(" is {not}distinct from "),
                    if not.is_empty() { " is not " } else { " is " },
                )
                .child(second)
                .text(")")
            }
            _ => {
                let operator = *self.random.pick(&[" = ", " <> ", " < ", " <= ", " > ", " >= "]);
                test.text(operator).child(self.expression(of, scope, depth, queries)).text(")")
            }
        }
    }

    /// `IN` or `EXISTS` with a subquery.
    pub(crate) fn membership(&mut self, scope: &Scope, queries: usize) -> Node {
        let (from, within) = self.from(&Scope::new(), 1);
        let filter = self.correlated(&within, scope, queries);
        let not = *self.random.pick(&["", "not "]);
        if self.random.chance(40) {
            let what = *self.random.pick(&["1", "1", "count(*)"]);
            return Node::new(Kind::Boolean)
                .text(format!("({not}exists (select {what} from "))
                .child(from)
                .child(filter)
                .text("))");
        }
        let column = self.random.pick(&within).clone();
        let of = if column.of == Type::List { Type::Int32 } else { column.of };
        let value = self.expression(of, scope, 1, 0);
        let item = self.expression(of, &within, 1, 0);
        Node::new(Kind::Boolean)
            .text("(")
            .child(value)
            .text(format!(" {not}in (select "))
            .child(item)
            .text(" from ")
            .child(from)
            .child(filter)
            .text("))")
    }
}
