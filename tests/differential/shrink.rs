//! Reduces a difference: first the query, then the tables, then the query again.

use std::time::{Duration, Instant};

use arrow::array::BooleanArray;
use arrow::compute::filter_record_batch;

use crate::data::Table;
use crate::grammar::Query;
use crate::{Failed, Find, Small, Tally, World};

/// Time limit of the reduction.
const TIME_MAX: Duration = Duration::from_secs(120);

/// The smallest query and tables found that still differ.
pub(crate) async fn shrink(
    world: &mut World,
    tables: &[Table],
    query: &Query,
    find: Find,
) -> Result<Small, Failed> {
    let end = Instant::now() + TIME_MAX;
    let mut small = Small { tables: tables.to_vec(), tree: query.tree.clone(), find };
    shrink_query(world, query, &mut small, end).await?;
    shrink_tables(world, query, &mut small, end).await?;
    world.load(&small.tables).await?;
    shrink_query(world, query, &mut small, end).await?;
    Ok(small)
}

async fn shrink_query(
    world: &mut World,
    query: &Query,
    small: &mut Small,
    end: Instant,
) -> Result<(), Failed> {
    'smaller: loop {
        for tree in small.tree.smaller() {
            if Instant::now() > end {
                return Ok(());
            }
            let ordered = query.ordered && tree.sql(crate::Dialect::Ours).contains(" order by 1");
            let candidate = Query { tree, ordered, ..query.clone() };
            let found = world.compare(&candidate, &mut Tally::default()).await?;
            if let Some(find) = found.filter(|find| is_like(find, &small.find)) {
                small.tree = candidate.tree;
                small.find = find;
                continue 'smaller;
            }
        }
        return Ok(());
    }
}

/// Whether one difference may be another form of the other: an error that turns into another error
/// is another bug.
fn is_like(a: &Find, b: &Find) -> bool {
    /// Characters of an error that identify it: names in it change as the query shrinks.
    const LETTERS: usize = 24;
    let said = |find: &Find| -> Option<String> {
        let (_, said) = find.what.split_once('"')?;
        Some(said.chars().take(LETTERS).collect())
    };
    said(a) == said(b)
}

/// Removes halves of the rows of each table, then quarters, down to single rows.
async fn shrink_tables(
    world: &mut World,
    query: &Query,
    small: &mut Small,
    end: Instant,
) -> Result<(), Failed> {
    for table in 0..small.tables.len() {
        let mut piece = small.tables[table].rows.num_rows().div_ceil(2);
        while piece > 0 {
            let mut begin = 0;
            while begin < small.tables[table].rows.num_rows() {
                if Instant::now() > end {
                    return Ok(());
                }
                let rows = &small.tables[table].rows;
                let keep = (0..rows.num_rows()).map(|n| Some(n < begin || n >= begin + piece));
                let fewer = filter_record_batch(rows, &BooleanArray::from_iter(keep))?;
                let mut tables = small.tables.clone();
                tables[table] = tables[table].with_rows(fewer);
                world.load(&tables).await?;
                let candidate = Query { tree: small.tree.clone(), ..query.clone() };
                let found = world.compare(&candidate, &mut Tally::default()).await?;
                match found.filter(|find| is_like(find, &small.find)) {
                    Some(find) => {
                        small.tables = tables;
                        small.find = find;
                    }
                    None => begin += piece,
                }
            }
            piece /= 2;
        }
    }
    Ok(())
}
