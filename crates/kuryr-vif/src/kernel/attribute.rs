//! Attributes of netlink messages, for kinds that no library writes.

/// An attribute that holds attributes.
pub(super) fn nested(kind: u16, content: &[u8]) -> Vec<u8> {
    attribute(NESTED | kind, content)
}

/// An attribute that holds a text, ended by a zero.
pub(super) fn text(kind: u16, text: &str) -> Vec<u8> {
    attribute(kind, &[text.as_bytes(), b"\0"].concat())
}

/// Length (without the padding), kind, content, padding to four bytes.
pub(super) fn attribute(kind: u16, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(4 + content.len()).unwrap_or(u16::MAX);
    let mut bytes = [length.to_ne_bytes(), kind.to_ne_bytes()].concat();
    bytes.extend(content);
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

/// `NLA_F_NESTED` of include/uapi/linux/netlink.h.
const NESTED: u16 = 0x8000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attributes_are_padded_and_say_how_long_they_are_without_it() {
        assert_eq!(text(1, "ab"), [7, 0, 1, 0, b'a', b'b', 0, 0]);
        assert_eq!(nested(3, &[9]), [5, 0, 3, 0x80, 9, 0, 0, 0]);
    }
}
