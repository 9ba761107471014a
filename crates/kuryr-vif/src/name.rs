//! The names that the kernel accepts for interfaces.

use std::fmt;
use std::str::FromStr;

use crate::PciSlot;

/// The name of a network interface: 1 to 15 bytes, without `/` or white space, not `.` or `..`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct IfName(String);

impl IfName {
    /// The kernel's limit in bytes, without the terminating NUL (`IFNAMSIZ` - 1).
    pub const MAX_LEN: usize = 15;

    /// What the names of interfaces begin with that are to be containers'.
    pub(crate) const CONTAINER: &str = "t_c";

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// `prefix` and `port`, cut to nova's 14 characters (`NIC_NAME_LEN`): other tools on the host
    /// look for exactly these names.
    pub(crate) fn of_port(prefix: &str, port: &str) -> Result<Self, InvalidIfName> {
        let name: String = prefix.chars().chain(port.chars()).take(14).collect();
        name.parse()
    }

    /// What stands for a device where interfaces take turns.
    pub(crate) fn of_slot(slot: &PciSlot) -> Self {
        Self(slot.to_string())
    }
}

impl FromStr for IfName {
    type Err = InvalidIfName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let fits = (1..=Self::MAX_LEN).contains(&name.len());
        let illegal = |c: char| c == '/' || c == '\0' || c.is_whitespace();
        let legal = !name.contains(illegal) && name != "." && name != "..";
        (fits && legal)
            .then(|| Self(name.to_owned()))
            .ok_or_else(|| InvalidIfName(name.to_owned()))
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not a name that the kernel accepts for an interface.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{0:?} is not an interface name: 1 to 15 bytes, no slash, no white space")]
pub struct InvalidIfName(String);

/// The name of a program that binds interfaces: a file's name, not a path, and no option.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProgramName(String);

impl ProgramName {
    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProgramName {
    type Err = InvalidProgramName;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        let legal = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-' || c == '.';
        let fits = (1..=64).contains(&name.len()) && name.chars().all(legal);
        (fits && !name.starts_with(['.', '-']))
            .then(|| Self(name.to_owned()))
            .ok_or_else(|| InvalidProgramName(name.to_owned()))
    }
}

impl fmt::Display for ProgramName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is not a name that a program for interfaces can have.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "{0:?} can be no program's name: letters, digits, '_', '-' and '.', and not one of the last two first"
)]
pub struct InvalidProgramName(String);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_the_kernel_refuses_is_no_name() {
        for name in [
            "",
            ".",
            "..",
            "a/b",
            "a b",
            "a\tb",
            "a\0",
            "sixteen-bytes-xx",
            "ééééébutlong",
        ] {
            assert!(name.parse::<IfName>().is_err(), "{name:?}");
        }
        assert!("fifteen-bytes-x".parse::<IfName>().is_ok());
    }

    #[test]
    fn a_program_is_a_file_in_the_folder_for_programs() {
        for name in [
            "",
            ".",
            "..",
            ".hidden",
            "../bin/sh",
            "a/b",
            "-x",
            "a b",
            "a\0",
            "a;b",
        ] {
            assert!(name.parse::<ProgramName>().is_err(), "{name:?}");
        }
        for name in ["midonet", "iovisor", "hw_veb", "vhostuser", "vendor-2.x"] {
            assert_eq!(name.parse::<ProgramName>().unwrap().as_str(), name);
        }
    }

    proptest! {
        #[test]
        fn a_name_reads_back_as_written(text in "\\PC{0,20}") {
            if let Ok(name) = text.parse::<IfName>() {
                prop_assert_eq!(name.to_string(), text);
                prop_assert!(name.as_str().len() <= IfName::MAX_LEN);
            }
        }

        #[test]
        fn ports_that_differ_early_have_different_names(a in "[0-9a-f]{8}-[0-9a-f]{4}", b in "[0-9a-f]{8}-[0-9a-f]{4}") {
            let (one, other) = (IfName::of_port("tap", &a).unwrap(), IfName::of_port("tap", &b).unwrap());
            prop_assert_eq!(one == other, a[..11] == b[..11]);
        }
    }
}
