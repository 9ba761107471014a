//! Reads oslo.config's dialect of INI: text in, assignments with their positions out.

/// One `key = value`, with what its continuation lines added.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    /// The section as written.
    pub(crate) section: String,
    /// The key as written.
    pub(crate) key: String,
    /// The value without surrounding quotes; continuation lines are joined by a line feed.
    pub(crate) value: String,
    /// Where the key stands, counted from 1.
    pub(crate) line: usize,
}

/// A line that is not INI, and why. The line's text is left out: it may hold a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fault {
    /// Counted from 1.
    pub(crate) line: usize,
    /// What is wrong with it.
    pub(crate) wrong: &'static str,
}

/// Everything one file says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Document {
    /// In the order of the file; the same section and key may come up again.
    pub(crate) assignments: Vec<Assignment>,
    /// Each `[section]` line, with its line number.
    pub(crate) sections: Vec<(String, usize)>,
    /// What could not be read. oslo.config stops at the first; this goes on, to report all.
    pub(crate) faults: Vec<Fault>,
}

/// Reads a whole file.
pub(crate) fn parse(text: &str) -> Document {
    let mut reader = Reader::default();
    // Python's text mode takes all three line ends.
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    for (number, line) in text.split('\n').enumerate() {
        reader.line(number + 1, line.trim_end_matches(is_space));
    }
    reader.document
}

#[derive(Default)]
struct Reader {
    document: Document,
    section: Option<String>,
    /// Whether the next line may continue the last assignment.
    open: bool,
}

impl Reader {
    fn line(&mut self, number: usize, line: &str) {
        if line.starts_with([' ', '\t']) {
            return self.continuation(number, line.trim_start_matches(is_space));
        }
        self.open = false;
        if line.is_empty() || line.starts_with(['#', ';']) {
            return;
        }
        if line.starts_with('[') {
            self.section(number, line);
        } else {
            self.assignment(number, line);
        }
    }

    fn continuation(&mut self, number: usize, text: &str) {
        match self.document.assignments.last_mut() {
            Some(assignment) if self.open => {
                assignment.value.push('\n');
                assignment.value.push_str(text);
            }
            _ => self.fault(
                number,
                "an indented line continues an option, but none is open here",
            ),
        }
    }

    fn section(&mut self, number: usize, line: &str) {
        let Some(name) = line.strip_prefix('[').and_then(|l| l.strip_suffix(']')) else {
            return self.fault(number, "a section must end with `]`");
        };
        if name.is_empty() {
            return self.fault(number, "a section needs a name");
        }
        self.section = Some(name.to_owned());
        self.document.sections.push((name.to_owned(), number));
    }

    fn assignment(&mut self, number: usize, line: &str) {
        let Some((key, value)) = line.split_once(['=', ':']) else {
            return self.fault(number, "neither `key = value`, a [section] nor a # comment");
        };
        let key = key.trim_matches(is_space);
        if key.is_empty() {
            return self.fault(number, "there is no option name before the `=`");
        }
        let Some(section) = self.section.clone() else {
            return self.fault(number, "an option needs a [section] line above it");
        };
        self.open = true;
        self.document.assignments.push(Assignment {
            section,
            key: key.to_owned(),
            value: unquoted(value.trim_matches(is_space)).to_owned(),
            line: number,
        });
    }

    fn fault(&mut self, line: usize, wrong: &'static str) {
        self.document.faults.push(Fault { line, wrong });
    }
}

/// Takes off one pair of equal quotes. A lone quote is its own pair, as for oslo.config.
fn unquoted(value: &str) -> &str {
    for quote in ['"', '\''] {
        if value == quote.to_string() {
            return "";
        }
        if let Some(inner) = value
            .strip_prefix(quote)
            .and_then(|v| v.strip_suffix(quote))
        {
            return inner;
        }
    }
    value
}

/// Python's `str.isspace`, which counts the four ASCII separators too.
pub(crate) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\x1c'..='\x1f').contains(&c)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn values(text: &str) -> Vec<(String, String, String)> {
        let document = parse(text);
        assert_eq!(document.faults, []);
        document
            .assignments
            .into_iter()
            .map(|a| (a.section, a.key, a.value))
            .collect()
    }

    fn owned(expected: &[(&str, &str, &str)]) -> Vec<(String, String, String)> {
        expected
            .iter()
            .map(|(s, k, v)| (s.to_string(), k.to_string(), v.to_string()))
            .collect()
    }

    #[test]
    fn a_section_may_be_opened_again() {
        let text = "[a]\nx = 1\n[b]\nx = 2\n[a]\ny : 3\n";
        assert_eq!(
            values(text),
            owned(&[("a", "x", "1"), ("b", "x", "2"), ("a", "y", "3")])
        );
    }

    #[test]
    fn an_indented_line_continues_a_value_and_a_comment_ends_it() {
        assert_eq!(
            values("[a]\nx = 1\n  2\n\t3 # not a comment\ny =\n z"),
            owned(&[("a", "x", "1\n2\n3 # not a comment"), ("a", "y", "\nz")])
        );
        assert_eq!(parse("[a]\nx = 1\n# c\n 2").faults.len(), 1);
        assert_eq!(parse("[a]\nx = 1\n\n 2").faults.len(), 1);
    }

    #[test]
    fn equal_quotes_come_off_and_others_stay() {
        assert_eq!(
            values("[a]\nb='1'\nb=\"2\"\nb='3\"\nb=\"\nb=''\nb=\"x\"y\""),
            owned(&[
                ("a", "b", "1"),
                ("a", "b", "2"),
                ("a", "b", "'3\""),
                ("a", "b", ""),
                ("a", "b", ""),
                ("a", "b", "x\"y"),
            ])
        );
    }

    #[test]
    fn every_fault_is_reported_with_its_line() {
        let faults = parse("x = 1\n[a\n[]\n[b]\nnonsense\n= 2\n 3\nok = 4").faults;
        let lines: Vec<usize> = faults.iter().map(|fault| fault.line).collect();
        assert_eq!(lines, [1, 2, 3, 5, 6, 7]);
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "\\PC*|[\\[\\]=:#; \t\r\n\"'a-c\u{a0}\u{1c}\u{feff}]*") {
            parse(&text);
        }

        #[test]
        fn what_is_written_is_read_back(
            written in prop::collection::vec(
                ("[a-z][a-z0-9_.-]{0,8}", "[a-z][a-z_-]{0,8}", "[!-~]([ -~]{0,12}[!-~])?"), 0..12),
        ) {
            let text: String = written
                .iter()
                .map(|(section, key, value)| format!("[{section}]\n{key} = \"{value}\"\n"))
                .collect();
            prop_assert_eq!(values(&text), written);
        }
    }
}
