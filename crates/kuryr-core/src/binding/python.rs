//! What Neutron says of a port, written as programs have always been told it: as Python shows a `dict`,
//! in double quotes.

use neutron_api::VifDetails;
use serde_json::Value;

/// The details as one argument; `None` where there are none.
pub(super) fn details(details: Option<&VifDetails>) -> String {
    match details.and_then(|details| serde_json::to_value(details).ok()) {
        Some(Value::Object(fields)) if !fields.is_empty() => {
            format!("\"{}\"", shown(&Value::Object(fields)))
        }
        _ => "None".to_owned(),
    }
}

/// A value as `repr()` shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::Null => "None".to_owned(),
        Value::Bool(true) => "True".to_owned(),
        Value::Bool(false) => "False".to_owned(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => quoted(text),
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(fields) => {
            let fields = fields
                .iter()
                .map(|(key, value)| format!("{}: {}", quoted(key), shown(value)));
            format!("{{{}}}", fields.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Single quotes, unless the text has some and no double ones.
fn quoted(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') {
        '"'
    } else {
        '\''
    };
    let mut shown = String::from(quote);
    for c in text.chars() {
        match c {
            '\\' => shown.push_str("\\\\"),
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            c if c == quote => shown.extend(['\\', c]),
            c if u32::from(c) < 0x20 || u32::from(c) == 0x7f => {
                shown.push_str(&format!("\\x{:02x}", u32::from(c)));
            }
            c => shown.push(c),
        }
    }
    shown.push(quote);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(json: &str) -> String {
        details(Some(&serde_json::from_str(json).unwrap()))
    }

    #[test]
    fn no_details_are_none() {
        assert_eq!(details(None), "None");
        assert_eq!(of("{}"), "None");
    }

    /// The right sides are what Python 3.11 printed of the left ones.
    #[test]
    fn details_are_what_python_shows() {
        for (json, python) in [
            (r#"{"port_filter": true}"#, r"{'port_filter': True}"),
            (
                r#"{"a": [1, 2.5, null, false], "b": {"0": "ovn"}}"#,
                r"{'a': [1, 2.5, None, False], 'b': {'0': 'ovn'}}",
            ),
            (r#"{"a": "it's"}"#, r#"{'a': "it's"}"#),
            (r#"{"a": "it's \"so\""}"#, r#"{'a': 'it\'s "so"'}"#),
            (r#"{"a": "b\\c\n\u0001"}"#, r"{'a': 'b\\c\n\x01'}"),
            (r#"{"ä": "ö"}"#, r"{'ä': 'ö'}"),
        ] {
            assert_eq!(of(json), format!("\"{python}\""), "{json}");
        }
    }
}
