//! Rows as OVSDB writes them in JSON (RFC 7047, section 5.1), read leniently.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// A row, or some columns of it. A column that is absent or of another type reads as empty.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(crate) struct Row(Map<String, Value>);

impl Row {
    /// The rows in a `select`'s answer.
    pub(crate) fn all_in(answer: &Value) -> Vec<Self> {
        let rows = answer.get("rows").and_then(Value::as_array);
        rows.into_iter()
            .flatten()
            .filter_map(Value::as_object)
            .map(|row| Self(row.clone()))
            .collect()
    }

    /// The row's own id.
    pub(crate) fn id(&self) -> &str {
        self.uuids("_uuid").next().unwrap_or_default()
    }

    /// A text; empty when the set is.
    pub(crate) fn text(&self, column: &str) -> &str {
        self.atoms(column)
            .iter()
            .find_map(Value::as_str)
            .unwrap_or_default()
    }

    /// An integer, unless the set is empty.
    pub(crate) fn integer(&self, column: &str) -> Option<i64> {
        self.atoms(column).iter().find_map(Value::as_i64)
    }

    /// References to other rows.
    pub(crate) fn uuids(&self, column: &str) -> impl Iterator<Item = &str> {
        let value = self.0.get(column);
        let one = value.and_then(uuid_in);
        let many = if one.is_some() {
            &[]
        } else {
            self.atoms(column)
        };
        one.into_iter().chain(many.iter().filter_map(uuid_in))
    }

    /// A map of texts.
    pub(crate) fn map(&self, column: &str) -> BTreeMap<&str, &str> {
        let pairs = self.0.get(column).and_then(|value| tagged(value, "map"));
        let pairs = pairs.and_then(Value::as_array).into_iter().flatten();
        pairs
            .filter_map(|pair| Some((pair.get(0)?.as_str()?, pair.get(1)?.as_str()?)))
            .collect()
    }

    /// A set's elements; one element may come without the set around it.
    fn atoms(&self, column: &str) -> &[Value] {
        match self.0.get(column) {
            None => &[],
            Some(value) => match tagged(value, "set").and_then(Value::as_array) {
                Some(atoms) => atoms,
                None => std::slice::from_ref(value),
            },
        }
    }
}

/// A map of texts as OVSDB wants it.
pub(crate) fn map<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Value {
    let pairs: Vec<_> = pairs
        .into_iter()
        .map(|(key, value)| json!([key, value]))
        .collect();
    json!(["map", pairs])
}

/// A reference to a row as OVSDB wants it.
pub(crate) fn uuid(id: &str) -> Value {
    json!(["uuid", id])
}

fn uuid_in(value: &Value) -> Option<&str> {
    tagged(value, "uuid").and_then(Value::as_str)
}

fn tagged<'a>(value: &'a Value, tag: &str) -> Option<&'a Value> {
    match value.as_array()?.as_slice() {
        [name, content] if name.as_str() == Some(tag) => Some(content),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn row(columns: &Value) -> Row {
        Row::all_in(&json!({"rows": [columns]})).remove(0)
    }

    #[test]
    fn columns_read_with_and_without_a_set_around_them() {
        let row = row(&json!({
            "_uuid": ["uuid", "u0"],
            "one": ["uuid", "u1"],
            "two": ["set", [["uuid", "u1"], ["uuid", "u2"]]],
            "tag": 7,
            "untagged": ["set", []],
            "error": ["set", ["broken"]],
            "external_ids": ["map", [["owner", "kuryr"]]],
        }));
        assert_eq!(row.id(), "u0");
        assert_eq!(row.uuids("one").collect::<Vec<_>>(), ["u1"]);
        assert_eq!(row.uuids("two").collect::<Vec<_>>(), ["u1", "u2"]);
        assert_eq!(
            (row.integer("tag"), row.integer("untagged")),
            (Some(7), None)
        );
        assert_eq!((row.text("error"), row.text("none")), ("broken", ""));
        assert_eq!(row.map("external_ids").get("owner"), Some(&"kuryr"));
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<i64>().prop_map(Value::from),
            prop_oneof![Just("set"), Just("map"), Just("uuid"), Just("x")].prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop::collection::vec(inner, 0..4).prop_map(Value::from)
        })
    }

    proptest! {
        #[test]
        fn reading_any_column_never_panics(value in json_value()) {
            let row = row(&json!({"c": value, "_uuid": value}));
            let _ = (row.id(), row.text("c"), row.integer("c"), row.uuids("c").count(), row.map("c"));
            let _ = Row::all_in(&value);
        }

        #[test]
        fn a_map_reads_back_as_written(pairs in prop::collection::btree_map(".{0,8}", ".{0,8}", 0..5)) {
            let written = map(pairs.iter().map(|(key, value)| (key.as_str(), value.as_str())));
            let row = row(&json!({"c": written}));
            let read: BTreeMap<String, String> =
                row.map("c").into_iter().map(|(k, v)| (k.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(read, pairs);
        }
    }
}
