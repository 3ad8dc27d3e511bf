//! A real Chromium on every page: hostile strings in every field, light and dark, wide and narrow; no dialog, nothing that the
//! policy had to stop, nothing logged as an error; buttons pressed, and pages that change by themselves.
//!
//! Speaks WebDriver to `chromedriver`. Screenshots are kept under the target directory, to be looked at.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::TcpStream,
    path::PathBuf,
    process::{Child, Command, Stdio},
    time::Duration,
};

use base64::Engine as _;
use serde_json::{Value, json};

use crate::{database, http::Served, http_hostile::plant, jobs::worker, ok, responder, sql, until};

const DRIVERS: [&str; 2] = ["/usr/bin/chromedriver", "/usr/lib/chromium/chromedriver"];
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";

/// A browser with one window.
pub(crate) struct Browser {
    driver: Child,
    port: u16,
    session: String,
    _profile: tempfile::TempDir,
}

impl Browser {
    pub(crate) fn start(dark: bool) -> Self {
        Self::with(dark, true)
    }

    /// One that runs no script of any page.
    pub(crate) fn without_script() -> Self {
        Self::with(false, false)
    }

    fn with(dark: bool, script: bool) -> Self {
        let program = DRIVERS.iter().find(|p| std::path::Path::new(p).exists());
        let program =
            program.expect("chromedriver is not installed: apt-get install chromium chromium-driver");
        let mut driver = Command::new(program)
            .arg("--port=0")
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(driver.stdout.take().unwrap()).lines();
        let told = lines
            .find_map(|l| l.ok()?.split("successfully on port ").nth(1)?.trim_end_matches('.').parse().ok());
        std::thread::spawn(move || lines.for_each(drop));
        let profile = crate::temporary();
        let mut browser =
            Self { driver, port: told.expect("a port"), session: String::new(), _profile: profile };
        let mut args: Vec<String> = [
            "--headless",
            "--no-sandbox",
            "--disable-gpu",
            "--disable-quic",
            "--no-first-run",
            "--disable-background-networking",
            "--disable-component-update",
            "--disable-sync",
            "--hide-scrollbars",
            "--disable-dev-shm-usage",
        ]
        .map(Into::into)
        .into();
        args.push(format!("--user-data-dir={}", browser._profile.path().display()));
        if dark {
            args.push("--blink-settings=preferredColorScheme=0".into());
        }
        let allowed = if script { 1 } else { 2 };
        let prefs = json!({ "profile.managed_default_content_settings.javascript": allowed });
        let wanted = json!({ "capabilities": { "alwaysMatch": {
            "goog:chromeOptions": { "args": args, "prefs": prefs }, "goog:loggingPrefs": { "browser": "ALL" }, "unhandledPromptBehavior": "ignore" } } });
        let answer = browser.send("POST", "/session", Some(&wanted));
        browser.session = answer["sessionId"].as_str().unwrap_or_else(|| panic!("{answer}")).to_owned();
        browser
    }

    /// A command: its value.
    fn send(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        let body = body.map_or(String::new(), Value::to_string);
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut length = 0;
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).unwrap();
            if let Some((_, n)) = line.to_ascii_lowercase().split_once("content-length:") {
                length = n.trim().parse().unwrap();
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut bytes = vec![0; length];
        reader.read_exact(&mut bytes).unwrap();
        serde_json::from_slice::<Value>(&bytes).unwrap()["value"].take()
    }

    fn command(&self, method: &str, path: &str, body: Option<&Value>) -> Value {
        self.send(method, &format!("/session/{}{path}", self.session), body)
    }

    pub(crate) fn open(&self, url: &str) {
        let done = self.command("POST", "/url", Some(&json!({ "url": url })));
        assert!(done.is_null(), "{url}: {done}");
    }

    pub(crate) fn run(&self, script: &str) -> Value {
        self.command("POST", "/execute/sync", Some(&json!({ "script": script, "args": [] })))
    }

    /// What a selector finds first.
    #[track_caller]
    fn find(&self, selector: &str) -> Value {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self.command("POST", "/element", Some(&wanted));
        assert!(found[ELEMENT].is_string(), "{selector}: {found}");
        found
    }

    /// Does something to what a selector finds.
    #[track_caller]
    fn element(&self, selector: &str, what: &str, with: &Value) {
        let found = self.find(selector);
        let id = found[ELEMENT].as_str().unwrap_or_default();
        let done = self.command("POST", &format!("/element/{id}/{what}"), Some(with));
        assert!(done.is_null(), "{selector}: {done}");
    }

    /// Presses what a selector finds.
    #[track_caller]
    pub(crate) fn click(&self, selector: &str) {
        self.element(selector, "click", &json!({}));
    }

    #[track_caller]
    pub(crate) fn type_into(&self, selector: &str, text: &str) {
        self.element(selector, "value", &json!({ "text": text }));
    }

    /// Whether what a selector finds is to be seen.
    #[track_caller]
    pub(crate) fn shows(&self, selector: &str) -> bool {
        let found = self.find(selector);
        let id = found[ELEMENT].as_str().unwrap_or_default();
        self.command("GET", &format!("/element/{id}/displayed"), None) == true
    }

    /// Moves the pointer to so far from the middle of what a selector finds.
    #[track_caller]
    pub(crate) fn point_at(&self, selector: &str, x: i32) {
        let way =
            json!([{ "type": "pointerMove", "origin": self.find(selector), "x": x, "y": 0, "duration": 0 }]);
        let mouse = json!({ "type": "pointer", "id": "mouse", "parameters": { "pointerType": "mouse" }, "actions": way });
        let done = self.command("POST", "/actions", Some(&json!({ "actions": [mouse] })));
        assert!(done.is_null(), "{selector}: {done}");
    }

    /// A key, wherever the focus is.
    pub(crate) fn press(&self, key: &str) {
        let keys = json!([{ "type": "keyDown", "value": key }, { "type": "keyUp", "value": key }]);
        let keys = json!({ "actions": [{ "type": "key", "id": "keyboard", "actions": keys }] });
        assert!(self.command("POST", "/actions", Some(&keys)).is_null());
    }

    /// The page's address.
    pub(crate) fn at(&self) -> String {
        self.command("GET", "/url", None).as_str().unwrap_or_default().to_owned()
    }

    /// The page as it is now.
    pub(crate) fn source(&self) -> String {
        self.command("GET", "/source", None).as_str().unwrap_or_default().to_owned()
    }

    /// What the browser logged since it was asked last.
    pub(crate) fn log(&self) -> Value {
        self.command("POST", "/se/log", Some(&json!({ "type": "browser" })))
    }

    pub(crate) fn size(&self, width: u32, height: u32) {
        // Windows of a browser are not narrower than 500; pages are.
        let device = json!({ "cmd": "Emulation.setDeviceMetricsOverride",
            "params": { "width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500 } });
        self.command("POST", "/goog/cdp/execute", Some(&device));
    }

    /// Light or dark, from now on.
    pub(crate) fn scheme(&self, name: &str) {
        let features = json!([{ "name": "prefers-color-scheme", "value": name }]);
        let media = json!({ "cmd": "Emulation.setEmulatedMedia", "params": { "features": features } });
        self.command("POST", "/goog/cdp/execute", Some(&media));
    }

    pub(crate) fn shot(&self, name: &str) {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("screenshots");
        std::fs::create_dir_all(&folder).unwrap();
        let png = self.command("GET", "/screenshot", None);
        let png = base64::engine::general_purpose::STANDARD.decode(png.as_str().unwrap()).unwrap();
        std::fs::write(folder.join(format!("{name}.png")), png).unwrap();
    }

    /// Nothing that was planted ran: no dialog, no refusal by the policy, no error.
    #[track_caller]
    pub(crate) fn is_quiet(&self, page: &str) {
        let dialog = self.command("GET", "/alert/text", None);
        assert_eq!(dialog["error"], "no such alert", "{page}: {dialog}");
        let log = self.log();
        let bad: Vec<&Value> = log.as_array().unwrap().iter().filter(|l| l["level"] == "SEVERE").collect();
        assert!(bad.is_empty(), "{page}: {bad:#?}");
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            self.command("DELETE", "", None);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

const PAGES: [(&str, &str); 21] = [
    ("overview", "/"),
    ("queues", "/jobs"),
    ("jobs", "/jobs/list?queue=mail"),
    ("job", "/jobs/900001"),
    ("dead", "/jobs/dead"),
    ("schedules", "/schedules"),
    ("streams", "/streams"),
    ("consumer", "/streams/orders/billing"),
    ("channels", "/requests"),
    ("requests", "/requests/list"),
    ("topics", "/topics"),
    ("leases", "/leases"),
    ("processes", "/processes"),
    ("health", "/health"),
    ("try", "/try"),
    ("actions", "/actions"),
    ("letters", "/streams/letters/reader"),
    ("request", "/requests/{request}"),
    ("result", "/jobs/910001"),
    ("running", "/jobs/920001"),
    ("reply", "/requests/{reply}"),
];

pub(crate) fn full() -> String {
    let url = database();
    sql(
        &url,
        "select trunkline.request_open('hash'), trunkline.job_open('mail'), trunkline.stream_open('orders')",
    );
    sql(
        &url,
        "select trunkline.stream_register('orders', 'billing'), trunkline.stream_register('orders', 'search')",
    );
    sql(&url, "select trunkline.job_schedule('nightly', 'mail', '0 3 * * *', '{}')");
    sql(
        &url,
        "select trunkline.job_push('mail', '{\"to\": \"a@example.org\"}', 'welcome') from generate_series(1, 40)",
    );
    sql(
        &url,
        "select trunkline.stream_append('orders', '{\"n\": 1}', 'created') from generate_series(1, 40)",
    );
    plant(&url);
    url
}

#[test]
fn every_page_shows_hostile_text_as_text_in_light_and_dark_wide_and_narrow() {
    let url = full();
    let _serving = responder(&url, &["echo", "--echo"]);
    let served = Served::start(&url, &[], &[]);
    let request = sql(&url, "select max(id)::text from trunkline.request_list()").unwrap();
    let reply = sql(&url, "select min(id)::text from trunkline.request_list('ended')").unwrap();
    for dark in [false, true] {
        let browser = Browser::start(dark);
        for (name, path) in PAGES {
            let path = &path.replace("{request}", &request).replace("{reply}", &reply);
            for (width, height) in [(1440, 900), (320, 720), (2560, 1440)] {
                browser.size(width, height);
                browser.open(&format!("http://{}{path}", served.address));
                browser.is_quiet(path);
                let wide = browser.run(
                    "return document.documentElement.scrollWidth - document.documentElement.clientWidth",
                );
                assert!(wide.as_i64().unwrap() <= 0, "{path} is {wide} wider than a window of {width}");
                let planted = browser.run("return document.querySelectorAll('main script, main img:not([alt]), main svg[onload], [onfocus], [onmouseover]').length");
                assert_eq!(planted, 0, "{path}");
                browser.shot(&format!("{name}-{width}-{}", if dark { "dark" } else { "light" }));
            }
        }
    }
}

#[test]
fn a_page_changes_by_itself_and_a_button_does_what_it_says() {
    let url = full();
    let served = Served::start(&url, &[], &[]);
    let browser = Browser::start(false);
    browser.size(1280, 800);
    browser.open(&format!("http://{}/jobs", served.address));
    until("the page to be live", || {
        browser.run("return document.querySelector('[data-status]').dataset.status") == "live"
    });
    ok(&url, &["jobs", "push", "fresh", "x"]);
    until("the queue to appear", || {
        browser.run("return document.body.textContent.includes('fresh')") == true
    });
    // A form that came with an event carries the secret of this page.
    browser.click("tr:has(a[href*='fresh']) button");
    until("it to be paused", || {
        sql(&url, "select (paused_at is not null)::text from trunkline.job_queue where name = 'fresh'")
            .as_deref()
            == Some("true")
    });
    until("that to be said", || {
        browser.run("return document.querySelector('.done')?.textContent ?? ''") == "The queue is paused."
    });
    browser.open(&format!("http://{}/jobs/900001", served.address));
    browser.click("form.act button.danger");
    until("the question", || {
        browser
            .run("return document.querySelector('h1').textContent")
            .as_str()
            .is_some_and(|t| t.contains("Do you mean"))
    });
    browser.shot("question");
    browser.click("button.strong");
    until("it to be deleted", || {
        sql(&url, "select count(*)::text from trunkline.job_held where id = 900001").as_deref() == Some("0")
    });
    browser.open(&format!("http://{}/actions", served.address));
    browser.is_quiet("/actions");
    browser.shot("actions");
}

/// A job that waits is opened, and taken, and done: the page tells it, and is watched no more; a request that is cancelled; a job that
/// is deleted while it is looked at.
#[test]
fn a_job_is_seen_to_travel() {
    let url = database();
    sql(&url, "select trunkline.job_push('mail', 'x')");
    let id = sql(&url, "select id::text from trunkline.job").unwrap();
    let served = Served::start(&url, &[], &[]);
    let browser = Browser::start(false);
    browser.open(&format!("http://{}/jobs/{id}", served.address));
    let says = |word: &str| {
        let state = "return document.querySelector('.head .state').textContent";
        until(word, || browser.run(state) == word);
    };
    says("waiting");
    let dir = crate::temporary();
    let gate = dir.path().join("gate");
    assert!(Command::new("mkfifo").arg(&gate).status().unwrap().success());
    let _working = worker(&url, &["mail", "--exec", &format!("cat {}", gate.display())]);
    says("running");
    std::fs::write(&gate, "").unwrap();
    says("done");
    until("it to be watched no more", || {
        browser.run("return document.querySelector('[data-status]').dataset.status") == "still"
    });
    assert_eq!(
        browser.run("return document.querySelectorAll('form.act').length"),
        2,
        "delete, or push a copy"
    );
    browser.click("form.act:has(input[value=job_copy]) button");
    until("the copy", || browser.source().contains("A copy was pushed."));
    browser.is_quiet("a job");
    sql(&url, "select trunkline.request_open('hash')");
    let request =
        sql(&url, "select trunkline.request_send('hash', 'x', wait_for_responder => true)::text").unwrap();
    browser.open(&format!("http://{}/requests/{request}", served.address));
    says("waiting");
    sql(&url, &format!("select trunkline.request_cancel({request})"));
    says("cancelled");
    sql(&url, "select trunkline.job_push('mail', 'x', run_at => now() + interval '1 day')");
    let late = sql(&url, "select max(id)::text from trunkline.job_held").unwrap();
    browser.open(&format!("http://{}/jobs/{late}", served.address));
    says("scheduled");
    sql(&url, &format!("select trunkline.job_cancel({late}), trunkline.job_delete({late})"));
    until("it to be gone", || browser.source().contains("It is no longer here."));
    browser.is_quiet("what is gone");
}
