//! How Neutron says no.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The error in a body such as
/// `{"NeutronError": {"type": "PortNotFound", "message": "Port .. could not be found.", "detail": ""}}`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
pub struct Fault {
    /// The name of Neutron's exception, such as `IpAddressGenerationFailure`.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// The sentence for people.
    #[serde(default)]
    pub message: String,
    /// More of it; mostly empty.
    #[serde(default)]
    pub detail: String,
}

#[derive(Deserialize, Serialize)]
struct Body {
    #[serde(rename = "NeutronError")]
    fault: Wording,
}

/// Neutron's middlewares put a plain sentence where Neutron itself puts three fields.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum Wording {
    Full(Fault),
    Sentence(String),
}

impl Fault {
    /// Reads the body of a reply whose status is an error; whatever it is, something can be shown.
    pub fn from_body(body: &[u8]) -> Self {
        match serde_json::from_slice(body) {
            Ok(Body {
                fault: Wording::Full(fault),
            }) => fault,
            Ok(Body {
                fault: Wording::Sentence(message),
            }) => Self::unnamed(&message),
            Err(_) => Self::unnamed(&String::from_utf8_lossy(body)),
        }
    }

    /// The body that carries this fault.
    pub fn to_body(&self) -> serde_json::Value {
        serde_json::json!({ "NeutronError": self })
    }

    fn unnamed(text: &str) -> Self {
        const ENOUGH: usize = 300;
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        Self {
            kind: String::new(),
            message: line.chars().take(ENOUGH).collect(),
            detail: String::new(),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind.as_str(), self.message.as_str()) {
            ("", "") => f.write_str("no reason given"),
            ("", message) => f.write_str(message),
            (kind, "") => f.write_str(kind),
            (kind, message) => write!(f, "{kind}: {message}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_type_and_the_message_are_shown() {
        let body =
            br#"{"NeutronError": {"type": "SubnetInUse", "message": "Ports.", "detail": ""}}"#;
        assert_eq!(Fault::from_body(body).to_string(), "SubnetInUse: Ports.");
    }

    #[test]
    fn a_proxys_page_is_shown_as_one_line() {
        let fault = Fault::from_body(b"<html>\n  <h1>503</h1>\n</html>");
        assert_eq!(fault.to_string(), "<html> <h1>503</h1> </html>");
    }

    proptest! {
        #[test]
        fn any_body_gives_a_text(body: Vec<u8>) {
            prop_assert!(!Fault::from_body(&body).to_string().is_empty());
        }
    }
}
