//! The style sheet, the script and the icon, within the binary; their addresses change with them, so that browsers may keep them.

use std::sync::{Arc, LazyLock};

use axum::{Router, http::header, response::IntoResponse as _, routing::get};

use crate::http::App;

const STYLE: &str = include_str!("assets/style.css");
const SCRIPT: &str = include_str!("assets/live.js");
const ICON: &str = include_str!("assets/icon.svg");
const KEPT: &str = "public, max-age=31536000, immutable";

static TAG: LazyLock<String> = LazyLock::new(|| {
    let bytes = STYLE.bytes().chain(SCRIPT.bytes()).chain(ICON.bytes());
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
    for (name, kind, text) in [
        ("style.css", "text/css; charset=utf-8", STYLE),
        ("live.js", "text/javascript; charset=utf-8", SCRIPT),
        ("icon.svg", "image/svg+xml", ICON),
    ] {
        let answer = move || async move {
            ([(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, KEPT)], text).into_response()
        };
        router = router.route(&url(name), get(answer));
    }
    router
}
