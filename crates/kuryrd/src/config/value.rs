//! What the text of an option can stand for.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::ini::is_space;

/// A value that is written as text. The error says what is wrong and what is valid.
pub(crate) trait Setting: Default {
    /// Reads the text, which is empty for an option without value or default.
    fn parse(text: &str) -> Result<Self, String>;
}

impl Setting for String {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(text.to_owned())
    }
}

impl Setting for PathBuf {
    fn parse(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            Ok(Self::from(text))
        } else {
            Err(format!("`{text}` is not an absolute path"))
        }
    }
}

/// Empty is unset.
impl<T: Setting> Setting for Option<T> {
    fn parse(text: &str) -> Result<Self, String> {
        if text.is_empty() {
            Ok(None)
        } else {
            T::parse(text).map(Some)
        }
    }
}

/// A secret that was given. There is no default secret: options hold an `Option` of it.
#[derive(Clone, Debug)]
pub(crate) struct Secret(pub(crate) SecretString);

impl Default for Secret {
    fn default() -> Self {
        Self(SecretString::from(String::new()))
    }
}

impl Setting for Secret {
    fn parse(text: &str) -> Result<Self, String> {
        Ok(Self(SecretString::from(text.to_owned())))
    }
}

impl Setting for bool {
    fn parse(text: &str) -> Result<Self, String> {
        match text.to_lowercase().as_str() {
            "true" | "1" | "on" | "yes" => Ok(true),
            "false" | "0" | "off" | "no" => Ok(false),
            _ => Err(format!(
                "`{text}` is not a switch; valid are true, false, yes, no, on, off, 1, 0"
            )),
        }
    }
}

/// Python's `int`: a sign and single underscores between digits are fine.
impl Setting for i64 {
    fn parse(text: &str) -> Result<Self, String> {
        digits(text)
            .and_then(|text| text.parse().ok())
            .ok_or_else(|| format!("`{text}` is not a whole number"))
    }
}

/// Seconds, with or without a fraction.
impl Setting for Duration {
    fn parse(text: &str) -> Result<Self, String> {
        digits(text)
            .and_then(|text| text.parse().ok())
            .and_then(|seconds| Self::try_from_secs_f64(seconds).ok())
            .ok_or_else(|| format!("`{text}` is not a number of seconds; valid are 0 and more"))
    }
}

fn digits(text: &str) -> Option<String> {
    let text = text.trim_matches(is_space);
    let stray = text.starts_with('_') || text.ends_with('_') || text.contains("__");
    (!stray).then(|| text.replace('_', ""))
}

/// Comma-separated; trailing commas do not count.
impl Setting for Vec<String> {
    fn parse(text: &str) -> Result<Self, String> {
        let text = text.trim_matches(is_space).trim_end_matches(',');
        if text.is_empty() {
            return Ok(Self::new());
        }
        Ok(text
            .split(',')
            .map(|item| item.trim_matches(is_space).to_owned())
            .collect())
    }
}

/// One of a few words.
pub(crate) trait Choice: Sized + Copy + 'static {
    /// Each with how it is written.
    const CHOICES: &'static [(&'static str, Self)];

    /// The choice of that word.
    fn choose(word: &str) -> Result<Self, String> {
        Self::CHOICES
            .iter()
            .find(|(name, _)| *name == word)
            .map(|(_, choice)| *choice)
            .ok_or_else(|| {
                let names: Vec<&str> = Self::CHOICES.iter().map(|(name, _)| *name).collect();
                format!("`{word}` is not valid; valid are {}", names.join(", "))
            })
    }
}

/// Declares an enumeration that is written as one of a few words, the first being the default.
macro_rules! choices {
    ($(#[$meta:meta])* $name:ident { $($(#[$each:meta])* $variant:ident = $word:literal),+ $(,)? }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub(crate) enum $name {
            #[default]
            $($(#[$each])* $variant),+
        }

        impl $crate::config::value::Choice for $name {
            const CHOICES: &'static [(&'static str, Self)] = &[$(($word, Self::$variant)),+];
        }
    };
}
pub(crate) use choices;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn values_are_read_as_python_reads_them() {
        assert_eq!(i64::parse(" +1_000 "), Ok(1000));
        assert_eq!(bool::parse("YES"), Ok(true));
        assert_eq!(
            Vec::<String>::parse(" a , b,, "),
            Ok(vec!["a".to_owned(), "b".to_owned()])
        );
        for wrong in ["", "_1", "1__0", "0x10", "1.5"] {
            assert!(i64::parse(wrong).is_err(), "{wrong}");
        }
        for wrong in ["", "-1", "nan", "inf", "1e400", "soon"] {
            assert!(Duration::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_secret_is_never_shown() {
        let secret = Option::<Secret>::parse("hunter2").unwrap();
        assert!(!format!("{secret:?}").contains("hunter2"));
    }

    proptest! {
        #[test]
        fn reading_a_value_never_panics(text in "\\PC*") {
            let _ = (bool::parse(&text), i64::parse(&text), Duration::parse(&text));
            let _ = (Vec::<String>::parse(&text), Option::<PathBuf>::parse(&text));
        }
    }
}
