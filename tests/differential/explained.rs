//! Known differences, each with its reason. Any other difference is a bug.

/// An engine's error, or the fact that it returned rows.
type Said<'a> = Option<&'a str>;

/// A difference with a reason.
struct Explained {
    reason: &'static str,
    /// Whether this reason applies, given our result and the other engine's.
    is: fn(ours: Said<'_>, theirs: Said<'_>) -> bool,
}

const ALL: &[Explained] = &[
    Explained {
        reason: "integers that overflow are an error here; the other engine computes with more bits, \
                 or with fewer",
        is: |ours, theirs| {
            let overflow = |said: Said<'_>| {
                said.is_some_and(|said| {
                    let said = said.to_lowercase();
                    said.contains("overflow") || said.contains("out of range")
                })
            };
            overflow(ours) || overflow(theirs)
        },
    },
    Explained {
        reason: "refused: a correlated subquery over outer rows that may come out otherwise when they are \
                 computed again",
        is: |ours, _| ours.is_some_and(|said| said.contains("over nondeterministic rows")),
    },
    Explained {
        reason: "refused: aggregates of one query with DISTINCT and ORDER BY that need their rows in \
                 different orders",
        is: |ours, _| ours.is_some_and(|said| said.contains("need their rows in different orders")),
    },
    Explained {
        reason: "a scalar subquery of several rows is an error here; SQLite takes the first row",
        is: |ours, theirs| {
            theirs.is_none() && ours.is_some_and(|said| said.contains("more than one row"))
        },
    },
];

/// The reason for a permitted difference between two engines, if there is one.
pub(crate) fn reason(ours: Said<'_>, theirs: Said<'_>) -> Option<&'static str> {
    ALL.iter().find(|known| (known.is)(ours, theirs)).map(|known| known.reason)
}

/// Whether the other engine does not support the query: its refusal is not an answer.
pub(crate) fn is_refused(theirs: &str) -> bool {
    !theirs.contains("Conversion Error") && !theirs.contains("Out of Range")
}
