//! Small parts that pages are made of: numbers, times, states, buttons, what is shown when there is nothing.

use std::fmt::Write as _;

use maud::{Markup, html};
use serde_json::Value;

use crate::http::{
    guard::Viewer,
    problem::{Answer, Problem},
};

/// The id in an address; there is nothing where it is no number.
pub(super) fn id(text: &str, what: &str) -> Answer<i64> {
    text.parse().map_err(|_| Problem::missing(format!("there is no such {what}")))
}

/// The way back from what is one of many: to all of them, and what it belongs to.
pub(super) fn crumbs(at: &str, word: &str, of: &Markup) -> Markup {
    html! { nav.crumbs aria-label="Where this is" { a href=(at) { (word) } " / " (of) } }
}

/// What is known of one, by name.
pub(super) fn facts(all: &[(&str, Markup)]) -> Markup {
    html! { dl.facts.wide { @for (name, value) in all { div { dt { (name) } dd { (value) } } } } }
}

/// A number of a row; 0 for none.
pub(super) fn number(row: &Value, column: &str) -> i64 {
    row[column].as_i64().unwrap_or(0)
}

/// A text of a row; empty for none.
pub(crate) fn text<'a>(row: &'a Value, column: &str) -> &'a str {
    row[column].as_str().unwrap_or_default()
}

/// A count, with thin spaces between thousands.
pub(super) fn count(n: i64) -> String {
    let digits = n.unsigned_abs().to_string();
    let mut out = String::new();
    if n < 0 {
        out.push('−');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push('\u{202f}');
        }
        out.push(digit);
    }
    out
}

/// A count of a row; nothing is a quiet dash.
pub(super) fn cell(row: &Value, column: &str) -> Markup {
    match row[column].as_i64() {
        None | Some(0) => html! { span.none { "–" } },
        Some(n) => html! { (count(n)) },
    }
}

/// So many a second, in three digits.
pub(crate) fn rate(n: f64) -> String {
    match n {
        n if n <= 0.0 => "0".to_owned(),
        n if n < 10.0 => format!("{n:.1}"),
        n if n < 10_000.0 => format!("{n:.0}"),
        n if n < 1_000_000.0 => format!("{:.1} k", n / 1_000.0),
        n => format!("{:.1} M", n / 1_000_000.0),
    }
}

/// How long, in the two largest units.
pub(crate) fn span(seconds: f64) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "m"), (1, "s")];
    let seconds = seconds.max(0.0);
    if seconds < 1.0 {
        return format!("{:.0} ms", seconds * 1_000.0);
    } else if seconds < 10.0 {
        return format!("{seconds:.1} s");
    }
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "not below zero; as saturates"
    )]
    let mut left = seconds as u64;
    let (mut out, mut shown) = (String::new(), 0);
    for (size, unit) in UNITS {
        if (left >= size || shown > 0) && shown < 2 {
            let _ = write!(out, "{}{} {unit}", if shown > 0 { " " } else { "" }, left / size);
            left %= size;
            shown += 1;
        }
    }
    out.trim_end_matches(" 0 s").trim_end_matches(" 0 m").trim_end_matches(" 0 h").to_owned()
}

/// Milliseconds, as latencies are read.
pub(super) fn millis(value: &Value) -> Markup {
    match value.as_f64() {
        None => html! { span.none { "–" } },
        Some(ms) if ms < 10.0 => html! { (format!("{ms:.1}")) span.unit { " ms" } },
        Some(ms) if ms < 1_000.0 => html! { (format!("{ms:.0}")) span.unit { " ms" } },
        Some(ms) => html! { (span(ms / 1_000.0)) },
    }
}

/// Bytes, as sizes are read.
pub(super) fn size(bytes: i64) -> String {
    let mut n = f64::from(i32::try_from(bytes / 1024).unwrap_or(i32::MAX));
    if bytes < 1024 {
        return format!("{bytes} B");
    }
    for unit in ["KiB", "MiB", "GiB"] {
        if n < 1024.0 {
            return if n < 10.0 { format!("{n:.1} {unit}") } else { format!("{n:.0} {unit}") };
        }
        n /= 1024.0;
    }
    format!("{n:.1} TiB")
}

/// A time of a row, without its fraction; the whole of it is in the tooltip.
pub(super) fn when(row: &Value, column: &str) -> Markup {
    match row[column].as_str() {
        None => html! { span.none { "–" } },
        Some(at) => {
            let short = at.split_once(['.', '+']).map_or(at, |(head, _)| head).replace('T', " ");
            html! { time datetime=(at) title=(at) { (short) } }
        }
    }
}

/// A state: a dot and its word.
pub(super) fn state(word: &str) -> Markup {
    let class = match word {
        "running" | "taken" | "alive" | "active" | "held" => "busy",
        "done" | "ok" | "nothing to mend" => "good",
        "dead" | "remote error" | "lost" | "critical" => "bad",
        "retrying" | "timed out" | "warning" | "paused" | "unsupported" => "warn",
        _ => "calm",
    };
    html! { span class={ "state " (class) } { span.dot {} (word) } }
}

/// What is shown where there is nothing: what it would be, and how it comes here.
pub(super) fn empty(what: &str, how: &Markup) -> Markup {
    html! { div.empty { p { (what) } p.muted { (how) } } }
}

/// A button that acts, for who may: hidden fields are the target.
pub(super) fn button(
    viewer: &Viewer,
    action: &str,
    word: &str,
    target: &[(&str, &str)],
    back: &str,
) -> Markup {
    let class = if action.contains("delete")
        || action.contains("cancel")
        || action.contains("purge")
        || action.contains("revoke")
    {
        "danger"
    } else {
        ""
    };
    html! {
        @if viewer.may(action) {
            form.act method="post" action="/act" {
                input type="hidden" name="csrf" value=(viewer.csrf);
                input type="hidden" name="action" value=(action);
                input type="hidden" name="back" value=(back);
                @for (name, value) in target { input type="hidden" name=(name) value=(value); }
                button class=(class) type="submit" { (word) }
            }
        }
    }
}

/// The id of the last row of a page that is full: there may be more after it.
pub(crate) fn last_of_full(rows: &[Value], page: i32) -> Option<i64> {
    let full = i32::try_from(rows.len()).is_ok_and(|n| n == page);
    rows.last().filter(|_| full)?["id"].as_i64()
}

/// A value as it is stored, always as text; JSON is set out.
pub(super) fn payload(value: &str) -> Markup {
    let shown = serde_json::from_str::<Value>(value).ok().filter(|v| v.is_object() || v.is_array());
    let shown = shown.and_then(|v| serde_json::to_string_pretty(&v).ok());
    html! { pre.payload tabindex="0" { (shown.as_deref().unwrap_or(value)) } }
}

/// A part of an address, so that it is nothing but that.
pub(super) fn encoded(part: &str) -> String {
    let mut out = String::with_capacity(part.len());
    for byte in part.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => out.push(char::from(byte)),
            byte => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_at_a_glance() {
        assert_eq!(count(1_234_567), "1\u{202f}234\u{202f}567");
        assert_eq!((count(0).as_str(), count(-12).as_str()), ("0", "−12"));
        assert_eq!([rate(0.0), rate(3.25), rate(314.2), rate(31_415.0)], ["0", "3.2", "314", "31.4 k"]);
        assert_eq!(
            [span(0.25), span(3.2), span(75.0), span(3_600.0), span(90_000.0)],
            ["250 ms", "3.2 s", "1 m 15 s", "1 h", "1 d 1 h"]
        );
        assert_eq!([size(12), size(2_048), size(64 * 1024 * 1024)], ["12 B", "2.0 KiB", "64 MiB"]);
    }

    #[test]
    fn a_part_of_an_address_leads_nowhere_else() {
        assert_eq!(encoded("a/b?c=\"&../é"), "a%2Fb%3Fc%3D%22%26..%2F%C3%A9");
    }
}
