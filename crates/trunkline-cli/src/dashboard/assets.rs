//! The style sheet, the scripts and the icon, within the binary; their addresses change with them, so that browsers may keep them.
//!
//! What draws the charts is not ours, and not changed: `assets/vendor` tells which version it is. It goes out with its licence, and its
//! rules of style at the head of our one sheet.

use std::sync::{Arc, LazyLock};

use axum::{Router, http::header, response::IntoResponse as _, routing::get};

use crate::http::App;

/// Name, type, and what it is.
static ASSETS: [(&str, &str, &str); 5] = [
    ("style.css", "text/css; charset=utf-8", STYLE),
    ("live.js", SCRIPT, include_str!("assets/live.js")),
    ("chart.js", SCRIPT, include_str!("assets/chart.js")),
    ("uplot.js", SCRIPT, UPLOT),
    ("icon.svg", "image/svg+xml", include_str!("assets/icon.svg")),
];
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str =
    concat!(include_str!("assets/vendor/uplot/uPlot.min.css"), "\n", include_str!("assets/style.css"));
const UPLOT: &str = concat!(
    "/*!\n",
    include_str!("assets/vendor/uplot/LICENSE"),
    "*/\n",
    include_str!("assets/vendor/uplot/uPlot.iife.min.js")
);
const KEPT: &str = "public, max-age=31536000, immutable";

static TAG: LazyLock<String> = LazyLock::new(|| {
    let bytes = ASSETS.iter().flat_map(|(.., text)| text.bytes());
    // FNV-1a: to tell versions apart, nothing else.
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3));
    format!("{hash:016x}")
});

/// The address of one of them.
pub(super) fn url(name: &str) -> String {
    format!("/assets/{}/{name}", *TAG)
}

pub(super) fn routes() -> Router<Arc<App>> {
    let mut router = Router::new();
    for (name, kind, text) in ASSETS {
        let answer = move || async move {
            ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, KEPT)], text).into_response()
        };
        router = router.route(&url(name), get(answer));
    }
    router
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    #[test]
    fn what_is_vendored_is_what_was_published() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/src/dashboard/assets/vendor/uplot");
        let told =
            Command::new("sha256sum").args(["--check", "SHA256SUMS"]).current_dir(folder).output().unwrap();
        let told = String::from_utf8_lossy(&told.stdout).into_owned();
        let same = told.lines().filter(|line| line.ends_with(": OK")).count();
        assert_eq!((same, told.lines().count()), (3, 3), "{told}");
    }
}
