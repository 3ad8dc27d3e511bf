//! A chart of what flows, as SVG: up to three lines on a common scale, the second one filled. No script, and nothing inline.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::parts::rate;
use crate::http::flow::Point;

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;

/// The last so many seconds of what comes, what ends, and what fails; `words` name them, an empty one is not drawn.
pub(super) fn lines(
    points: &[Point],
    range: usize,
    words: [&str; 3],
    of: impl Fn(&Point) -> [f64; 3],
) -> Markup {
    let now = points.last().map_or(0.0, |p| p.at);
    let width = f64::from(u32::try_from(range).unwrap_or(300).max(10));
    let shown: Vec<(f64, [f64; 3])> = points
        .iter()
        .filter(|p| now - p.at <= width)
        .map(|p| (WIDTH - (now - p.at) / width * WIDTH, of(p)))
        .collect();
    let top = shown.iter().flat_map(|(_, values)| values).fold(1.0_f64, |top, v| top.max(*v));
    let y = |v: f64| HEIGHT - 2.0 - v / top * (HEIGHT - 12.0);
    let path = |pick: usize| {
        shown.iter().enumerate().fold(String::new(), |mut d, (n, (x, values))| {
            let _ = write!(d, "{}{x:.1} {:.1}", if n == 0 { 'M' } else { 'L' }, y(values[pick]));
            d
        })
    };
    let begins = shown.first().map_or(0.0, |(x, _)| *x);
    let named: Vec<&str> = words.into_iter().filter(|w| !w.is_empty()).collect();
    let failed = shown.iter().any(|(_, values)| values[2] > 0.0);
    let said = format!("{} a second, over {range} seconds; at most {}", named.join(", "), rate(top));
    html! {
        figure.chart {
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
