//! The same files read by oslo.config itself.

use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::files::File;
use super::ini;
use super::options::{self, Declared, Kind};
use super::sources::Sources;
use super::substitute;
use super::value::Setting;

const GENERATED: usize = 2000;

/// Files that people wrote, or that found a difference once.
const CORPUS: &[&[&str]] = &[
    &[""],
    &["[DEFAULT]\nhost = a\n", "[DEFAULT]\nhost = b\n"],
    &["[DEFAULT]\nhost = a\n[neutron]\n[DEFAULT]\nhost = c\n"],
    &["[DEFAULT]\nlogdir = old\nlog_dir = new\n"],
    &["[DEFAULT]\nlog_dir = new\n", "[DEFAULT]\nlogdir = old\n"],
    &["[Neutron]\nregion_name = One\n[NEUTRON]\nregion_name = Two\n"],
    &["[default]\nhost = a\n"],
    &["[ DEFAULT ]\nhost = a\n"],
    &["[DEFAULT] # comment\nhost = a\n"],
    &["[DEFAULT\nhost = a\n"],
    &["[]\n"],
    &["host = a\n"],
    &["[DEFAULT]\nhost\n"],
    &["[DEFAULT]\n= a\n"],
    &["[DEFAULT]\nhost = a\n  b\n\tc\n\n"],
    &["[DEFAULT]\nhost = a\n\n b\n"],
    &["[DEFAULT]\nhost = a\n# c\n b\n"],
    &["[DEFAULT]\nhost =\n b\n"],
    &["[DEFAULT]\r\nhost = a\r\n"],
    &["[DEFAULT]\rhost = a\rbindir = /b"],
    &["\u{feff}[DEFAULT]\nhost = a\n"],
    &["[DEFAULT]\nhost = \"a\"\nbindir = 'b\nstate_path = \"\n"],
    &["[DEFAULT]\nhost = \u{a0}a\u{1f}\n\u{a0}bindir=/x\n"],
    &["[DEFAULT]\nhost: a = b\nbindir = c : d\n"],
    &["[DEFAULT]\nhost = $bindir\nbindir = ${binding.veth_dst_prefix}\n"],
    &["[DEFAULT]\nhost = pa$word\n"],
    &["[DEFAULT]\nhost = pa$$word\\$x$\n"],
    &["[DEFAULT]\nhost = $host\n"],
    &["[DEFAULT]\nhost = $bindir\nbindir = $state_path\nstate_path = $host\n"],
    &["[neutron]\nregion_name = $host $username\nusername = u\n[DEFAULT]\nhost = h\n"],
    &["[DEFAULT]\nhost = ${DEFAULT.bindir}\n"],
    &["[DEFAULT]\nhost = ${neutron.host}\n"],
    &["[DEFAULT]\nhost = ${nothing.host}\n"],
    &["[DEFAULT]\nhost = $bindir.\n"],
    &["[DEFAULT]\nhost = ${bindir\nstate_path=$ $1 ${}\n"],
    &["[DEFAULT]\nhost = $debug $enabled_port_drivers\nenabled_port_drivers = a,b,\n"],
    &["[DEFAULT]\ndebug = maybe\nhost = $debug\n"],
    &["[DEFAULT]\nenabled_port_drivers = , a ,, b,,\n"],
    &["[neutron]\nvif_plugging_timeout = 1_0\ninsecure = ON\n"],
    &["[neutron]\nvif_plugging_timeout =\n"],
    &["[neutron]\nvif_plugging_timeout = 0x10\ntimeout = 1e3\n"],
    &["[neutron]\nauth_plugin = a\n[binding]\ndriver = b\n"],
];

#[test]
#[ignore = "needs oslo.config: make test"]
fn files_are_read_as_oslo_config_reads_them() {
    let mut cases: Vec<Vec<String>> = CORPUS
        .iter()
        .map(|files| files.iter().map(|file| file.to_string()).collect())
        .collect();
    let mut runner = TestRunner::deterministic();
    let generated = prop::collection::vec(file(), 1..3);
    for _ in 0..GENERATED {
        cases.push(generated.new_tree(&mut runner).unwrap().current());
    }
    let theirs = oslo(&cases);
    assert_eq!(theirs.len(), cases.len());
    let mut differences = String::new();
    for (files, theirs) in cases.iter().zip(theirs) {
        let ours = ours(files);
        if ours != theirs {
            let _ = writeln!(differences, "{files:?}\n  ours   {ours}\n  theirs {theirs}");
        }
    }
    assert!(differences.is_empty(), "{differences}");
}

/// `null` if a file cannot be read, else for each option its value, or `"!"` if it has none.
fn ours(files: &[String]) -> Value {
    let documents: Vec<_> = files.iter().map(|text| ini::parse(text)).collect();
    if documents.iter().any(|document| !document.faults.is_empty()) {
        return Value::Null;
    }
    let sources = Sources {
        files: documents
            .into_iter()
            .map(|document| File {
                mode: 0o600,
                path: PathBuf::new(),
                document,
            })
            .collect(),
        ..Sources::default()
    };
    compared()
        .map(|option| {
            let found = sources.find(option.group, option);
            let value = substitute::value(&sources, option.group, option, found.as_ref())
                .and_then(|text| typed(option, found.is_some(), &text))
                .unwrap_or_else(|_| json!("!"));
            (format!("{}.{}", option.group, option.name), value)
        })
        .collect::<serde_json::Map<_, _>>()
        .into()
}

fn typed(option: &Declared, given: bool, text: &str) -> Result<Value, String> {
    if !given && option.default.is_none() {
        return Ok(Value::Null);
    }
    Ok(match option.kind {
        Kind::Flag => bool::parse(text)?.into(),
        Kind::Integer => i64::parse(text)?.into(),
        Kind::List => Vec::<String>::parse(text)?.into(),
        Kind::Text | Kind::Secret | Kind::Number | Kind::Ignored => text.into(),
    })
}

/// Not the numbers with fractions: we refuse infinity, and their text depends on the language.
fn compared() -> impl Iterator<Item = &'static Declared> {
    options::ALL
        .iter()
        .copied()
        .filter(|option| !matches!(option.kind, Kind::Number | Kind::Ignored))
}

fn oslo(cases: &[Vec<String>]) -> Vec<Value> {
    #[expect(clippy::disallowed_methods, reason = "a test's own switch")]
    let python = std::env::var("KURYR_TEST_OSLO_PYTHON")
        .expect("KURYR_TEST_OSLO_PYTHON: a Python interpreter that has oslo.config");
    let options: Vec<Value> = compared()
        .map(|option| {
            let kind = format!("{:?}", option.kind);
            json!([
                option.group,
                option.name,
                kind,
                option.default,
                option.formerly
            ])
        })
        .collect();
    let mut python = Command::new(python)
        .args(["-c", include_str!("differential.py")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let question = json!({ "options": options, "cases": cases }).to_string();
    let mut input = python.stdin.take().unwrap();
    input.write_all(question.as_bytes()).unwrap();
    drop(input);
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success());
    serde_json::from_slice(&output.stdout).unwrap()
}

fn file() -> impl Strategy<Value = String> {
    prop::collection::vec(line(), 0..12).prop_map(|lines| lines.concat())
}

fn line() -> impl Strategy<Value = String> {
    let section = prop::sample::select(vec!["DEFAULT", "neutron", "Neutron", "binding", "other"])
        .prop_map(|name| format!("[{name}]\n"));
    let assignment = (option_name(), separator(), value())
        .prop_map(|(name, separator, value)| format!("{name}{separator}{value}\n"));
    prop_oneof![
        3 => section,
        12 => assignment,
        2 => value().prop_map(|value| format!("  {value}\n")),
        1 => Just("\n".to_owned()),
        1 => Just("# comment\n".to_owned()),
        1 => Just("[DEFAULT]\n".to_owned()),
        1 => "[ -~\t]{0,6}\n",
    ]
}

fn option_name() -> impl Strategy<Value = String> {
    let names: Vec<&str> = compared()
        .flat_map(|option| option.formerly.iter().copied().chain([option.name]))
        .collect();
    prop::sample::select(names).prop_map(str::to_owned)
}

fn separator() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["=", " = ", ":", " : ", "\t=\t"])
}

fn value() -> impl Strategy<Value = String> {
    // Not by former names: oslo.config finds some of those from any section.
    let names: Vec<&str> = compared().map(|option| option.name).collect();
    let reference = (prop::sample::select(names), any::<bool>()).prop_map(|(name, braced)| {
        if braced {
            format!("${{{name}}}")
        } else {
            format!("${name}")
        }
    });
    let piece = prop_oneof![
        4 => "[a-z0-9 ]{1,4}",
        2 => prop::sample::select(vec!["$", "$$", "\\$", "\"", "'", ",", "{", "}", ".", "\u{a0}", "é"])
            .prop_map(str::to_owned),
        1 => prop::sample::select(vec!["true", "no", "17", "-1"]).prop_map(str::to_owned),
        1 => reference,
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}
