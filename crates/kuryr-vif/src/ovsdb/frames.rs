//! Cuts a byte stream into JSON objects: OVSDB puts nothing between its messages.

/// What has arrived and is not yet a whole message.
#[derive(Default)]
pub(super) struct Frames {
    buffer: Vec<u8>,
    seen: usize,
    depth: usize,
    in_string: bool,
    escaped: bool,
}

/// The bytes are not a sequence of JSON objects.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct NoObject;

impl Frames {
    /// Adds what has been read.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message, if it is there. Looks at each byte once.
    pub(super) fn next(&mut self) -> Result<Option<Vec<u8>>, NoObject> {
        while let Some(&byte) = self.buffer.get(self.seen) {
            self.seen += 1;
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'{' => self.depth += 1,
                b'}' if self.depth == 1 => return Ok(Some(self.cut())),
                b'}' if self.depth > 1 => self.depth -= 1,
                _ if self.depth == 0 && byte.is_ascii_whitespace() => {}
                _ if self.depth == 0 => return Err(NoObject),
                b'"' => self.in_string = true,
                _ => {}
            }
        }
        Ok(None)
    }

    fn cut(&mut self) -> Vec<u8> {
        let rest = self.buffer.split_off(self.seen);
        (self.seen, self.depth) = (0, 0);
        std::mem::replace(&mut self.buffer, rest)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    proptest! {
        #[test]
        fn messages_come_out_as_they_went_in_however_they_are_cut(
            texts in prop::collection::vec(".{0,12}", 0..8),
            size in 1_usize..40,
        ) {
            let sent: Vec<Value> = texts.iter().map(|text| json!({"a": [text, {text: "}{\"\\"}]})).collect();
            let bytes: Vec<u8> = sent.iter().flat_map(|value| value.to_string().into_bytes()).collect();
            let mut frames = Frames::default();
            let mut received = Vec::new();
            for chunk in bytes.chunks(size) {
                frames.push(chunk);
                while let Some(frame) = frames.next().unwrap() {
                    received.push(serde_json::from_slice::<Value>(&frame).unwrap());
                }
            }
            prop_assert_eq!(received, sent);
        }

        #[test]
        fn noise_never_panics(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut frames = Frames::default();
            frames.push(&bytes);
            while let Ok(Some(_)) = frames.next() {}
        }
    }

    #[test]
    fn what_is_no_object_is_refused() {
        let mut frames = Frames::default();
        frames.push(b" {} 7");
        assert_eq!(frames.next(), Ok(Some(b" {}".to_vec())));
        assert_eq!(frames.next(), Err(NoObject));
    }
}
