//! What the owner types.
//!
//! Reading waits in the system and cannot be called off; it happens on a thread that the end of
//! the program takes with it.

use std::{
    io::{self, BufRead, IsTerminal, Read, Write},
    thread,
};

use tokio::sync::mpsc;

/// More is no line that anybody typed or pasted.
const MOST_BYTES: u64 = 64 << 10;

/// The lines of standard input, as they come. Ends when there are no more.
pub fn lines() -> mpsc::Receiver<String> {
    let (sender, receiver) = mpsc::channel(1);
    let reading = thread::Builder::new().name("stdin".to_owned()).spawn(move || {
        let mut input = io::stdin().lock();
        while let Some(line) = line(&mut input) {
            if sender.blocking_send(line).is_err() {
                break;
            }
        }
    });
    // Without a thread to spare nothing can be pasted, and everything else works.
    drop(reading);
    receiver
}

fn line(input: &mut impl BufRead) -> Option<String> {
    let mut bytes = Vec::new();
    let read = input.by_ref().take(MOST_BYTES).read_until(b'\n', &mut bytes).ok()?;
    (read > 0).then(|| String::from_utf8_lossy(&bytes).into_owned())
}

/// Whether somebody can be asked.
pub fn is_terminal() -> bool {
    io::stdin().is_terminal()
}

/// Whether the owner says yes to what was just asked.
pub fn is_agreed() -> bool {
    let _shown = io::stdout().flush();
    line(&mut io::stdin().lock()).is_some_and(|answer| is_yes(&answer))
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded_and_end() {
        let long = vec![b'x'; 100_000];
        let text = [b"one\n".as_slice(), b"\xff\n", &long, b"\nlast"].concat();
        let mut input = text.as_slice();
        let mut lengths = Vec::new();
        while let Some(line) = line(&mut input) {
            lengths.push(line.len());
        }
        assert_eq!(lengths, [4, 4, 65_536, 34_465, 4]);
    }

    #[test]
    fn only_yes_is_yes() {
        for (answer, expected) in
            [("y\n", true), (" YES \n", true), ("", false), ("\n", false), ("yep\n", false)]
        {
            assert_eq!(is_yes(answer), expected, "{answer:?}");
        }
    }
}
