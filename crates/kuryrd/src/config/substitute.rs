//! `$option`, `${group.option}` and `$$` in values, as oslo.config understands them.

use super::options::{self, Declared, Kind};
use super::sources::{Found, Sources};
use super::value::Setting;

/// The option's text after substitution: what was found for it, or its default.
pub(crate) fn value(
    sources: &Sources,
    group: &str,
    option: &'static Declared,
    found: Option<&Found>,
) -> Result<String, String> {
    let mut trail = vec![(group.to_owned(), option.name)];
    let value = expand(sources, group, option, found, &mut trail);
    match option.kind {
        // What follows the dollar sign is part of the secret.
        Kind::Secret => value.map_err(|_| {
            "a `$` in it refers to no option that can be used; a dollar sign itself is written `$$`"
                .to_owned()
        }),
        Kind::Text | Kind::Flag | Kind::Integer | Kind::Number | Kind::List | Kind::Ignored => {
            value
        }
    }
}

type Trail = Vec<(String, &'static str)>;

fn expand(
    sources: &Sources,
    group: &str,
    option: &'static Declared,
    found: Option<&Found>,
    trail: &mut Trail,
) -> Result<String, String> {
    let default = option.default.unwrap_or_default();
    let text = found.map_or(default, |found| found.text.as_str());
    let text = substitute(text, &mut |reference| {
        refer(sources, group, reference, trail)
    })?;
    match option.kind {
        // oslo.config takes an empty number for one that was not given.
        Kind::Integer | Kind::Number if text.trim().is_empty() => Ok(default.to_owned()),
        Kind::Integer
        | Kind::Number
        | Kind::Text
        | Kind::Secret
        | Kind::Flag
        | Kind::List
        | Kind::Ignored => Ok(text),
    }
}

/// The text that `$reference` stands for in an option of `group`.
fn refer(
    sources: &Sources,
    group: &str,
    reference: &str,
    trail: &mut Trail,
) -> Result<String, String> {
    let (group, name) = reference.split_once('.').unwrap_or((group, reference));
    let here = |group: &str| {
        let declared = if group == sources.auth_group() {
            "neutron"
        } else {
            group
        };
        options::find(declared, name).map(|option| (group.to_owned(), option))
    };
    // As for oslo.config, no reference spells out `DEFAULT`.
    let target = if reference.starts_with("DEFAULT.") {
        None
    } else if reference.contains('.') {
        here(group)
    } else {
        here(group).or_else(|| here("DEFAULT"))
    };
    let (group, option) = target.ok_or_else(|| {
        format!("`${reference}` names no option; a dollar sign itself is written `$$`")
    })?;
    let step = (group.clone(), option.name);
    if trail.contains(&step) {
        return Err(format!(
            "`${reference}` leads back to where it is used, by way of {}",
            trail.iter().map(|(_, n)| *n).collect::<Vec<_>>().join(", ")
        ));
    }
    trail.push(step);
    let found = sources.find(&group, option);
    let text = expand(sources, &group, option, found.as_ref(), trail)?;
    trail.pop();
    as_python_prints(option.kind, &text)
        .map_err(|wrong| format!("`${reference}` cannot be used: {wrong}"))
}

/// A value put into another is first what its option takes it for.
fn as_python_prints(kind: Kind, text: &str) -> Result<String, String> {
    match kind {
        Kind::Flag => bool::parse(text).map(|on| if on { "True" } else { "False" }.to_owned()),
        Kind::Integer if text.is_empty() => Ok(String::new()),
        Kind::Integer => i64::parse(text).map(|number| number.to_string()),
        Kind::List => {
            let items = Vec::<String>::parse(text)?;
            let quoted: Vec<String> = items.iter().map(|item| format!("'{item}'")).collect();
            Ok(format!("[{}]", quoted.join(", ")))
        }
        Kind::Number | Kind::Text | Kind::Secret | Kind::Ignored => Ok(text.to_owned()),
    }
}

/// Replaces each reference by what `lookup` says; `$$` and `\$` are a dollar sign, and so is a `$`
/// that begins no reference.
fn substitute(
    text: &str,
    lookup: &mut dyn FnMut(&str) -> Result<String, String>,
) -> Result<String, String> {
    let text = text.replace("\\$", "$$");
    let mut out = String::with_capacity(text.len());
    let mut rest = text.as_str();
    while let Some((before, after)) = rest.split_once('$') {
        out.push_str(before);
        rest = after;
        if let Some(after) = rest.strip_prefix('$') {
            out.push('$');
            rest = after;
        } else if let Some((name, after)) = braced(rest).or_else(|| identifier(rest)) {
            out.push_str(&lookup(name)?);
            rest = after;
        } else {
            out.push('$');
        }
    }
    out.push_str(rest);
    Ok(out)
}

fn braced(text: &str) -> Option<(&str, &str)> {
    let (name, after) = identifier(text.strip_prefix('{')?)?;
    Some((name, after.strip_prefix('}')?))
}

fn identifier(text: &str) -> Option<(&str, &str)> {
    let first = text.chars().next()?;
    if !(first == '_' || first.is_ascii_alphabetic()) {
        return None;
    }
    let end = text
        .find(|c: char| !(c == '_' || c == '.' || c.is_ascii_alphanumeric()))
        .unwrap_or(text.len());
    Some(text.split_at(end))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shown(text: &str) -> String {
        substitute(text, &mut |name| Ok(format!("<{name}>"))).unwrap()
    }

    #[test]
    fn references_are_replaced_and_escapes_kept() {
        assert_eq!(shown("$a-${b.c}$$d\\$e"), "<a>-<b.c>$d$e");
        assert_eq!(shown("5$ ${ ${} $1 ${x"), "5$ ${ ${} $1 ${x");
    }

    proptest! {
        #[test]
        fn substituting_never_panics(text in "\\PC*|[${}\\\\a.]*") {
            shown(&text);
        }

        #[test]
        fn an_escaped_text_stands_for_itself(text in "[^\\\\]*") {
            prop_assert_eq!(shown(&text.replace('$', "$$")), text);
        }
    }
}
