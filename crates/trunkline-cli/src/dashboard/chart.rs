//! A chart of what flows, as SVG: up to three lines on a common scale, the second one filled. No script, and nothing inline.
//!
//! Its figure carries what it shows, for `chart.js`: where that runs, the vendored library draws it, and the SVG is not shown.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::parts::rate;
use crate::http::flow::Point;

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;

/// A moment, in seconds since 1970, and what flowed then.
type Shown = (f64, [f64; 3]);

/// The last so many seconds of what comes, what ends, and what fails; `words` name them, an empty one is not drawn.
pub(super) fn lines(
    points: &[Point],
    range: usize,
    words: [&str; 3],
    of: impl Fn(&Point) -> [f64; 3],
) -> Markup {
    let now = points.last().map_or(0.0, |p| p.at);
    let width = f64::from(u32::try_from(range).unwrap_or(300).max(10));
    let shown: Vec<Shown> = points.iter().filter(|p| now - p.at <= width).map(|p| (p.at, of(p))).collect();
    let top = shown.iter().flat_map(|(_, values)| values).fold(1.0_f64, |top, v| top.max(*v));
    let x = |at: f64| WIDTH - (now - at) / width * WIDTH;
    let y = |v: f64| HEIGHT - 2.0 - v / top * (HEIGHT - 12.0);
    let path = |pick: usize| {
        shown.iter().enumerate().fold(String::new(), |mut d, (n, (at, values))| {
            let _ = write!(d, "{}{:.1} {:.1}", if n == 0 { 'M' } else { 'L' }, x(*at), y(values[pick]));
            d
        })
    };
    let begins = shown.first().map_or(0.0, |(at, _)| x(*at));
    let first = shown.first().map_or(0.0, |(at, _)| millis(*at));
    let named: Vec<&str> = words.into_iter().filter(|w| !w.is_empty()).collect();
    let failed = shown.iter().any(|(_, values)| values[2] > 0.0);
    let said = format!("{} a second, over {range} seconds; at most {}", named.join(", "), rate(top));
    html! {
        figure.chart data-range=(width) data-from=(first) data-points=(columns(&shown, first, words)) {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(said) {
                path.grid d={ "M0 " (y(top)) "H" (WIDTH) "M0 " (y(top / 2.0)) "H" (WIDTH) } {}
                @if !words[1].is_empty() && !shown.is_empty() {
                    @let second = path(1);
                    path.area d={ (second) "L" (WIDTH) " " (HEIGHT) "L" (format!("{begins:.1}")) " " (HEIGHT) "Z" } {}
                    path.second d=(second) {}
                }
                path.first d=(path(0)) {}
                @if failed { path.third d=(path(2)) {} }
            }
            figcaption {
                @for (word, class) in words.iter().zip(["key first", "key second", "key third"]) {
                    @if !word.is_empty() { span class=(class) { (word) } }
                }
                span.top { "top " (rate(top)) "/s" }
            }
        }
    }
}

fn millis(at: f64) -> f64 {
    (at * 1000.0).round()
}

/// The moments, in milliseconds since the first one, then the values of each that is drawn: `[[0,1000],[10,12.5],[0,0]]`.
fn columns(shown: &[Shown], first: f64, words: [&str; 3]) -> String {
    let column = |of: &dyn Fn(&Shown) -> f64| {
        let numbers: Vec<String> = shown.iter().map(|s| of(s).to_string()).collect();
        format!("[{}]", numbers.join(","))
    };
    let drawn = (0..3).filter(|n| !words[*n].is_empty());
    let drawn = drawn.map(|n| column(&|(_, values)| (values[n] * 100.0).round() / 100.0));
    let all: Vec<String> = std::iter::once(column(&|(at, _)| millis(*at) - first)).chain(drawn).collect();
    format!("[{}]", all.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chart_carries_what_it_shows_and_no_more() {
        let point = |at: f64| Point { at, pushed: at / 3.0, ended: 2.0, dead: 0.0, ..Point::default() };
        let points = [point(5.0), point(100.25), point(101.5)];
        let chart = lines(&points, 60, ["in", "", "failed"], |p| [p.pushed, p.ended, p.dead]).into_string();
        let carried = r#"data-range="60" data-from="100250" data-points="[[0,1250],[33.42,33.83],[0,0]]""#;
        assert!(chart.contains(carried), "{chart}");
        assert!(lines(&[], 60, ["in", "out", ""], |_| [0.0; 3]).into_string().contains("[[],[],[]]"));
    }
}
