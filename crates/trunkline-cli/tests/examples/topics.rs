//! Prices, a channel, and two clerks; and tills in other languages, over their own connections.

use std::thread;

use nix::sys::signal::Signal;

use crate::{
    Running, database,
    kit::{Kit, Language, succeed},
    server, sql, trunkline,
};

const SAID: [&str; 7] = [
    "price.tea: 300",
    "price.milk: 120",
    "price.sugar: no price: a lot",
    "stock: tea is low",
    "the first clerk: 3 tea",
    "active with fence 2",
    "the second clerk: 1 milk",
];

#[test]
fn prices_are_shown_notifications_heard_and_of_two_clerks_one_is_active() {
    let kit = Kit::get();
    let (_dir, server) = server();
    let (_owner, app) = database(&server, "topics");
    assert_eq!(Running::start(kit.both("topics").arg(&app)).end(), (0, SAID.map(str::to_owned).to_vec()));
}

#[test]
fn tills_add_up_what_is_sold_over_their_own_connections() {
    let kit = Kit::get();
    let (_dir, server) = server();
    thread::scope(|s| {
        for language in [Language::Python, Language::Node] {
            let (_owner, app) = database(&server, &format!("till_{language:?}").to_lowercase());
            s.spawn(move || {
                let mut till = Running::start(kit.command(language, "subscribe").arg(&app));
                till.wait_for("listening");
                succeed(&mut trunkline(&app, &["-q", "pub", "sales.eu", r#"{"cents":300}"#, "--json-payload"]));
                till.wait_for("sales.eu: 300 cents, 300 in all");
                sql(&app, "select trunkline.topic_publish_json('sales.us', '{\"cents\": 50}'), trunkline.topic_publish('x.us', '')");
                till.wait_for("sales.us: 50 cents, 350 in all");
                till.signal(Signal::SIGTERM);
                assert_eq!(till.end().0, 0, "{language:?}");
            });
        }
    });
}
