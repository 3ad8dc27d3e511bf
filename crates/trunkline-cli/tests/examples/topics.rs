//! Prices, a channel, and two clerks.

use crate::{Running, database, kit::Kit, server};

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
