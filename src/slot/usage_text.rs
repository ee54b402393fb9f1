//! What is left of a window, as people and other programs write it: `95% left · resets 3h`.
//!
//! Such texts come from lists that are taken over and from the owner's keyboard. A percentage is
//! what is left unless a word says that it is used; how long it lasts is said in units of time.
//!
//! **Invariant:** no text makes this panic, and what is left is within 0 and 100.
//!
//! Not here: what the upstream itself reports (`upstream::usage`).

use jiff::{SignedDuration, Timestamp};

const USED: &[&str] = &["used", "consumed", "spent"];
const LEFT: &[&str] = &["left", "remaining", "unused", "available", "free"];
/// With what follows, such as `resets` and `reset in`.
const RESET: &str = "reset";

/// The percentage that is left, 0 to 100, and when the window resets, if that is said. `None` when
/// there is no percentage.
pub fn read(text: &str, now: Timestamp) -> Option<(f64, Option<Timestamp>)> {
    let text = text.to_ascii_lowercase();
    let (percent, before, after) = percentage(&text)?;
    let percent = percent.clamp(0.0, 100.0);
    let left = if is_used(before, after) { 100.0 - percent } else { percent };
    let resets_in = text.split_once(RESET).and_then(|(_, after)| wait(after));
    Some((left, resets_in.and_then(|wait| now.checked_add(wait).ok())))
}

/// The first number with a percent sign behind it, and the texts around both.
fn percentage(text: &str) -> Option<(f64, &str, &str)> {
    text.match_indices('%').find_map(|(at, _)| {
        let (until, after) = text.split_at(at);
        let until = until.trim_end();
        let before = until.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == ',');
        let number = until[before.len()..].trim_start_matches(['.', ',']).replace(',', ".");
        Some((number.parse().ok()?, before, after))
    })
}

/// What follows the number decides, as far as it speaks of it, then what stands before it.
fn is_used(before: &str, after: &str) -> bool {
    let says = |word: &str| {
        let is_left = || LEFT.contains(&word).then_some(false);
        USED.contains(&word).then_some(true).or_else(is_left)
    };
    let is_no_letter = |c: char| !c.is_alphabetic();
    let after = after.trim_start_matches('%').split('%').next().unwrap_or_default();
    let mut words = after.split(is_no_letter).chain(before.rsplit(is_no_letter));
    words.find_map(says).unwrap_or_default()
}

/// The time in `text` from its first digit on: `3h`, `6d 23h`, `1 hour, 30 minutes`.
fn wait(text: &str) -> Option<SignedDuration> {
    let mut rest = text.trim_start_matches(|c: char| !c.is_ascii_digit());
    let mut seconds: Option<i64> = None;
    while let Some((part, after)) = first_part(rest) {
        seconds = Some(seconds.unwrap_or_default().checked_add(part)?);
        rest = after.trim_start_matches([' ', ',']);
    }
    seconds.map(SignedDuration::from_secs)
}

/// The seconds of the number and unit that `text` begins with, and what comes after them.
fn first_part(text: &str) -> Option<(i64, &str)> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let number: i64 = text[..text.len() - rest.len()].parse().ok()?;
    let rest = rest.trim_start();
    let after = rest.trim_start_matches(char::is_alphabetic);
    let unit = match &rest[..rest.len() - after.len()] {
        "w" | "week" | "weeks" => 7 * 24 * 60 * 60,
        "d" | "day" | "days" => 24 * 60 * 60,
        "h" | "hr" | "hrs" | "hour" | "hours" => 60 * 60,
        "m" | "min" | "mins" | "minute" | "minutes" => 60,
        "s" | "sec" | "secs" | "second" | "seconds" => 1,
        _ => return None,
    };
    Some((number.checked_mul(unit)?, after))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: i64 = 60;
    const HOUR: i64 = 60 * MINUTE;
    const DAY: i64 = 24 * HOUR;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).expect("a time")
    }

    #[test]
    fn what_is_left_and_for_how_long_is_read() {
        for (text, left, wait) in [
            ("95% left · resets 3h", 95.0, Some(3 * HOUR)),
            ("84% left · resets 6d 23h", 84.0, Some(6 * DAY + 23 * HOUR)),
            ("99.5% left", 99.5, None),
            ("99,5 % left", 99.5, None),
            ("0% left", 0.0, None),
            ("150%", 100.0, None),
            ("12%", 12.0, None),
            ("about 12 % used", 88.0, None),
            ("150% used", 0.0, None),
            ("12% of the week used, resets in 1h 30m", 88.0, Some(HOUR + 30 * MINUTE)),
            ("Used: 12% · Resets in 59s", 88.0, Some(59)),
            ("12% left (88% used)", 12.0, None),
            ("88% used, 12% left", 12.0, None),
            ("12% unused", 12.0, None),
            ("5h: 40% left, resets 1h30m", 40.0, Some(HOUR + 30 * MINUTE)),
            ("resets 2 days, 3 hours · 84% left", 84.0, Some(2 * DAY + 3 * HOUR)),
            ("84% left · resets 0s", 84.0, Some(0)),
            ("84% left · resets 1w", 84.0, Some(7 * DAY)),
            ("84% left · resets soon", 84.0, None),
            ("84% left · resets at 14:30", 84.0, None),
            ("84% left · resets 3 fortnights", 84.0, None),
            ("resets soon · 84% left", 84.0, None),
            ("% 84%", 84.0, None),
            ("1.2.3% 84%", 84.0, None),
            ("84% left · resets 99999999999999999999d", 84.0, None),
            ("84% left · resets 9999999999999999d", 84.0, None),
            ("84% left · resets 9000000000000000000s 9000000000000000000s", 84.0, None),
            ("84% left · resets 99999999999d", 84.0, None),
        ] {
            let expected = Some((left, wait.map(|wait| at(1_000 + wait))));
            assert_eq!(read(text, at(1_000)), expected, "{text}");
        }
    }

    #[test]
    fn what_has_no_percentage_says_nothing() {
        for text in ["", "%", " % ", ".%", "95 percent", "resets 3h", "a%", "½%", "٣%", "–%"] {
            assert_eq!(read(text, at(1_000)), None, "{text}");
        }
    }
}
