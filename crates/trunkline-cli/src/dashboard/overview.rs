//! Overview: what flows in each word, what waits, and what needs somebody.

use maud::{Markup, html};
use serde_json::Value;

use super::{
    chart,
    parts::{count, encoded, rate, size, span, state, text},
};
use crate::http::{flow::Point, live::Snapshot};

/// For how long a job may wait, or a consumer be behind, before it is shown as what needs somebody; in seconds.
const LONG: f64 = 300.0;
const RANGES: [(usize, &str); 3] = [(60, "1 min"), (300, "5 min"), (900, "15 min")];

pub(super) fn region(s: &Snapshot, range: usize) -> Markup {
    html! {
        div.head {
            h1 { "Overview" }
            nav.range aria-label="Range of the charts" {
                @for (seconds, word) in RANGES {
                    a href={ "/?range=" (seconds) } aria-current=[(seconds == range).then_some("true")] { (word) }
                }
            }
        }
        div.words {
            (word(s, range, ("Requests", "/requests"), ["sent", "answered", "failed"], |p| [p.sent, p.answered, p.failed],
                &[("waiting", s.sum("channels", "waiting"), ""), ("in flight", s.sum("channels", "taken"), ""),
                  ("timed out", s.sum("channels", "timed_out"), "warn"), ("lost", s.sum("channels", "lost"), "bad"),
                  ("responders", s.sum("channels", "responders"), "")], &oldest(s.most("channels", "oldest"))))
            (word(s, range, ("Jobs", "/jobs"), ["pushed", "ended", "died"], |p| [p.pushed, p.ended, p.dead],
                &[("waiting", s.sum("queues", "waiting"), ""), ("running", s.sum("queues", "running"), ""),
                  ("scheduled", s.sum("queues", "scheduled"), ""), ("retrying", s.sum("queues", "retrying"), "warn"),
                  ("dead", s.sum("queues", "dead"), "bad")], &oldest(s.most("queues", "oldest"))))
            (word(s, range, ("Streams", "/streams"), ["appended", "finished", "dead"], |p| [p.appended, p.finished, p.dead_letters],
                &[("events kept", s.sum("streams", "events"), ""), ("consumers", many(s.rows("consumers").len()), ""),
                  ("in hand", s.sum("consumers", "in_hand"), ""), ("coming again", s.sum("consumers", "coming_again"), "warn"),
                  ("dead letters", s.sum("consumers", "dead"), "bad")], &oldest(s.most("consumers", "lag"))))
            (topics(s, range))
            (leases(s))
            section.attention {
                h2 { "Needs somebody" }
                @let all = needs(s);
                @if all.is_empty() { p.calm { span.state.good { span.dot {} "nothing does" } } }
                @else { ul { @for (level, at, said) in &all { li { span class={ "state " (level) } { span.dot {} } a href=(at) { (said) } } } } }
            }
        }
        (database(s))
    }
}

type Fact<'a> = (&'a str, i64, &'a str);

/// A word: what flows, as numbers and a chart; what there is, and more facts.
fn word(
    s: &Snapshot,
    range: usize,
    (title, at): (&str, &str),
    words: [&str; 3],
    of: fn(&Point) -> [f64; 3],
    facts: &[Fact<'_>],
    more: &Markup,
) -> Markup {
    let now = of(&s.flow.points.last().copied().unwrap_or_default());
    html! {
        section.word {
            h2 { a href=(at) { (title) } }
            div.rates {
                @for (n, (word, value)) in words.iter().zip(now).enumerate() {
                    @if !word.is_empty() && (n < 2 || value > 0.0) {
                        p class=[(n == 2).then_some("bad")] { span.big { (rate(value)) } span.unit { "/s " (word) } }
                    }
                }
            }
            (chart::lines(&s.flow.points, range, words, of))
            dl.facts {
                @for (name, n, level) in facts {
                    div { dt { (name) } dd class=[(*n > 0).then_some(*level)] { (count(*n)) } }
                }
                (more)
            }
        }
    }
}

/// How long the oldest of what waits has waited.
fn oldest(seconds: Option<f64>) -> Markup {
    html! { div { dt { "oldest" } dd { @match seconds { Some(s) if s > 0.0 => (span(s)), _ => "–" } } } }
}

fn many(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// Nobody notes who has heard what: a volatile message that was missed is a gap.
fn topics(s: &Snapshot, range: usize) -> Markup {
    let one = |active: bool| {
        s.rows("subscriptions").iter().filter(|o| o["single"] == true && o["active"] == active).count()
    };
    let facts = [
        ("listen", many(s.rows("subscriptions").len()), ""),
        ("active", many(one(true)), ""),
        ("stand by", many(one(false)), ""),
        ("gaps", s.sum("subscriptions", "gaps"), "warn"),
    ];
    word(
        s,
        range,
        ("Topics", "/topics"),
        ["published", "", "gaps"],
        |p| [p.published, 0.0, p.gaps],
        &facts,
        &html! {},
    )
}

fn leases(s: &Snapshot) -> Markup {
    let held = s.rows("leases").iter().filter(|l| !l["held_by"].is_null()).count();
    let asked = s.rows("leases").iter().filter(|l| l["resign_asked"] == true).count();
    let wait = usize::try_from(s.sum("leases", "waiting")).unwrap_or(0);
    facts("Leases", "/leases", &[("held", held), ("wait", wait), ("asked to hand over", asked)])
}

fn facts(title: &str, at: &str, facts: &[(&str, usize)]) -> Markup {
    html! {
        section.word {
            h2 { a href=(at) { (title) } }
            dl.facts { @for (name, n) in facts { div { dt { (name) } dd { (count(many(*n))) } } } }
        }
    }
}

/// What needs somebody: how bad, where to look, in words.
fn needs(s: &Snapshot) -> Vec<(&'static str, String, String)> {
    let mut out = Vec::new();
    for q in s.rows("queues") {
        let name = text(q, "queue");
        let at = format!("/jobs/list?queue={}", encoded(name));
        let dead = q["dead"].as_i64().unwrap_or(0);
        if dead > 0 {
            out.push((
                "bad",
                format!("/jobs/dead?queue={}", encoded(name)),
                format!("{} dead jobs in the queue {name}", count(dead)),
            ));
        }
        if !q["paused_at"].is_null() {
            out.push(("warn", at, format!("the queue {name} is paused")));
        } else if let Some(waited) = q["oldest"].as_f64().filter(|s| *s > LONG) {
            out.push(("warn", at, format!("a job of the queue {name} has waited {}", span(waited))));
        }
    }
    for c in s.rows("consumers") {
        let (stream, consumer) = (text(c, "stream"), text(c, "consumer"));
        let at = format!("/streams/{}/{}", encoded(stream), encoded(consumer));
        if let Some(lag) = c["lag"].as_f64().filter(|s| *s > LONG) {
            out.push((
                "warn",
                at.clone(),
                format!("the consumer {consumer} of {stream} is {} behind", span(lag)),
            ));
        }
        if let Some(dead) = c["dead"].as_i64().filter(|n| *n > 0) {
            out.push((
                "bad",
                at,
                format!("{} dead letters of the consumer {consumer} of {stream}", count(dead)),
            ));
        }
    }
    for c in s.rows("channels").iter().filter(|c| c["responders"] == 0 && c["waiting"].as_i64() > Some(0)) {
        out.push((
            "warn",
            "/requests".to_owned(),
            format!("nobody serves the channel {}, and requests wait", text(c, "channel")),
        ));
    }
    for schedule in s.rows("schedules").iter().filter(|s| !s["error"].is_null()) {
        out.push((
            "bad",
            "/schedules".to_owned(),
            format!("the schedule {} cannot be fired", text(schedule, "name")),
        ));
    }
    let over = s.rows("sessions").iter().filter(|s| s["alive"] == false).count();
    if over > 0 {
        out.push(("warn", "/processes".to_owned(), format!("{over} processes are over, and not buried")));
    }
    out.sort_by_key(|(level, ..)| *level);
    let more = out.len().saturating_sub(12);
    out.truncate(12);
    if more > 0 {
        out.push(("calm", "/jobs".to_owned(), format!("and {more} more")));
    }
    out
}

/// The database, in a line.
fn database(s: &Snapshot) -> Markup {
    let rings = s.sum("rings", "bytes");
    let of = |row: &Value| row.as_array().map_or(0, |all| all.iter().filter_map(Value::as_i64).sum::<i64>());
    let segments: i64 = s.rows("streams").iter().map(|r| of(&r["segment_bytes"])).sum();
    let notify = s.value["notify"].as_f64().unwrap_or(0.0) * 100.0;
    html! {
        p.database {
            span { "database " strong { (text(&s.value, "database")) } }
            span { "PostgreSQL " (text(&s.value, "server").split(' ').next().unwrap_or_default()) }
            @let here = s.rows("sessions").len();
            span { (here) @if here == 1 { " process" } @else { " processes" } }
            span { "rings " (size(rings)) }
            span { "streams " (size(segments)) }
            span class=[(notify >= 10.0).then_some("bad")] { "NOTIFY queue " (format!("{notify:.0}")) " %" }
            a href="/health" { "health" }
            @match s.found {
                None => {}
                Some((0, _)) => (state("nothing to mend")),
                Some((n, worst)) => span { (state(&worst.map_or_else(String::new, |w| w.to_string()))) " " (n) " to mend" }
            }
        }
    }
}
