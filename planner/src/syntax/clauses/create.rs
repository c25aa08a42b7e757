//! Clauses of CREATE statements.
//!
//! Keys and checks are refused: DataFusion does not test that rows satisfy them, but relies on them
//! when it removes DISTINCT.

use datafusion::sql::parser::CreateExternalTable;
use datafusion::sql::sqlparser::ast::{
    ColumnDef, ColumnOption, ColumnOptionDef, CreateTable, CreateView, TableConstraint,
    ViewColumnDef,
};

use super::without;
use crate::error::{Error, Result};

pub(super) fn external_table(create: &CreateExternalTable) -> Result<()> {
    columns(&create.columns)?;
    create.constraints.iter().try_for_each(constraint)
}

/// Options that DataFusion itself does not check.
pub(super) fn table(create: &CreateTable) -> Result<()> {
    columns(&create.columns)?;
    create.constraints.iter().try_for_each(constraint)
}

fn columns(columns: &[ColumnDef]) -> Result<()> {
    for ColumnDef { name, data_type: _, options } in columns {
        for ColumnOptionDef { name: _, option: stated } in options {
            option(&name.value, stated)?;
        }
    }
    Ok(())
}

fn option(column: &str, option: &ColumnOption) -> Result<()> {
    let clause = match option {
        ColumnOption::Null | ColumnOption::NotNull | ColumnOption::Default(_) => return Ok(()),
        // A comment for readers.
        ColumnOption::Comment(_) => return Ok(()),
        ColumnOption::PrimaryKey(_) => return Err(key("PRIMARY KEY")),
        ColumnOption::Unique(_) => return Err(key("UNIQUE")),
        ColumnOption::ForeignKey(_) => return Err(key("REFERENCES")),
        ColumnOption::Check(_) => return Err(key("CHECK")),
        ColumnOption::Materialized(_)
        | ColumnOption::Ephemeral(_)
        | ColumnOption::Alias(_)
        | ColumnOption::Generated { .. }
        | ColumnOption::Identity(_) => "a generated value",
        ColumnOption::Collation(_) | ColumnOption::CharacterSet(_) => {
            "a collation or character set"
        }
        ColumnOption::DialectSpecific(_)
        | ColumnOption::OnUpdate(_)
        | ColumnOption::Options(_)
        | ColumnOption::OnConflict(_)
        | ColumnOption::Policy(_)
        | ColumnOption::Tags(_)
        | ColumnOption::Srid(_)
        | ColumnOption::Invisible => "an option",
    };
    Err(Error::unsupported(format!("{clause} of the column \"{column}\"")))
}

fn key(clause: &str) -> Error {
    Error::unsupported(clause)
        .with_hint("leave it out: inserted rows are not checked against existing rows")
}

fn constraint(constraint: &TableConstraint) -> Result<()> {
    Err(match constraint {
        TableConstraint::Unique(_) | TableConstraint::UniqueUsingIndex(_) => key("UNIQUE"),
        TableConstraint::PrimaryKey(_) | TableConstraint::PrimaryKeyUsingIndex(_) => {
            key("PRIMARY KEY")
        }
        TableConstraint::ForeignKey(_) => key("FOREIGN KEY"),
        TableConstraint::Check(_) => key("CHECK"),
        TableConstraint::Index(_) | TableConstraint::FulltextOrSpatial(_) => {
            Error::unsupported("an index")
        }
    })
}

pub(super) fn view(create: &CreateView) -> Result<()> {
    let CreateView {
        or_alter,
        or_replace: _,
        materialized: _,
        secure,
        name: _,
        name_before_not_exists: _,
        columns,
        query: _,
        options: _,
        cluster_by: _,
        comment: _,
        with_no_schema_binding: _,
        if_not_exists: _,
        temporary: _,
        copy_grants: _,
        to: _,
        params,
    } = create;
    if *or_alter {
        return Err(Error::unsupported("OR ALTER").with_hint("write OR REPLACE"));
    }
    without("SECURE", *secure)?;
    without("ALGORITHM, DEFINER or SQL SECURITY", params.is_some())?;
    for ViewColumnDef { name: _, data_type, options: _ } in columns {
        without("a type for a view's column", data_type.is_some())?;
    }
    Ok(())
}
