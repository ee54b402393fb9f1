//! Events as bytes: lines, blank lines, and everything that is allowed between them.

use bytes::{Bytes, BytesMut};

use crate::sim::{
    script::{Quirk, Shape},
    turn::Event,
};

/// How events are written.
#[derive(Clone, Copy, Debug)]
pub(super) struct Framing {
    newline: &'static str,
    event_lines: bool,
    multi_data: bool,
    comments: bool,
}

impl Framing {
    pub(super) fn of(shape: &Shape) -> Self {
        let newline = match (shape.has(Quirk::Crlf), shape.has(Quirk::Cr)) {
            (true, _) => "\r\n",
            (false, true) => "\r",
            (false, false) => "\n",
        };
        Self {
            newline,
            event_lines: !shape.has(Quirk::NoEventLines),
            multi_data: shape.has(Quirk::MultiData),
            comments: shape.has(Quirk::Comments),
        }
    }

    /// An event with everything up to and including the blank line.
    pub(super) fn write(self, event: &Event) -> Bytes {
        let mut lines = Vec::new();
        if self.comments {
            lines.extend([": keep-alive".to_owned(), String::new(), ":".to_owned()]);
        }
        if self.event_lines {
            lines.push(format!("event: {}", event.kind()));
        }
        if self.comments {
            lines.push(": between the lines".to_owned());
        }
        if self.multi_data {
            lines.extend(format!("{:#}", event.body).lines().map(|line| format!("data: {line}")));
        } else {
            lines.push(format!("data: {}", event.body));
        }
        let mut bytes = BytesMut::new();
        for line in &lines {
            bytes.extend_from_slice(line.as_bytes());
            bytes.extend_from_slice(self.newline.as_bytes());
        }
        bytes.extend_from_slice(self.newline.as_bytes());
        if event.half {
            bytes.truncate(bytes.len() / 2);
        }
        bytes.freeze()
    }
}
