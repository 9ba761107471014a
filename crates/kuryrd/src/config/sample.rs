//! A kuryr.conf to start from: every option with what it is for and its default, commented out.

use super::options::{ALL, Declared, Kind};

/// How long a line of a comment gets, in characters.
const WIDTH: usize = 78;

/// The sample, section by section. Options without an effect are left out.
pub(crate) fn sample() -> String {
    let mut text = String::new();
    let mut group = "";
    for option in ALL.iter().filter(|option| option.kind != Kind::Ignored) {
        if option.group != group {
            group = option.group;
            let gap = if text.is_empty() { "" } else { "\n" };
            text.push_str(&format!("{gap}[{group}]\n"));
        }
        text.push_str(&described(option));
    }
    text
}

fn described(option: &Declared) -> String {
    let mut about = format!("{} ({})", option.doc.trim(), kind(option.kind));
    if !option.formerly.is_empty() {
        about.push_str(&format!(" Former name: {}.", option.formerly.join(", ")));
    }
    let default = match option.default {
        Some(default) => format!("#{} = {default}\n", option.name),
        None => format!("#{} =\n", option.name),
    };
    format!("\n{}{default}", wrapped(&about))
}

fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Text => "text",
        Kind::Secret => "secret",
        Kind::Flag => "true or false",
        Kind::Integer => "whole number",
        Kind::Number => "number",
        Kind::List => "list, with commas",
        Kind::Ignored => "without effect",
    }
}

/// `text` as lines of a comment.
fn wrapped(text: &str) -> String {
    let mut lines = String::new();
    let mut line = "#".to_owned();
    for word in text.split_whitespace() {
        if line.chars().count() + 1 + word.chars().count() > WIDTH {
            lines.push_str(&line);
            lines.push('\n');
            line = "#".to_owned();
        }
        line.push(' ');
        line.push_str(word);
    }
    lines.push_str(&line);
    lines.push('\n');
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_option_that_has_an_effect_is_in_the_sample_once() {
        let sample = sample();
        for option in ALL {
            let line = format!("\n#{} =", option.name);
            // Sections may have options of one name.
            let same = ALL.iter().filter(|other| other.name == option.name);
            let effective = same.filter(|other| other.kind != Kind::Ignored);
            assert_eq!(
                sample.matches(&line).count(),
                effective.count(),
                "{}",
                option.name
            );
        }
    }

    #[test]
    fn lines_fit_a_terminal() {
        let sample = sample();
        let longest = sample.lines().map(|line| line.chars().count()).max();
        assert!(longest <= Some(WIDTH), "{longest:?}");
    }

    #[test]
    fn the_documentation_has_every_option_and_its_default() {
        let page = include_str!("../../../../docs/configuration.md");
        for option in ALL {
            let mention = format!("`{}", option.name);
            assert!(
                page.contains(&mention),
                "docs/configuration.md lacks {mention}"
            );
            let name = format!("`{}`", option.name);
            let heading = format!("\n### [{}]\n", option.group);
            let section = page.split_once(&heading).map_or(page, |(_, rest)| rest);
            let section = section.split("\n### ").next().unwrap_or_default();
            let mut rows = section.lines();
            let row = rows.find(|line| line.starts_with(&format!("| {name} | ")));
            if let (Some(row), Some(default)) = (row, option.default) {
                let shown = format!("| {name} | `{default}` |");
                assert!(row.starts_with(&shown), "{row}: not {shown}");
            }
        }
    }
}
