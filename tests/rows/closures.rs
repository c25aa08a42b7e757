//! Closures over views need no types: the verbs of a slice, in small.

use super::{arrays, rows};
use bigslice::row::{Row, Value};

#[derive(Clone, Row)]
struct Visit {
    url: String,
    ms: i64,
    tags: Vec<String>,
}

/// A slice in one batch.
struct Slice<T>(Vec<T>);

impl<T: Row> Slice<T> {
    fn filter(&self, keep: impl for<'a> Fn(T::View<'a>) -> bool) -> Self {
        let columns = T::columns(&arrays(&self.0)).unwrap();
        let mut builder = T::builder(0);
        for row in 0..self.0.len() {
            if keep(T::get(&columns, row)) {
                T::append(&mut builder, T::get(&columns, row));
            }
        }
        Self(rows(&T::finish(&mut builder)).unwrap())
    }

    fn map<U: Row, F>(&self, function: F) -> Slice<U>
    where
        F: for<'a> Fn(T::View<'a>) -> U,
    {
        let columns = T::columns(&arrays(&self.0)).unwrap();
        let mut builder = U::builder(0);
        for row in 0..self.0.len() {
            U::append(&mut builder, function(T::get(&columns, row)).view());
        }
        Slice(rows(&U::finish(&mut builder)).unwrap())
    }

    fn flat_map<U: Row, I: IntoIterator<Item = U>>(
        &self,
        function: impl for<'a> Fn(T::View<'a>) -> I,
    ) -> Slice<U> {
        let columns = T::columns(&arrays(&self.0)).unwrap();
        Slice((0..self.0.len()).flat_map(|row| function(T::get(&columns, row))).collect())
    }

    fn fold<A>(&self, start: A, function: impl for<'a> Fn(A, T::View<'a>) -> A) -> A {
        let columns = T::columns(&arrays(&self.0)).unwrap();
        (0..self.0.len()).fold(start, |state, row| function(state, T::get(&columns, row)))
    }
}

impl<K: Value, V: Value> Slice<(K, V)> {
    fn map_values<W: Value>(&self, function: impl for<'a> Fn(V::View<'a>) -> W) -> Slice<(K, W)> {
        self.map(|(key, value)| (K::to_owned(key), function(value)))
    }
}

fn visits() -> Slice<Visit> {
    let visit = |url: &str, ms, tags: &[&str]| Visit {
        url: url.to_owned(),
        ms,
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
    };
    Slice(vec![visit("a", 1, &[]), visit("b", 700, &["x", "yy"]), visit("c", 800, &["z"])])
}

#[test]
fn no_types_are_needed() {
    let cutoff = 500;
    let slow = visits()
        .filter(|v| v.ms > cutoff)
        .map(|v| (v.url.to_owned(), 1u64))
        .map_values(|count| count + 1);
    assert_eq!(slow.0, [("b".to_owned(), 2), ("c".to_owned(), 2)]);
}

#[test]
fn of_tuples_values_lists_and_structs() {
    let tags = visits().flat_map(|v| v.tags.iter().map(str::to_owned).collect::<Vec<_>>());
    assert_eq!(tags.0, ["x", "yy", "z"]);
    assert_eq!(tags.fold(0, |bytes, tag| bytes + tag.len()), 4);
    let pairs = visits().map(|v| (v.url.to_owned(), v.tags.get(0).map(str::to_owned)));
    assert_eq!(pairs.filter(|(url, tag)| url == "b" || tag.is_none()).0.len(), 2);
    let again = pairs.map(|(url, tag)| Visit {
        url: url.to_owned(),
        ms: 0,
        tags: tag.into_iter().map(str::to_owned).collect(),
    });
    assert_eq!(again.fold(0, |count, v| count + v.tags.len()), 2);
}
