//! A chart of what flows, as SVG: two lines on a common scale, the second one filled. No script, and nothing inline.

use std::fmt::Write as _;

use maud::{Markup, html};

use super::parts::rate;
use crate::http::live::Point;

const WIDTH: f64 = 600.0;
const HEIGHT: f64 = 120.0;

/// The last so many seconds of two values; `words` name them.
pub(super) fn lines(
    points: &[Point],
    range: usize,
    words: [&str; 2],
    of: impl Fn(&Point) -> (f64, f64),
) -> Markup {
    let now = points.last().map_or(0.0, |p| p.at);
    let width = f64::from(u32::try_from(range).unwrap_or(300).max(10));
    let shown: Vec<(f64, f64, f64)> = points
        .iter()
        .filter(|p| now - p.at <= width)
        .map(|p| {
            let (a, b) = of(p);
            (WIDTH - (now - p.at) / width * WIDTH, a, b)
        })
        .collect();
    let top = shown.iter().fold(1.0_f64, |top, (_, a, b)| top.max(*a).max(*b));
    let y = |v: f64| HEIGHT - 2.0 - v / top * (HEIGHT - 12.0);
    let path = |pick: fn(&(f64, f64, f64)) -> f64| {
        shown.iter().enumerate().fold(String::new(), |mut d, (n, p)| {
            let _ = write!(d, "{}{:.1} {:.1}", if n == 0 { 'M' } else { 'L' }, p.0, y(pick(p)));
            d
        })
    };
    let (first, second) = (path(|p| p.1), path(|p| p.2));
    let area =
        shown.first().map_or(String::new(), |p| format!("{second}L{WIDTH} {HEIGHT}L{:.1} {HEIGHT}Z", p.0));
    let two = !words[1].is_empty();
    let named = if two { words.join(" and ") } else { words[0].to_owned() };
    let said = format!("{named} a second, over {range} seconds; at most {}", rate(top));
    html! {
        figure.chart {
            svg viewBox={ "0 0 " (WIDTH) " " (HEIGHT) } preserveAspectRatio="none" role="img" aria-label=(said) {
                path.grid d={ "M0 " (y(top)) "H" (WIDTH) "M0 " (y(top / 2.0)) "H" (WIDTH) } {}
                @if two { path.area d=(area) {} path.second d=(second) {} }
                path.first d=(first) {}
            }
            figcaption {
                span.key.first { (words[0]) } @if two { span.key.second { (words[1]) } }
                span.top { "top " (rate(top)) "/s" }
            }
        }
    }
}
