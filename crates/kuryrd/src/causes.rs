//! An error on one line, with all that led to it.

use std::error::Error;

/// `a: b: c`, where `c` caused `b` and `b` caused `a`. A cause that its effect has already told of
/// is not repeated.
pub(crate) fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let told = error.to_string();
        if !text.ends_with(&told) {
            text = format!("{text}: {told}");
        }
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_cause_is_told_once() {
        let refused = anyhow::anyhow!("connection refused");
        let silent = refused.context("no answer: connection refused");
        let error = silent.context("could not list networks");
        assert_eq!(
            with_causes(error.as_ref()),
            "could not list networks: no answer: connection refused"
        );
    }
}
