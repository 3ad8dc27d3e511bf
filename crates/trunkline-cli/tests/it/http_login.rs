//! How long a login is good, by a daemon whose clock is moved.

use std::{path::Path, process::Command};

use crate::{
    database,
    http::{READER, Served, tokens},
    stdout, temporary,
};

const MINUTE: u32 = 60;

/// Logs in by the form: the cookie.
fn logged_in(served: &Served) -> String {
    let form = ("content-type", "application/x-www-form-urlencoded");
    let answer = served.ask("POST", "/login", &[form], &format!("token={READER}"));
    let cookie = answer.header("set-cookie").expect("a cookie");
    assert!(cookie.contains("Max-Age=43200"), "{cookie}");
    cookie.split(';').next().unwrap().to_owned()
}

/// Whether this cookie is taken; who is not logged in is shown the form, and told 401 by the API.
#[track_caller]
fn good(served: &Served, cookie: &str) -> bool {
    let with = [("cookie", cookie)];
    let page = served.ask("GET", "/try", &with, "");
    if page.status == 200 {
        return true;
    }
    assert_eq!((page.status, page.header("location")), (303, Some("/login")), "{page:?}");
    let form = served.ask("GET", "/login", &with, "");
    assert!(form.status == 200 && form.body.contains("name=\"token\""), "{form:?}");
    for (method, body) in [("GET", ""), ("POST", "{\"queue\": \"q\", \"payload\": \"x\"}")] {
        let told = served.ask(method, "/api/v1/jobs", &[with[0], ("content-type", "application/json")], body);
        let kind = (told.status, told.header("content-type"), told.header("www-authenticate"));
        assert_eq!(kind, (401, Some("application/problem+json"), Some("Bearer")), "{told:?}");
    }
    assert_eq!(served.ask("GET", "/live?page=overview", &with, "").status, 401);
    false
}

/// Their clock is moved by what is written into this file, as all clocks of the process.
fn moved(clock: &Path) -> [(&'static str, String); 3] {
    let library = Command::new("faketime").args(["-f", "+0", "sh", "-c", "echo $LD_PRELOAD"]).output();
    let library = stdout(&library.expect("faketime: apt-get install faketime"));
    [
        ("LD_PRELOAD", library.trim().to_owned()),
        ("FAKETIME_TIMESTAMP_FILE", clock.to_str().unwrap().to_owned()),
        ("FAKETIME_NO_CACHE", "1".to_owned()),
    ]
}

/// So much later than it is.
pub(crate) fn set(clock: &Path, seconds: u32) {
    let new = clock.with_extension("new");
    std::fs::write(&new, format!("+{seconds}\n")).unwrap();
    std::fs::rename(new, clock).unwrap();
}

/// Serves by this clock, with these variables.
pub(crate) fn on_a_moved_clock(url: &str, clock: &Path, env: &[(&str, &str)]) -> Served {
    set(clock, 0);
    let moved = moved(clock);
    let moved: Vec<(&str, &str)> = moved.iter().map(|(name, value)| (*name, value.as_str())).collect();
    Served::start(url, &[], &[env, &moved].concat())
}

#[test]
fn who_guesses_at_the_form_waits_for_a_minute_also_with_the_right_token() {
    let dir = temporary();
    let clock = dir.path().join("clock");
    let served = on_a_moved_clock(&database(), &clock, &tokens());
    let form = ("content-type", "application/x-www-form-urlencoded");
    let log_in = |token: &str| served.ask("POST", "/login", &[form], &format!("token={token}"));
    let cookie = logged_in(&served);
    for n in 0..20 {
        let told = log_in("wrong");
        assert!(told.status == 401 && told.body.contains("not known"), "{n}: {told:?}");
        assert!(told.header("set-cookie").is_none(), "{told:?}");
    }
    for token in ["wrong", READER] {
        let told = log_in(token);
        assert!(told.status == 429 && told.body.contains("wait a minute"), "{token}: {told:?}");
        assert!(told.header("set-cookie").is_none(), "{told:?}");
    }
    assert!(good(&served, &cookie), "who is logged in stays so");
    set(&clock, 59);
    assert_eq!(log_in(READER).status, 429);
    set(&clock, 2 * MINUTE);
    assert!(good(&served, &logged_in(&served)));
}

#[test]
fn a_login_ends_after_half_an_hour_unused_and_after_twelve_hours_and_no_other_cookie_is_taken() {
    let dir = temporary();
    let clock = dir.path().join("clock");
    let served = on_a_moved_clock(&database(), &clock, &tokens());
    let set = |seconds: u32| set(&clock, seconds);

    let cookie = logged_in(&served);
    assert!(good(&served, &cookie));
    let (name, value) = cookie.split_once('=').unwrap();
    let other = if value.starts_with('0') { "1" } else { "0" };
    for altered in [
        format!("{name}={other}{}", &value[1..]),
        format!("{name}={}", &value[..value.len() - 1]),
        format!("{name}={value}0"),
        format!("{name}={}", value.to_uppercase()),
        format!("{name}="),
        format!("other={value}"),
    ] {
        assert!(!good(&served, &altered), "{altered}");
    }
    assert!(good(&served, &cookie), "it is as good as it was");

    // It is used in time, and then it is not.
    for minutes in [29, 58, 87] {
        set(minutes * MINUTE);
        assert!(good(&served, &cookie), "{minutes} minutes");
    }
    set((87 + 31) * MINUTE);
    assert!(!good(&served, &cookie), "half an hour unused");
    assert!(!good(&served, &cookie), "and it stays so");

    // Used all the time, it is good for twelve hours.
    let began = (87 + 31) * MINUTE;
    let cookie = logged_in(&served);
    for n in 1..=24 {
        set(began + n * (29 * MINUTE + 50));
        assert!(good(&served, &cookie), "{n} half hours");
    }
    set(began + 12 * 60 * MINUTE + 1);
    assert!(!good(&served, &cookie), "twelve hours");
    assert!(good(&served, &logged_in(&served)), "they log in again");
}
