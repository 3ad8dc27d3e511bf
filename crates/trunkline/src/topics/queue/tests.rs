//! The buffer: what is dropped and where it is told, who waits, what is told of a connection that comes and goes.

use futures_util::FutureExt as _;

use std::time::{Duration, SystemTime};

use super::*;
use crate::topics::message::Sent;

fn message(n: u64) -> Message {
    let at = SystemTime::UNIX_EPOCH + Duration::from_secs(n);
    Message::new(Arc::new(Sent { id: n.cast_signed(), at: Some(at), ..Sent::default() }))
}

async fn all(queue: &Queue) -> Vec<String> {
    queue.close(None);
    let mut all = Vec::new();
    while let Some(event) = queue.next().await {
        all.push(match event.unwrap() {
            Event::Message(m) => m.id().to_string(),
            Event::Gap(gap) => format!("gap {:?}", gap.missed),
            other => format!("{other:?}"),
        });
    }
    all
}

#[tokio::test]
async fn what_goes_is_counted_where_it_would_have_been() {
    let oldest = Queue::new(2, OnFull::DropOldest, false, None);
    let newest = Queue::new(2, OnFull::DropNewest, false, None);
    for n in 1..=5 {
        oldest.push(message(n)).unwrap();
        newest.push(message(n)).unwrap();
    }
    assert_eq!(all(&oldest).await, ["gap Some(3)", "4", "5"]);
    assert_eq!(all(&newest).await, ["1", "2", "gap Some(3)"]);
}

#[tokio::test]
async fn who_waits_gets_it_back_until_half_is_free() {
    let queue = Queue::new(4, OnFull::Wait, false, None);
    for n in 1..=4 {
        queue.push(message(n)).unwrap();
    }
    assert_eq!(queue.push(message(5)).unwrap_err().id(), 5);
    queue.next().await.unwrap().unwrap();
    let room = queue.room();
    tokio::pin!(room);
    assert!(room.as_mut().now_or_never().is_none(), "one of four is not half");
    queue.next().await.unwrap().unwrap();
    room.await;
}

#[tokio::test]
async fn a_connection_that_comes_and_goes_leaves_its_last_state() {
    let queue = Queue::new(4, OnFull::Wait, false, None);
    for _ in 0..1000 {
        queue.tell(Event::Connected);
        queue.tell(Event::Lost);
    }
    for n in 0..1000 {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(n);
        queue.tell(Event::Gap(Gap { since: at, until: at, missed: None }));
        queue.tell(Event::Connected);
        queue.tell(Event::Lost);
    }
    assert_eq!(all(&queue).await, ["Connected", "Lost", "gap None"]);
}

#[test]
fn a_position_is_noted_once_the_gap_before_it_was_told() {
    let position = Position::of_text("1 0 0 1:1:").unwrap();
    let mut state = State::default();
    state.marks.push_back((0, position.clone()));
    assert!(state.settled().is_some());
    state.add(Event::dropped(SystemTime::UNIX_EPOCH));
    state.marks.push_back((0, position.clone()));
    assert!(state.settled().is_none(), "it is in the buffer");
    assert!(matches!(state.take(), Some(Event::Gap(_))));
    assert!(state.settled().is_none(), "somebody is told just now");
    state.in_hand = false;
    assert!(state.settled().is_some());
    state.put(message(1), 9, OnFull::Wait).unwrap();
    state.add(Event::dropped(SystemTime::UNIX_EPOCH));
    state.marks.push_back((0, position));
    assert!(state.settled().is_some(), "a gap behind what is not handled is behind the position too");
}
