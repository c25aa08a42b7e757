//! The registry of items that register themselves when the program is linked: services in this
//! crate, functions and funcs in the crates above. Driver and worker are the same program, so a
//! name means the same item in both; their lists are compared to be sure.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};

use bigslice_diagnostics::did_you_mean;

/// The most lines of one side that a difference shows; more say nothing more.
const DIFFERENCES_SHOWN_MAX: usize = 8;

/// An item that registers itself with `inventory`.
pub trait Linked: 'static {
    /// What messages call an item, such as `"service"`.
    const KIND: &'static str;

    /// The name by which it is found.
    fn name(&self) -> &'static str;

    /// The file and the line of its source.
    fn location(&self) -> (&'static str, u32);

    /// Its name and location, for messages.
    fn described(&self) -> String {
        let (file, line) = self.location();
        format!("{} at {file}:{line}", self.name())
    }

    /// What must be equal in the driver and a worker.
    fn lines(&self) -> Vec<String> {
        vec![self.described()]
    }
}

/// No item has the name that was looked up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotLinked {
    /// That this program has none of this name.
    pub message: String,
    /// A similar name, if there is one.
    pub hint: Option<String>,
}

/// All items of one kind in this program, by name.
#[derive(Clone, Debug)]
pub struct LinkedItems<T: 'static> {
    items: BTreeMap<&'static str, &'static T>,
    duplicate: Option<String>,
}

impl<T: Linked> LinkedItems<T> {
    /// Of the items that `inventory` has collected.
    pub fn new(found: impl IntoIterator<Item = &'static T>) -> Self {
        let (mut items, mut duplicate) = (BTreeMap::new(), None);
        for item in found {
            if let Some(other) = items.insert(item.name(), item) {
                let (one, another) = (T::location(other), item.location());
                duplicate = Some(format!(
                    "there are two {}s \"{}\", at {}:{} and at {}:{}",
                    T::KIND,
                    item.name(),
                    one.0,
                    one.1,
                    another.0,
                    another.1
                ));
            }
        }
        Self { items, duplicate }
    }

    /// Checks that no two items have the same name.
    ///
    /// # Errors
    /// A message with the locations of two that do.
    pub fn check(&self) -> Result<(), String> {
        self.duplicate.clone().map_or(Ok(()), Err)
    }

    /// The items in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = &'static T> {
        self.items.values().copied()
    }

    /// The item with this name.
    ///
    /// # Errors
    /// If there is none; with the name of a similar one.
    pub fn find(&self, name: &str) -> Result<&'static T, NotLinked> {
        self.items.get(name).copied().ok_or_else(|| NotLinked {
            message: format!("this program has no {} \"{name}\"", T::KIND),
            hint: did_you_mean(name, self.items.keys().copied()),
        })
    }

    /// What driver and worker compare: equal in two processes of the same program.
    pub fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = self.iter().flat_map(T::lines).collect();
        lines.sort_unstable();
        lines
    }

    /// A hash of the [lines](Self::lines).
    pub fn digest(&self) -> u64 {
        let mut hasher = DefaultHasher::new();
        self.lines().hash(&mut hasher);
        hasher.finish()
    }
}

/// The lines that only one of two sorted lists has, marked `-` for the first and `+` for the
/// second. Empty if the lists are equal.
pub fn difference(first: &[String], second: &[String]) -> String {
    let only = |mark: char, these: &[String], those: &[String]| {
        let alone = || these.iter().filter(|line| those.binary_search(line).is_err());
        let shown = alone().take(DIFFERENCES_SHOWN_MAX);
        let mut lines: Vec<String> = shown.map(|line| format!("{mark} {line}")).collect();
        if let n @ 1.. = alone().count().saturating_sub(DIFFERENCES_SHOWN_MAX) {
            lines.push(format!("{mark} and {n} more"));
        }
        lines
    };
    [only('-', first, second), only('+', second, first)].concat().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Item(&'static str, u32);

    impl Linked for Item {
        const KIND: &'static str = "func";

        fn name(&self) -> &'static str {
            self.0
        }

        fn location(&self) -> (&'static str, u32) {
            ("src/dna.rs", self.1)
        }
    }

    #[test]
    fn a_name_means_one_item() {
        static ONE: [Item; 2] = [Item("at", 4), Item("gc", 3)];
        let items = LinkedItems::new(&ONE);
        assert_eq!(items.check(), Ok(()));
        assert_eq!(items.lines(), ["at at src/dna.rs:4", "gc at src/dna.rs:3"]);
        assert_eq!(items.find("gc").unwrap().1, 3);
        let missing = items.find("gcc").unwrap_err();
        assert_eq!(missing.message, "this program has no func \"gcc\"");
        assert_eq!(missing.hint.unwrap(), "did you mean \"gc\"?");
        static TWO: [Item; 2] = [Item("gc", 3), Item("gc", 9)];
        assert_eq!(
            LinkedItems::new(&TWO).check().unwrap_err(),
            "there are two funcs \"gc\", at src/dna.rs:3 and at src/dna.rs:9"
        );
    }

    #[test]
    fn a_difference_shows_the_first_lines_of_each_side() {
        let lines = |range: std::ops::Range<u32>| -> Vec<_> {
            range.map(|n| format!("line {n:02}")).collect()
        };
        assert_eq!(difference(&lines(0..3), &lines(0..3)), "");
        assert_eq!(difference(&lines(0..2), &lines(1..3)), "- line 00\n+ line 02");
        assert!(difference(&lines(0..10), &[]).ends_with("\n- line 07\n- and 2 more"));
    }
}
