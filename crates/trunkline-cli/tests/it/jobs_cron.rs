//! `trunkline jobs cron`: made, listed, fired by the daemon, run, paused, removed.

use serde_json::{Value, json};

use crate::{Running, code, database, ok, run, sql, stderr, trunkline, until};

/// The schedules, as `jobs cron list --json` tells.
#[track_caller]
fn listed(url: &str) -> Vec<Value> {
    let printed = ok(url, &["--json", "jobs", "cron", "list"]);
    printed.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_schedule_is_made_listed_fired_by_daemons_run_paused_and_removed() {
    let url = database();
    let add =
        ["--json", "jobs", "cron", "add", "nightly", "mail", "30 3 * * *", "{\"n\":1}", "--json-payload"];
    let more =
        ["--zone", "Europe/Berlin", "--missed", "all", "--kind", "report", "-k", "k7", "-H", "x-a=red"];
    let said: Value = serde_json::from_str(&ok(&url, &[&add[..], &more].concat())).unwrap();
    assert_eq!((&said["schedule"], &said["changed"]), (&json!("nightly"), &json!(true)));
    let again: Value = serde_json::from_str(&ok(&url, &[&add[..], &more].concat())).unwrap();
    assert_eq!((&again["changed"], &again["next_at"]), (&json!(false), &said["next_at"]));

    let daemons = [&[][..], &["--log", "json"]].map(|args| {
        let mut command = trunkline(&["serve"]);
        command.args(args).env("DATABASE_URL", &url);
        Running::start(command)
    });
    until("its next time", || listed(&url)[0]["next_at"].is_string());
    let row = listed(&url).remove(0);
    for (field, value) in [
        ("name", json!("nightly")),
        ("queue", json!("mail")),
        ("cron", json!("30 3 * * *")),
        ("zone", json!("Europe/Berlin")),
        ("missed", json!("all")),
        ("kind", json!("report")),
        ("key", json!("k7")),
        ("fires", json!(0)),
        ("error", Value::Null),
    ] {
        assert_eq!(row[field], value, "{field}");
    }
    let same =
        format!("select next_at = '{}' from trunkline.job_schedules()", said["next_at"].as_str().unwrap());
    assert_eq!(sql(&url, &same).as_deref(), Some("t"));
    ok(&url, &["-q", "jobs", "cron", "add", "often", "ticks", "* * * * * *", "--missed", "all"]);
    until("it to be fired", || listed(&url)[1]["fires"].as_i64() >= Some(3));
    ok(&url, &["jobs", "cron", "pause", "often"]);
    assert_eq!(listed(&url)[1]["next_at"], Value::Null);
    let each = "select count(*) = count(distinct headers ->> 'scheduled_at') and count(*) = (select fires from
        trunkline.job_schedules() where name = 'often') from trunkline.job_list('ticks', max => 1000) j, trunkline.job_show(j.id)";
    assert_eq!(sql(&url, each).as_deref(), Some("t"), "each time once");
    drop(daemons);

    let id = ok(&url, &["-q", "jobs", "cron", "run", "nightly"]).trim().to_owned();
    let shown: Value = serde_json::from_str(&ok(&url, &["--json", "jobs", "show", &id])).unwrap();
    assert_eq!((&shown["payload"], &shown["headers"]["schedule"]), (&json!("{\"n\":1}"), &json!("nightly")));
    assert_eq!((&shown["key"], &shown["headers"]["x-a"]), (&json!("k7"), &json!("red")));
    assert!(
        ok(&url, &["jobs", "cron", "ls"])
            .starts_with("nightly\tmail\t30 3 * * *\tEurope/Berlin\tall\treport\t")
    );
    ok(&url, &["jobs", "cron", "resume", "often"]);
    assert_eq!(code(&run(&url, &["jobs", "cron", "rm", "often"])), 8, "not without being asked");
    ok(&url, &["-y", "jobs", "cron", "rm", "often"]);
    for gone in ["rm", "pause", "resume", "run"] {
        assert_eq!(code(&run(&url, &["-y", "jobs", "cron", gone, "often"])), 4, "{gone}");
    }
    for (bad, why) in [
        (&["s", "q", "99 3 * * *"][..], "cron \"99 3 * * *\""),
        (&["s", "q", "0 0 30 2 *"], "never fires"),
        (&["s", "q", "@daily", "--zone", "Mars/Olympus"], "no time zone \"Mars/Olympus\""),
        (&["S", "q", "@daily"], "schedule name must be"),
    ] {
        let refused = run(&url, &[&["jobs", "cron", "add"], bad].concat());
        assert_eq!(code(&refused), 2, "{bad:?}");
        assert!(stderr(&refused).contains(why), "{}", stderr(&refused));
    }
    assert_eq!(listed(&url).len(), 1);
}

#[test]
fn one_round_fires_what_is_due() {
    let url = database();
    ok(&url, &["-q", "jobs", "cron", "add", "s", "q", "@yearly"]);
    sql(&url, "update trunkline.job_schedule set next_at = '2020-01-01Z'");
    let done: Value = serde_json::from_str(&ok(&url, &["serve", "--once"])).unwrap();
    assert_eq!((&done["schedules_fired"], &listed(&url)[0]["fires"]), (&json!(1), &json!(1)), "{done}");
}
