//! How slots look on the terminal.

use crate::{
    cli::output::{Section, Tone},
    relay::view::{SlotList, SlotView, WindowView, span_text},
};

const CELLS: usize = 20;

/// All slots, one section each.
pub fn sections(list: &SlotList) -> Vec<Section> {
    list.slots.iter().map(section).collect()
}

fn section(slot: &SlotView) -> Section {
    let name = match &slot.label {
        Some(label) => format!("{} · {label}", slot.id),
        None => slot.id.clone(),
    };
    let section = Section::new(name).toned("State", state(slot), tone(slot));
    let section = match &slot.plan {
        Some(plan) => section.field("Plan", plan),
        None => section,
    };
    let section = slot.windows.iter().fold(section, |section, window| {
        section.field(window_name(window), format!("{}{}", bar(window), limit_name(window)))
    });
    let section = if slot.windows.is_empty() {
        section.field("Usage", "not known yet; `airelays refresh-usage` asks")
    } else {
        section
    };
    let section = match wishes(slot) {
        wishes if wishes.is_empty() => section,
        wishes => section.field("Decided", wishes),
    };
    match slot.in_flight {
        0 => section,
        n => section.field("Under way", n),
    }
}

/// `exhausted: the week window is used up, for 2d 3h`.
fn state(slot: &SlotView) -> String {
    let mut text = slot.state.replace('_', " ");
    if let Some(reason) = &slot.reason {
        text = format!("{text}: {reason}");
    }
    match slot.until_seconds {
        Some(left) => format!("{text}, for {}", span_text(left)),
        None => text,
    }
}

fn tone(slot: &SlotView) -> Tone {
    match slot.state.as_str() {
        "ready" | "full" => Tone::Good,
        "needs_login" => Tone::Bad,
        _ => Tone::Warn,
    }
}

fn window_name(window: &WindowView) -> String {
    match (window.span.as_str(), window.minutes) {
        ("five_hours", _) => "5 h".to_owned(),
        ("day", _) => "Day".to_owned(),
        ("week", _) => "Week".to_owned(),
        ("month", _) => "Month".to_owned(),
        (_, Some(minutes)) => span_text(minutes.saturating_mul(60)),
        (_, None) => "Window".to_owned(),
    }
}

/// Which limit it is, if not the account's own.
fn limit_name(window: &WindowView) -> String {
    match window.limit.as_str() {
        "codex" => String::new(),
        limit => format!(" ({})", window.name.as_deref().unwrap_or(limit)),
    }
}

/// What is left, as a bar and in numbers.
fn bar(window: &WindowView) -> String {
    let left = window.left_percent.clamp(0.0, 100.0);
    // One cell for every five percent, rounded to what is nearest.
    let full: usize = format!("{:.0}", left / 5.0).parse().unwrap_or_default();
    let bar: String = (0..CELLS).map(|n| if n < full { '█' } else { '░' }).collect();
    let resets = match window.resets_in_seconds {
        Some(left) => format!(", resets in {}", span_text(left)),
        None => String::new(),
    };
    format!("{bar} {left:.0} % left{resets}")
}

fn wishes(slot: &SlotView) -> String {
    let mut all = Vec::new();
    if slot.last_resort {
        all.push("last resort".to_owned());
    }
    if slot.priority != 0 {
        all.push(format!("priority {}", slot.priority));
    }
    if let Some(weight) = slot.weight {
        all.push(format!("weight {weight}"));
    }
    if slot.reserve_percent > 0.0 {
        all.push(format!("keeps {} %", slot.reserve_percent));
    }
    if !slot.models.is_empty() {
        all.push(format!("only {}", slot.models.join(", ")));
    }
    all.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_what_is_left_and_for_how_long() {
        let window = |left_percent, resets_in_seconds| WindowView {
            left_percent,
            resets_in_seconds,
            ..WindowView::default()
        };
        for (window, expected) in [
            (window(100.0, None), "████████████████████ 100 % left"),
            (window(0.0, Some(60)), "░░░░░░░░░░░░░░░░░░░░ 0 % left, resets in 1m"),
            (window(52.4, Some(90_000)), "██████████░░░░░░░░░░ 52 % left, resets in 1d 1h"),
        ] {
            assert_eq!(bar(&window), expected);
        }
    }
}
