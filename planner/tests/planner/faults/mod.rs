//! DataFusion faults that our rules, functions and rewrites work around: plain DataFusion still has
//! them, and our sessions do not. Once plain DataFusion is right in a guard's case, that guard can
//! go.

mod plans;
mod session;
mod syntax;
mod values;

use session::{is_right, rows};

/// The guard, its statements (separated by semicolons, in a session of their own), and the correct
/// rows of the last of them, or a part of its error message.
type Fault = (&'static str, &'static str, &'static str);

const FAULTS: [&[Fault]; 3] = [plans::FAULTS, syntax::FAULTS, values::FAULTS];

#[tokio::test]
async fn each_guard_is_still_needed() {
    let mut fixed = Vec::new();
    for (guard, sql, right) in FAULTS.concat() {
        if is_right(&rows(sql, false).await, right) {
            fixed.push(guard);
        }
    }
    assert!(fixed.is_empty(), "DataFusion has fixed the faults behind these: {fixed:?}");
}

#[tokio::test]
async fn each_guard_works_around_its_fault() {
    let mut wrong = Vec::new();
    for (guard, sql, right) in FAULTS.concat() {
        let outcome = rows(sql, true).await;
        if !is_right(&outcome, right) {
            wrong.push(format!("{guard}: {outcome:?} for {right}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
