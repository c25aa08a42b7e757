//! Where a statement writes: checked, and written as an address that means the same to DataFusion
//! whatever characters are in it.

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::error::Result;
use datafusion::execution::SessionState;
use datafusion::logical_expr::dml::CopyTo;
use datafusion::logical_expr::{DmlStatement, LogicalPlan, WriteOp};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};

use crate::error::{SourceError, SourceErrorKind, invalid};
use crate::location::{Location, Place};
use crate::parquet_file::types::stored_rows;
use crate::table::folders::named;

/// The option of `COPY` that decides between a file and a folder.
const SINGLE_FILE: &str = "single_file_output";

/// The option of `COPY` by which the columns of folders stay in the files, too.
const KEPT: &str = "execution.keep_partition_by_columns";

/// Does this plan write files or add rows when it is run?
pub fn writes(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Copy(_) | LogicalPlan::Dml(DmlStatement { op: WriteOp::Insert(_), .. }) => {
            true
        }
        LogicalPlan::Analyze(analyze) => writes(&analyze.input),
        _ => false,
    }
}

/// The plan with the addresses of its targets as DataFusion reads them, after a look at what is
/// there already.
pub(super) async fn check(plan: LogicalPlan, session: &SessionState) -> Result<LogicalPlan> {
    let copy = match &plan {
        LogicalPlan::Copy(copy) => Some(copy),
        LogicalPlan::Analyze(analyze) => match analyze.input.as_ref() {
            LogicalPlan::Copy(copy) => Some(copy),
            _ => None,
        },
        _ => None,
    };
    let Some(copy) = copy else { return Ok(plan) };
    let address = address(copy, session).await?;
    let option = copy.options.get(KEPT).map(|value| value.trim());
    let kept = match option {
        Some(value) => value.eq_ignore_ascii_case("true"),
        None => session.config_options().execution.keep_partition_by_columns,
    };
    let readdressed = plan.transform_down(|node| {
        Ok(match node {
            LogicalPlan::Copy(copy) => {
                let input = match copy.partition_by.is_empty() {
                    true => copy.input,
                    false => {
                        let input = Arc::unwrap_or_clone(copy.input);
                        Arc::new(named(input, &copy.partition_by, kept)?)
                    }
                };
                let input = match copy.file_type.get_ext().as_str() {
                    "parquet" => stored_rows(input)?,
                    _ => input,
                };
                let output_url = address.clone();
                Transformed::yes(LogicalPlan::Copy(CopyTo { output_url, input, ..copy }))
            }
            other => Transformed::no(other),
        })
    });
    Ok(readdressed?.data)
}

async fn address(copy: &CopyTo, session: &SessionState) -> Result<String> {
    let text = &copy.output_url;
    // What a ~ stands for was put in when the statement was prepared.
    let location = Location::parse(text, None)?.into_literal();
    if !location.is_local() && location.bucket_name().is_none() {
        return Err(invalid(format!("\"{text}\" is on a web server, which cannot be written to")));
    }
    let store = session.runtime_env().object_store(location.store())?;
    let path = match location.place() {
        Place::Glob(..) => {
            return Err(invalid(format!(
                "a result is written to one place, but \"{text}\" is a pattern"
            )));
        }
        Place::Path(path) | Place::Folder(path) => path,
    };
    let mut url = location.url()?;
    if is_folder(copy, &location, path) {
        if !url.path().ends_with('/') {
            url.set_path(&format!("{}/", url.path()));
        }
        must_be_free(&store, &location, path).await?;
    }
    Ok(url.into())
}

/// A result is a folder of files when the target is one, or is written as one, or has no extension.
fn is_folder(copy: &CopyTo, location: &Location, path: &Path) -> bool {
    if !copy.partition_by.is_empty() || matches!(location.place(), Place::Folder(_)) {
        return true;
    }
    match copy.options.get(SINGLE_FILE).map(|value| value.trim()) {
        Some("true") => false,
        Some("false") => true,
        _ => path.extension().is_none(),
    }
}

async fn must_be_free(
    store: &Arc<dyn ObjectStore>,
    location: &Location,
    path: &Path,
) -> Result<()> {
    let text = location.text();
    if store.head(path).await.is_ok() {
        return Err(SourceError::new(
            SourceErrorKind::Occupied,
            format!("\"{text}\" is a file, but the result needs a folder"),
        )
        .into_datafusion());
    }
    let prefix = (!path.as_ref().is_empty()).then_some(path);
    let first = store.list(prefix).try_next().await;
    match first {
        Ok(None) | Err(object_store::Error::NotFound { .. }) if location.is_local() => Ok(()),
        Ok(None) => Ok(()),
        Ok(Some(file)) => Err(SourceError::new(
            SourceErrorKind::Occupied,
            format!(
                "the folder \"{text}\" is not empty: it has \"{}\"",
                location.show(&file.location)
            ),
        )
        .hint(
            "remove its files or write to a new folder; INSERT INTO a table adds rows to a folder",
        )
        .into_datafusion()),
        Err(error) => Err(error.into()),
    }
}
