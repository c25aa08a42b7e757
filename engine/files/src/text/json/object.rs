//! Objects into the columns of their fields: rows, and the objects within them.

use std::collections::HashMap;
use std::sync::Arc;

use datafusion::arrow::array::{ArrayRef, StructArray};
use datafusion::arrow::buffer::NullBuffer;
use datafusion::arrow::datatypes::{Fields, SchemaRef};
use datafusion::error::Result;

use super::build::Field;
use super::lex::{Walk, Walker};
use crate::text::fault::{Fault, shown};

/// Keys that are remembered although they are no field's as they are written, at most.
const OTHER_KEYS_MAX: usize = 1000;

/// What to do with keys that are no fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unknown {
    /// They are skipped.
    Pass,
    /// The first rows did not have them: what they say would be lost.
    Refuse,
}

/// Builds the columns of objects.
#[derive(Debug)]
pub(super) struct Object {
    /// The path to the objects, for errors.
    name: Option<String>,
    /// All keys that are known, in their usual order.
    keys: Vec<String>,
    /// Where keys go; those that are no field's, too, once they were seen.
    places: HashMap<String, Option<usize>>,
    declared: bool,
    /// For each key, the field that its values go to.
    slots: Vec<Option<usize>>,
    fields: Vec<Field>,
    types: Fields,
    unknown: Unknown,
    length: usize,
}

impl Object {
    /// The rows of a table, of which some columns are read.
    pub(super) fn of_rows(table: &SchemaRef, projection: &[usize], declared: bool) -> Self {
        let slot = |column: usize| projection.iter().position(|at| *at == column);
        let slots = (0..table.fields().len()).map(slot).collect();
        let read: Fields =
            projection.iter().map(|column| Arc::clone(&table.fields()[*column])).collect();
        // Who does not ask for all columns does not miss one.
        let all = (0..table.fields().len()).all(|column| projection.contains(&column));
        Self::new(None, table.fields(), read, slots, declared, !declared && all)
    }

    /// The objects of a field.
    pub(super) fn of_field(name: &str, fields: &Fields, declared: bool) -> Self {
        let slots = (0..fields.len()).map(Some).collect();
        Self::new(Some(name.to_owned()), fields, fields.clone(), slots, declared, !declared)
    }

    fn new(
        name: Option<String>,
        known: &Fields,
        read: Fields,
        slots: Vec<Option<usize>>,
        declared: bool,
        refuse: bool,
    ) -> Self {
        let keys: Vec<String> = known.iter().map(|field| field.name().clone()).collect();
        let places = keys.iter().enumerate().map(|(at, key)| (key.clone(), Some(at))).collect();
        let builders = read.iter();
        let fields =
            builders.map(|field| Field::new(field.name(), field.data_type(), declared)).collect();
        let unknown = if refuse { Unknown::Refuse } else { Unknown::Pass };
        Self { name, keys, places, declared, slots, fields, types: read, unknown, length: 0 }
    }

    /// The number of objects.
    pub(super) fn len(&self) -> usize {
        self.length
    }

    /// Takes objects back.
    pub(super) fn truncate(&mut self, length: usize) {
        self.length = self.length.min(length);
        self.fields.iter_mut().for_each(|field| field.truncate(length));
    }

    /// Adds an object without values.
    pub(super) fn add_nulls(&mut self) {
        self.fields.iter_mut().for_each(Field::add_null);
        self.length += 1;
    }

    /// Adds the object that is next in the text.
    pub(super) fn add(&mut self, walker: &mut Walker<'_>, depth: usize) -> Walk<()> {
        let mut usual = 0;
        let mut more = walker.open(b'}')?;
        while more {
            walker.peek()?;
            let begin = walker.at;
            let key = walker.key()?;
            walker.peek()?;
            let known = match self.keys.get(usual) {
                Some(expected) if expected.as_bytes() == &*key => Some(usual),
                _ => std::str::from_utf8(&key).ok().and_then(|key| self.place(key)),
            };
            match known.map(|at| self.slots[at]) {
                Some(Some(slot)) => {
                    let field = &mut self.fields[slot];
                    if field.len() > self.length {
                        return Err(self.twice(begin, &key).into());
                    }
                    field.add(walker, depth)?;
                }
                Some(None) => walker.pass(depth)?,
                None if self.unknown == Unknown::Refuse => {
                    return Err(self.unknown(begin, &key).into());
                }
                None => walker.pass(depth)?,
            }
            usual = known.map_or(usual, |at| at + 1);
            more = walker.another(b'}')?;
        }
        self.length += 1;
        for field in &mut self.fields {
            if field.len() < self.length {
                field.add_null();
            }
        }
        Ok(())
    }

    /// The field of a key. A user who declares fields may have written their names in small
    /// letters: a key that no field has is that of the only one with other capitals.
    fn place(&mut self, key: &str) -> Option<usize> {
        if let Some(at) = self.places.get(key) {
            return *at;
        }
        if !self.declared {
            return None;
        }
        let mut alike =
            self.keys.iter().enumerate().filter(|(_, known)| known.eq_ignore_ascii_case(key));
        let only = alike.next().map(|(at, _)| at);
        let only = only.filter(|_| alike.next().is_none());
        if self.places.len() < self.keys.len() + OTHER_KEYS_MAX {
            self.places.insert(key.to_owned(), only);
        }
        only
    }

    fn twice(&self, at: usize, key: &[u8]) -> Fault {
        let key = shown(&String::from_utf8_lossy(key));
        Fault::new(at, format!("an object has the key \"{key}\" twice"))
    }

    fn unknown(&self, at: usize, key: &[u8]) -> Fault {
        let key = shown(&String::from_utf8_lossy(key));
        let within = self.name.as_ref().map(|name| format!(" in \"{name}\"")).unwrap_or_default();
        Fault::new(at, format!("the key \"{key}\"{within} is not in the first rows of the files"))
            .hint(
                "name the columns that you want instead of *, declare all columns with CREATE EXTERNAL TABLE \
                 t (name type, ...) STORED AS JSON LOCATION '...', or let more rows decide with \
                 OPTIONS ('format.schema_infer_max_rec' '1000000')",
            )
    }

    /// The columns of all objects, which are given away.
    pub(super) fn columns(&mut self) -> Result<Result<Vec<ArrayRef>, Fault>> {
        self.length = 0;
        let mut columns = Vec::with_capacity(self.fields.len());
        for field in &mut self.fields {
            match field.finish()? {
                Ok(column) => columns.push(column),
                Err(fault) => return Ok(Err(fault)),
            }
        }
        Ok(Ok(columns))
    }

    /// One array of all objects.
    pub(super) fn finish(&mut self, nulls: Option<NullBuffer>) -> Result<Result<ArrayRef, Fault>> {
        let columns = match self.columns()? {
            Ok(columns) => columns,
            Err(fault) => return Ok(Err(fault)),
        };
        let array = StructArray::try_new(self.types.clone(), columns, nulls)?;
        Ok(Ok(Arc::new(array)))
    }
}
