//! Requests through the library: every promise of calling and serving.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Instant,
};

use tokio::sync::mpsc;
use trunkline::{
    ErrorKind, Trunkline,
    requests::{Content, Failure, Payload, Request, Serve, Serving},
};

use crate::support::{Db, millis, secs, until, within};

/// Answers with what it got, and says nothing else.
pub fn echo(tl: &Trunkline, channel: &str) -> Serving {
    tl.requests().serve(channel, |r: Request| async move { Ok::<_, Failure>(r.payload) })
}

/// Waits until so many responders of a channel are present.
pub async fn served(db: &Db, channel: &str, by: usize) {
    let raw = db.raw().await;
    let sql = format!("select count(*) = {by} from trunkline.request_responders() where channel = '{channel}'");
    raw.until("responders to be present", &sql).await;
}

async fn pair(channel: &str) -> (Db, Trunkline, Trunkline) {
    let db = Db::new().await;
    let (caller, responder) = (db.client("caller").await, db.client("responder").await);
    let _ = channel;
    (db, caller, responder)
}

#[tokio::test]
async fn text_json_and_bytes_come_back_as_they_were_sent() {
    let (db, caller, responder) = pair("echo").await;
    let _serving = echo(&responder, "echo");
    served(&db, "echo", 1).await;
    for size in [0, 1, 7_999, 8_000, 8_001, 1 << 20] {
        let bytes: Vec<u8> = (0..size).map(|i| (i % 256) as u8).collect();
        let reply = caller.requests().call("echo", bytes.clone()).await.unwrap();
        assert_eq!((reply.payload.content(), reply.payload.bytes()), (Content::Bytes, bytes.as_slice()), "{size}");
    }
    let text = "é'\\\"\n\r\u{0} \u{1F600} %s {}";
    assert_eq!(caller.requests().call("echo", text).await.unwrap().text().unwrap(), text);
    let json = serde_json::json!({"a": [1, null, "x\u{0}"], "b": 9_007_199_254_740_993_i64});
    let reply = caller.requests().call("echo", Payload::json(&json).unwrap()).await.unwrap();
    assert_eq!(reply.payload.content(), Content::Json);
    assert_eq!(reply.parse::<serde_json::Value>().unwrap(), json);
}
