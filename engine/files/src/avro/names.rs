//! The schema of a file as arrow-avro understands it: every type that has a name gets one of its
//! own, by which it is found wherever the schema speaks of it, and what reading does not need is
//! left out.
//!
//! arrow-avro 59.3 does not find a type by a name whose namespace is that of the record around it.

use std::collections::HashMap;

use serde_json::{Map, Value};

/// Types that have no name of their own.
const PRIMITIVE: [&str; 8] =
    ["null", "boolean", "int", "long", "float", "double", "bytes", "string"];

/// Records within records, at most: more of them overflow a stack.
const DEPTH_MAX: usize = 100;

/// The schema as a text, and whether it speaks of a type where that is not defined; an error if its
/// rows are no records.
pub(super) fn plain(schema: &str) -> Result<(String, bool), String> {
    let mut schema: Value = serde_json::from_str(schema)
        .map_err(|error| format!("its schema is not valid JSON: {error}"))?;
    if let Some(inner) = schema.get("type").filter(|inner| inner.is_object()) {
        schema = inner.clone();
    }
    let kind = match &schema {
        Value::String(name) => name.as_str(),
        Value::Array(_) => "union",
        schema => schema.get("type").and_then(Value::as_str).unwrap_or_default(),
    };
    if !matches!(kind, "record" | "error") {
        return Err(format!("its rows are of type \"{kind}\", not records, so it has no columns"));
    }
    let mut names = Names::default();
    names.walk(&mut schema, "", 0)?;
    Ok((schema.to_string(), names.refers))
}

/// The types by name.
#[derive(Debug, Default)]
struct Names {
    /// The names that were defined, and whether the type is known to its end.
    defined: HashMap<String, (String, bool)>,
    /// One of them was spoken of.
    refers: bool,
}

impl Names {
    fn walk(&mut self, schema: &mut Value, space: &str, depth: usize) -> Result<(), String> {
        if depth > DEPTH_MAX {
            return Err(format!("its schema has more than {DEPTH_MAX} types within each other"));
        }
        match schema {
            Value::String(name) => self.find(name, space),
            Value::Array(choices) => {
                choices.iter_mut().try_for_each(|choice| self.walk(choice, space, depth + 1))
            }
            Value::Object(object) => {
                let replaced = self.object(object, space, depth)?;
                if let Some(replaced) = replaced {
                    *schema = replaced;
                }
                Ok(())
            }
            other => Err(format!("its schema has {other} in place of a type")),
        }
    }

    /// Changes a type within braces; gives what it is to be replaced by, if that is something else.
    fn object(
        &mut self,
        object: &mut Map<String, Value>,
        space: &str,
        depth: usize,
    ) -> Result<Option<Value>, String> {
        let Some(Value::String(kind)) = object.get("type").cloned() else {
            let mut inner = object.get("type").cloned().unwrap_or_default();
            self.walk(&mut inner, space, depth + 1)?;
            return Ok(Some(inner));
        };
        match kind.as_str() {
            "record" | "error" => self.record(object, space, depth).map(|()| None),
            "enum" | "fixed" => {
                let (full, _) = full_name(object, space)?;
                self.define(object, full, true);
                Ok(None)
            }
            "array" | "map" => {
                let key = if kind == "array" { "items" } else { "values" };
                let within = object
                    .get_mut(key)
                    .ok_or_else(|| format!("a type \"{kind}\" in its schema has no \"{key}\""))?;
                self.walk(within, space, depth + 1).map(|()| None)
            }
            // Its values are texts of 36 characters, and are read as what they are.
            "string" => Ok(Some(Value::String(kind))),
            primitive if PRIMITIVE.contains(&primitive) => Ok(None),
            _ => {
                let mut name = kind;
                self.find(&mut name, space)?;
                Ok(Some(Value::String(name)))
            }
        }
    }

    fn record(
        &mut self,
        object: &mut Map<String, Value>,
        space: &str,
        depth: usize,
    ) -> Result<(), String> {
        let (full, within) = full_name(object, space)?;
        self.define(object, full.clone(), false);
        object.insert("type".to_owned(), Value::from("record"));
        let fields = object.get_mut("fields").and_then(Value::as_array_mut);
        let fields =
            fields.ok_or_else(|| format!("the record \"{full}\" in its schema has no fields"))?;
        for field in fields {
            let Some(field) = field.as_object_mut() else {
                return Err(format!(
                    "a field of the record \"{full}\" in its schema is not an object"
                ));
            };
            for key in ["default", "aliases", "doc", "order"] {
                field.remove(key);
            }
            let Some(kind) = field.get_mut("type") else {
                return Err(format!("a field of the record \"{full}\" in its schema has no type"));
            };
            self.walk(kind, &within, depth + 1)?;
        }
        if let Some((_, whole)) = self.defined.get_mut(&full) {
            *whole = true;
        }
        Ok(())
    }

    /// Gives a type its new name.
    fn define(&mut self, object: &mut Map<String, Value>, full: String, whole: bool) {
        let name = format!("t{}", self.defined.len());
        for key in ["namespace", "aliases", "doc", "default"] {
            object.remove(key);
        }
        object.insert("name".to_owned(), Value::from(name.clone()));
        self.defined.insert(full, (name, whole));
    }

    /// Changes a name to the one that the type has now.
    fn find(&mut self, name: &mut String, space: &str) -> Result<(), String> {
        if PRIMITIVE.contains(&name.as_str()) {
            return Ok(());
        }
        let full = in_space(name, space);
        self.refers = true;
        match self.defined.get(&full).or_else(|| self.defined.get(name.as_str())) {
            Some((known, true)) => {
                known.clone_into(name);
                Ok(())
            }
            Some((_, false)) => {
                Err(format!("the record \"{full}\" contains itself, which columns cannot"))
            }
            None => Err(format!("its schema speaks of a type \"{full}\" that it does not define")),
        }
    }
}

/// The full name of a type, and the namespace of what is in it.
fn full_name(object: &Map<String, Value>, space: &str) -> Result<(String, String), String> {
    let text = |key: &str| object.get(key).and_then(Value::as_str);
    let name = text("name").ok_or("a type in its schema has no name")?;
    let full = in_space(name, text("namespace").unwrap_or(space));
    let within = full.rsplit_once('.').map_or("", |(within, _)| within).to_owned();
    Ok((full, within))
}

fn in_space(name: &str, space: &str) -> String {
    match name.contains('.') || space.is_empty() {
        true => name.to_owned(),
        false => format!("{space}.{name}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_found_in_the_namespace_around_them() {
        let inner = r#"{"type":"record","name":"In","fields":[{"name":"x","type":"int"}]}"#;
        let schema = format!(
            r#"{{"type":"record","name":"Out","namespace":"com.x","fields":[
                {{"name":"a","type":{inner}}},{{"name":"b","type":["null","In"],"default":null}},
                {{"name":"c","type":"com.x.In"}},{{"name":"d","type":{{"type":"In"}}}}]}}"#
        );
        let schema: Value = serde_json::from_str(&plain(&schema).unwrap().0).unwrap();
        assert_eq!(schema["fields"][1]["type"][1], "t1");
        assert_eq!(schema["fields"][2]["type"], "t1");
        assert_eq!(schema["fields"][3]["type"], "t1");
    }

    #[test]
    fn what_is_no_table_is_said() {
        let error = |schema: &str| plain(schema).unwrap_err();
        assert!(error(r#""long""#).contains("\"long\""));
        assert!(error(r#"{"type":"array","items":"int"}"#).contains("\"array\""));
        let own = r#"{"type":"record","name":"R","fields":[{"name":"r","type":["null","R"]}]}"#;
        assert!(error(own).contains("contains itself"));
        let other = r#"{"type":"record","name":"R","fields":[{"name":"r","type":"S"}]}"#;
        assert!(error(other).contains("\"S\""));
    }
}
