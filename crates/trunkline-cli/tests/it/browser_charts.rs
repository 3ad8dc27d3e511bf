//! Charts in a real Chromium: drawn by the library in the colours of the page, read by pointer and by keys, and following what is
//! live without being built anew; without the script, the server's SVG.

use serde_json::Value;

use crate::{
    browser::{Browser, full},
    http::Served,
    sql, until,
};

const JOBS: &str = "section.word:has(a[href='/jobs']) .chart";
const END: &str = "\u{e010}";
const ESCAPE: &str = "\u{e00c}";
const LEFT: &str = "\u{e012}";
const TAB: &str = "\u{e004}";

impl Browser {
    /// A function of the chart of jobs, `f`, and its data, `d`, the moments in seconds.
    fn chart(&self, script: &str) -> Value {
        self.run(&format!(
            "const f = document.querySelector(\"{JOBS}\"), d = JSON.parse(f.dataset.points);
            d[0] = d[0].map((ms) => (Number(f.dataset.from) + ms) / 1000);
            {script}"
        ))
    }

    /// What is told of a moment.
    fn reading(&self) -> String {
        let told = self.chart("return f.querySelector('figcaption .reading').textContent");
        told.as_str().unwrap_or_else(|| panic!("{told}")).to_owned()
    }

    /// How many pixels of the chart have this colour.
    fn pixels(&self, colour: &str) -> u64 {
        let script = "const c = f.querySelector('canvas'), one = document.createElement('canvas').getContext('2d');
            one.fillStyle = 'COLOUR'; one.fillRect(0, 0, 1, 1);
            const wanted = one.getImageData(0, 0, 1, 1).data, all = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
            let n = 0;
            for (let at = 0; at < all.length; at += 4)
                if (all[at + 3] > 120 && [0, 1, 2].every((i) => Math.abs(all[at + i] - wanted[i]) < 24)) n += 1;
            return n";
        let told = self.chart(&script.replace("COLOUR", colour));
        told.as_u64().unwrap_or_else(|| panic!("{told}"))
    }
}

/// Jobs are pushed until the chart has so many moments, in one of which some were.
fn flowing(browser: &Browser, url: &str, moments: u64) {
    until("the chart to have something to show", || {
        sql(
            url,
            "select trunkline.job_push('mail', '{}', run_at => now() + interval '1 day') from generate_series(1, 5)",
        );
        let told = browser.chart("return Math.max(0, ...d[1]) > 0 ? d[0].length : 0");
        told.as_u64().is_some_and(|n| n >= moments)
    });
}

/// What the style sheet says of the accent, light and dark.
const ACCENT: [(&str, &str); 2] = [("light", "#2f4bd6"), ("dark", "#8ea2ff")];

#[test]
fn a_chart_is_drawn_in_the_colours_of_the_page_and_fits_it() {
    let url = full();
    let served = Served::start(&url, &[], &[]);
    let browser = Browser::start(false);
    browser.size(1280, 960);
    browser.open(&format!("http://{}/?range=60", served.address));
    flowing(&browser, &url, 4);
    assert!(browser.shows(&format!("{JOBS} canvas")));
    assert!(!browser.shows(&format!("{JOBS} svg")), "the SVG is shown beside what the library draws");
    // Nothing comes any more by which it would be drawn anew.
    browser.run("window.dispatchEvent(new Event('pagehide'))");
    // Back to what it was at the end: a change of scheme redraws.
    for (now, other) in [(0, 1), (1, 0), (0, 1)] {
        let (scheme, accent) = ACCENT[now];
        browser.scheme(scheme);
        until(scheme, || browser.pixels(accent) > 20);
        assert_eq!(browser.pixels(ACCENT[other].1), 0, "{scheme}");
        for width in [2560, 1200, 320] {
            browser.size(width, 960);
            until(&format!("the chart to fit into {width}"), || {
                browser.chart(
                    "const fits = (a, b) => Math.abs(a.clientWidth - b.clientWidth) < 2;
                    return fits(f.querySelector('canvas'), f) && fits(f, f.closest('section').querySelector('.facts'))",
                ) == true
            });
            let over = "return document.documentElement.scrollWidth - document.documentElement.clientWidth";
            assert!(browser.run(over).as_i64().unwrap() <= 0, "{width}");
            browser.point_at(&format!("{JOBS} .plot"), 40);
            browser.shot(&format!("chart-{width}-{scheme}"));
        }
    }
    browser.is_quiet("the overview");
}

#[test]
fn a_chart_is_read_by_pointer_and_by_keys_while_it_goes_on() {
    let url = full();
    let served = Served::start(&url, &[], &[]);
    let browser = Browser::start(false);
    browser.size(1280, 960);
    browser.open(&format!("http://{}/?range=900", served.address));
    flowing(&browser, &url, 3);
    assert_eq!(browser.reading(), "");
    browser.chart("window.kept = [f, f.querySelector('.plot'), f.querySelector('canvas')]");
    let plot = format!("{JOBS} .plot");
    browser.point_at(&plot, 20);
    let told = browser.reading();
    for word in [" UTC pushed ", "/s ended ", "/s died 0/s"] {
        assert!(told.contains(word), "{told}");
    }
    // Of another chart the same moment is told.
    let other =
        "return document.querySelector(\"section.word:has(a[href='/streams']) .reading\").textContent";
    assert_eq!(browser.run(other).as_str().unwrap().split(' ').next(), told.split(' ').next());
    browser.point_at("h1", 0);
    assert_eq!(browser.reading(), "", "the pointer went away");

    for _ in 0..60 {
        if browser.chart("return document.activeElement === f.querySelector('.plot')") == true {
            break;
        }
        browser.press(TAB);
    }
    browser.press(END);
    let newest = "return new Date(d[0].at(-1) * 1000).toISOString().slice(11, 19)";
    until("the newest moment to be told", || {
        browser.press(END);
        browser.reading().starts_with(browser.chart(newest).as_str().unwrap())
    });
    browser.press(LEFT);
    let chosen = browser.reading();
    let said = browser.chart("return f.querySelector('.plot').getAttribute('aria-valuetext')");
    assert_eq!(said, chosen.as_str(), "who hears it is told the same");
    let seen = browser.chart("return d[0].at(-1)").as_f64().unwrap();
    until("more to flow", || browser.chart("return d[0].at(-1)").as_f64().unwrap() > seen + 2.0);
    assert_eq!(browser.reading(), chosen, "what was chosen stays");
    let kept = "return window.kept.every((e, n) => e.isConnected && e === [f, f.querySelector('.plot'), f.querySelector('canvas')][n])";
    assert_eq!(browser.chart(kept), true, "it is the same chart, with more in it");
    until("what came to be told too", || {
        browser.press(END);
        browser.reading().starts_with(browser.chart(newest).as_str().unwrap())
    });
    assert_ne!(browser.reading(), chosen);
    browser.press(ESCAPE);
    assert_eq!(browser.reading(), "");
    browser.is_quiet("the overview");
}

#[test]
fn with_the_script_off_a_chart_is_the_servers_svg() {
    let url = full();
    let served = Served::start(&url, &[], &[]);
    let browser = Browser::without_script();
    browser.open(&format!("http://{}/", served.address));
    let page = browser.source();
    assert!(page.contains("role=\"img\" aria-label=\"pushed, ended, died a second"), "{page}");
    assert!(!page.contains("<canvas"), "{page}");
    assert!(browser.shows(&format!("{JOBS} svg")));
    assert!(browser.shows(&format!("{JOBS} .top")), "the largest value is told");
    browser.is_quiet("the overview");
}
