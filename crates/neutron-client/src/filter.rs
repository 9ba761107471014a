//! What a list is to contain.

use std::fmt;

use form_urlencoded::Serializer;

/// Conditions that all hold for each object of a list; without any, all objects.
#[derive(Clone, Debug, Default)]
pub struct Filter(Vec<(String, String)>);

impl Filter {
    /// No condition yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Only objects whose `field` is `value`. Given twice for a field, either value will do.
    #[must_use]
    pub fn with(mut self, field: &str, value: impl fmt::Display) -> Self {
        self.0.push((field.to_owned(), value.to_string()));
        self
    }

    /// Only objects that carry all these tags.
    #[must_use]
    pub fn tagged(self, tags: &[String]) -> Self {
        self.with("tags", tags.join(","))
    }

    /// Only ports that have this address.
    #[must_use]
    pub fn at(self, address: std::net::IpAddr) -> Self {
        self.with("fixed_ips", format_args!("ip_address={address}"))
    }

    /// Of each object only these fields.
    pub(crate) fn fields(mut self, fields: &[&str]) -> Self {
        self.0.extend(
            fields
                .iter()
                .map(|field| ("fields".to_owned(), (*field).to_owned())),
        );
        self
    }

    pub(crate) fn query(&self) -> String {
        Serializer::new(String::new())
            .extend_pairs(&self.0)
            .finish()
    }
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let pairs: Vec<String> = self
            .0
            .iter()
            .map(|(field, value)| format!("{field} {value}"))
            .collect();
        f.write_str(if pairs.is_empty() { "no condition" } else { "" })?;
        f.write_str(&pairs.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_escaped() {
        let filter = Filter::new()
            .with("name", "a&b c")
            .tagged(&["x:1".into(), "y".into()]);
        assert_eq!(filter.query(), "name=a%26b+c&tags=x%3A1%2Cy");
    }
}
