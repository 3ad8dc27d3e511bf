//! Producers and consumers of every language, in every pair.

use std::thread;

use nix::sys::signal::Signal;

use crate::{
    Running, database,
    kit::{Kit, Language, succeed},
    server, sql, trunkline, until,
};

/// What each producer prints, whoever consumes.
const PLACED: [&str; 3] = ["placed: 3 tea", "placed: 1 unicorn", "taken back: 5 sugar"];

#[test]
fn everybody_consumes_what_everybody_produces() {
    let kit = Kit::get();
    let (_dir, server) = server();
    let stream = |name: &str| {
        let (owner, app) = database(&server, name);
        succeed(&mut trunkline(&owner, &["-q", "streams", "create", "orders"]));
        (owner, app)
    };
    thread::scope(|s| {
        for consumer in Language::ALL {
            let (owner, app) = stream(&format!("{consumer:?}").to_lowercase());
            s.spawn(move || consumes_all(kit, consumer, &owner, &app));
        }
        let (_, app) = stream("alone");
        let said = Running::start(kit.both("streams").arg(&app)).end();
        let mut expected = vec!["consuming orders"];
        expected.extend(PLACED);
        expected.extend(heard(1));
        let (mut lines, mut expected): (Vec<String>, Vec<String>) =
            (said.1, expected.into_iter().map(str::to_owned).collect());
        lines.sort_unstable();
        expected.sort_unstable();
        assert_eq!((said.0, lines), (0, expected), "in whatever order the two of them speak");
    });
}

/// What a consumer says of the orders of its nth producer.
fn heard(n: usize) -> [&'static str; 3] {
    let sold = ["sold 3 tea, 3 in all", "sold 3 tea, 6 in all", "sold 3 tea, 9 in all"];
    [sold[n - 1], "unicorn: not in stock, it comes again", "unicorn: not in stock, given up"]
}

/// One consumer, and every producer in turn.
fn consumes_all(kit: &Kit, consumer: Language, owner: &str, url: &str) {
    let mut consuming = Running::start(kit.command(consumer, "consume").arg(url));
    consuming.wait_for("consuming orders");
    let mut expected = vec!["consuming orders"];
    for (n, producer) in (1..).zip(Language::ALL) {
        // The URL as an argument or, as well, from the environment.
        let placed = Running::start(kit.command(producer, "produce").env("DATABASE_URL", url)).end();
        assert_eq!(placed, (0, PLACED.map(str::to_owned).to_vec()), "{producer:?}");
        expected.extend(heard(n));
        until("the unicorn to be given up", || {
            sql(owner, "select count(*) from trunkline.stream_dead") == n.to_string()
        });
    }
    consuming.signal(Signal::SIGTERM);
    expected.push("stopped");
    assert_eq!(consuming.end(), (0, expected.into_iter().map(str::to_owned).collect()), "{consumer:?}");
    let causes =
        sql(owner, "select string_agg(distinct cause || ' ' || tries, ',') from trunkline.stream_dead");
    assert_eq!(causes, "not in stock 3");
    // The database agrees: nothing is left, and what was rolled back was never there.
    assert_eq!(succeed(&mut trunkline(url, &["-q", "streams", "read", "orders", "-c", "stock"])), "");
    let orders = "select string_agg(distinct key, ',' order by key) from trunkline.stream_event";
    assert_eq!(sql(owner, orders), "tea,unicorn");
}
