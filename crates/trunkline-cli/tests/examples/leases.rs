//! A lease that changes hands.

use crate::{Running, database, kit::Kit, server, sql};

const SAID: [&str; 7] = [
    "ann holds the till",
    "bob, at once: false",
    "bob holds the till, and reads: 450 cents",
    "bob is asked to resign, and still holds it: true",
    "bob: lease \"till\" is no longer held with fence 2",
    "bob knows: true; the fence rose: true",
    "in the till: 570 cents",
];

#[test]
fn a_lease_changes_hands_and_who_was_dismissed_writes_nothing() {
    let kit = Kit::get();
    let (_dir, server) = server();
    let (owner, app) = database(&server, "leases");
    sql(&owner, "grant trunkline_admin to app; grant create on schema public to app"); // it asks others to resign
    assert_eq!(Running::start(kit.both("leases").arg(&app)).end(), (0, SAID.map(str::to_owned).to_vec()));
}
