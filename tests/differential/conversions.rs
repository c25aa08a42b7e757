//! Random casts, calls of functions and arithmetic that turn one type into another.

use crate::data::Type;
use crate::grammar::{Column, Grammar, Scope};
use crate::tree::{Kind, Node};

impl Grammar<'_> {
    /// A call or cast with a result of type `of`, if there is one.
    pub(crate) fn conversion(&mut self, of: Type, scope: &Scope, depth: usize) -> Option<Node> {
        // SQLite has other types and functions.
        self.plain = false;
        let kind = of.kind();
        let mut argument = |of: Type| self.expression(of, scope, depth - 1, 0);
        let call = |name: &str, argument: Node| {
            Node::new(kind).text(format!("{name}(")).child(argument).text(")")
        };
        let cast = |argument: Node, to: &str| {
            Node::new(kind).text("cast(").child(argument).text(format!(" as {to})"))
        };
        let attempt = |argument: Node, to: &str| {
            Node::new(kind).text("try_cast(").child(argument).text(format!(" as {to})"))
        };
        let two = |name: &str, a: Node, b: Node| {
            Node::new(kind).text(format!("{name}(")).child(a).text(", ").child(b).text(")")
        };
        Some(match of {
            Type::Int8 | Type::Int32 | Type::Int64 => return Some(self.integer_of(scope, depth)),
            Type::Float32 | Type::Float64 => {
                let (integer, decimal) = (argument(Type::Int32), argument(Type::Decimal));
                let (float, other) = (argument(of), argument(of));
                match self.random.below(6) {
                    0 => cast(integer, "double"),
                    1 => cast(decimal, "double"),
                    2 => call("abs", float),
                    3 => call("floor", float),
                    4 => two("greatest", float, other),
                    _ => Node::new(kind).text("(-").child(float).text(")"),
                }
            }
            Type::Decimal => {
                let (integer, first, second) = (argument(Type::Int32), argument(of), argument(of));
                match self.random.below(7) {
                    0 => attempt(integer, "decimal(12, 2)"),
                    1 => Node::new(kind).text("(").child(first).text(" + ").child(second).text(")"),
                    2 => Node::new(kind).text("(").child(first).text(" - ").child(second).text(")"),
                    3 => Node::new(kind).text("(").child(first).text(" * 2)"),
                    4 => Node::new(kind).text("round(").child(first).text(", 1)"),
                    5 => call("abs", first),
                    _ => two("least", first, second),
                }
            }
            Type::Text => {
                let (integer, date, truth) =
                    (argument(Type::Int32), argument(Type::Date), argument(Type::Boolean));
                let (first, second) = (argument(of), argument(of));
                match self.random.below(9) {
                    0 => cast(integer, "varchar"),
                    1 => cast(date, "varchar"),
                    2 => cast(truth, "varchar"),
                    3 => call("lower", first),
                    4 => call("trim", first),
                    5 => Node::new(kind).text("replace(").child(first).text(", 'a', 'bb')"),
                    6 => Node::new(kind).text("left(").child(first).text(", 2)"),
                    7 => Node::new(kind).text("lpad(").child(first).text(", 3, 'x')"),
                    _ => two("concat", first, second),
                }
            }
            Type::Date => {
                let (timestamp, date, other) =
                    (argument(Type::Timestamp), argument(of), argument(of));
                match self.random.below(5) {
                    0 => cast(timestamp, "date"),
                    1 => Node::new(kind).text("(").child(date).text(" + 1)"),
                    2 => Node::new(kind).text("(").child(date).text(" - 30)"),
                    3 => two("greatest", date, other),
                    _ => Node::new(kind)
                        .text("cast(date_trunc('month', ")
                        .child(date)
                        .text(") as date)"),
                }
            }
            Type::Timestamp => {
                let (date, first, second) = (argument(Type::Date), argument(of), argument(of));
                let by = *self.random.pick(&["1 day", "1 month", "90 minutes"]);
                match self.random.below(5) {
                    0 => cast(date, "timestamp"),
                    1 => {
                        Node::new(kind).text("(").child(first).text(format!(" + interval '{by}')"))
                    }
                    2 => {
                        Node::new(kind).text("(").child(first).text(format!(" - interval '{by}')"))
                    }
                    3 => Node::new(kind).text("date_trunc('day', ").child(first).text(")"),
                    _ => two("least", first, second),
                }
            }
            Type::Boolean | Type::List => return None,
        })
    }

    fn integer_of(&mut self, scope: &Scope, depth: usize) -> Node {
        let kind = Kind::Integer;
        let lists: Vec<&Column> = scope.iter().filter(|column| column.of == Type::List).collect();
        if !lists.is_empty() && self.random.chance(40) {
            let list = self.column(&lists);
            return match self.random.chance(50) {
                true => Node::new(kind).each("cardinality(", "len(", "len(").child(list).text(")"),
                false => Node::new(kind).child(list).text("[1]"),
            };
        }
        let mut argument = |of: Type| self.expression(of, scope, depth - 1, 0);
        let (integer, second) = (argument(Type::Int32), argument(Type::Int32));
        let (date, other, timestamp) =
            (argument(Type::Date), argument(Type::Date), argument(Type::Timestamp));
        let (text, truth, decimal) =
            (argument(Type::Text), argument(Type::Boolean), argument(Type::Decimal));
        let field = *self.random.pick(&["year", "month", "day", "quarter", "dow", "doy", "week"]);
        let call = |name: &str, argument: Node| {
            Node::new(kind).text(format!("{name}(")).child(argument).text(")")
        };
        match self.random.below(12) {
            0 => Node::new(kind).text("cast(").child(truth).text(" as integer)"),
            1 => Node::new(kind).text("cast(").child(decimal).text(" as bigint)"),
            2 => Node::new(kind).text("try_cast(").child(text).text(" as bigint)"),
            3 => Node::new(kind).text(format!("extract({field} from ")).child(date).text(")"),
            4 => Node::new(kind).text("extract(hour from ").child(timestamp).text(")"),
            5 => call("abs", integer),
            6 => Node::new(kind).text("(").child(integer).text(" % 3)"),
            7 => Node::new(kind).text("(").child(date).text(" - ").child(other).text(")"),
            8 => Node::new(kind).text("strpos(").child(text).text(", 'b')"),
            9 => {
                Node::new(kind).text("greatest(").child(integer).text(", ").child(second).text(")")
            }
            10 => Node::new(kind).text("(").child(integer).each(" / 2)", " // 2)", " / 2)"),
            _ => Node::new(kind).text("try_cast(").child(integer).text(" as tinyint)"),
        }
    }

    /// A type whose values can be compared with those of `of`.
    pub(crate) fn comparable(&mut self, of: Type) -> Type {
        let numbers =
            [Type::Int8, Type::Int32, Type::Int64, Type::Float32, Type::Float64, Type::Decimal];
        if numbers.contains(&of) {
            return *self.random.pick(&numbers);
        }
        match of {
            Type::Date | Type::Timestamp => *self.random.pick(&[Type::Date, Type::Timestamp]),
            other => other,
        }
    }
}
