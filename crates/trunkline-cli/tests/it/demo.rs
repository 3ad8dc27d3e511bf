//! `trunkline demo`: all of it, as short as it goes.

use crate::{code, database, run, sql, stderr, stdout};

#[test]
fn the_demo_holds_its_promises_and_leaves_no_consumer_behind() {
    let url = database();
    let played = run(&url, &["demo", "--for", "4s", "--json"]);
    assert_eq!(code(&played), 0, "{}", stderr(&played));
    let told: serde_json::Value = serde_json::from_str(&stdout(&played)).unwrap();
    let number = |name: &str| told[name].as_u64().unwrap_or_else(|| panic!("{name} in {told}"));
    assert!(told["ok"] == true && number("replied") > 0, "{told}");
    let events = number("events");
    // What a consumer that was killed had just been answered, it may not have appended.
    assert!(events > 0 && events <= number("replied") + number("unknown"), "{told}");
    assert_eq!((number("consumer_a"), number("consumer_b")), (events, events));
    let kept = "select (select count(*) from trunkline.stream_consumer) || ' ' || (select count(*) from trunkline.stream)";
    assert_eq!(sql(&url, kept).as_deref(), Some("0 1"));
}
