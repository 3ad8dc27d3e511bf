//! Writes in doubt: the connection breaks while requests are on their way to the database.

use std::sync::atomic::Ordering;

use trunkline::{ErrorKind, requests::Serve};

use crate::{
    requests::served,
    support::{Db, millis, secs, until, within},
    wire::Wire,
};

#[tokio::test]
async fn what_may_run_twice_is_written_again_when_its_write_is_in_doubt() {
    let db = Db::new().await;
    let responder = db.client("responder").await;
    let mut inbox = responder.requests().inbox(Serve::channel("work").concurrency(8));
    served(&db, "work", 1).await;
    let wire = Wire::new(&db);
    let caller = wire.client("caller").await;
    let requests = caller.requests();
    let first = requests.call("work", "first").start().await.unwrap();
    within(3_000, "the first", inbox.next()).await.unwrap().reply("y").await.unwrap();
    first.wait().await.unwrap();
    // The database never hears of these, and the caller cannot know that.
    wire.mute.store(true, Ordering::Relaxed);
    let twice = requests.call("work", "twice").idempotent().timeout(secs(20)).start().await.unwrap();
    let once = requests.call("work", "once").timeout(millis(2_500)).start().await.unwrap();
    until("the write to be lost", async || wire.lost.load(Ordering::Relaxed) > 0).await;
    wire.cut();
    let held = within(6_000, "it to be written again", inbox.next()).await.unwrap();
    assert_eq!(held.payload.bytes(), b"twice");
    held.reply("y").await.unwrap();
    within(3_000, "its reply", twice.wait()).await.unwrap();
    let ended = within(3_000, "the other's end", once.wait()).await.unwrap_err();
    assert!(matches!(ended.kind(), ErrorKind::TimedOut | ErrorKind::Lost), "{ended:?}");
    assert_eq!(ended.request(), None);
    assert!(inbox.try_next().is_none(), "what may run once was not written again");
}
