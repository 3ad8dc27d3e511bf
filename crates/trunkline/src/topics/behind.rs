//! A subscription whose buffer was full: it reads on by itself, when there is room, and comes back to the others when it has caught up.
//!
//! Guarantee: as `reader.rs`. What it has not read stays in the ring, for a minute at least; after that it is a gap. It holds a page in
//! memory beside its buffer, no more.
//!
//! What if it dies here: as the reader; a subscription that is dropped meanwhile ends it.

use std::{sync::Arc, time::Duration};

use tokio::{sync::mpsc::WeakUnboundedSender, time::sleep};
use tracing::{debug, warn};
use uuid::Uuid;

use super::{
    filter::Wanted,
    look::{Placed, Position, Window},
    message::{Event, Message},
    reader::{Command, Member, gap},
};
use crate::{
    ErrorKind,
    listener::{Listener, POLL},
};

#[derive(Debug)]
pub(super) struct Behind {
    pub(super) member: Member,
    /// What this sees it has.
    pub(super) ahead: Option<Position>,
    pub(super) own: Vec<Uuid>,
    /// For which there was no room.
    pub(super) rest: Vec<Placed>,
    /// From behind them on.
    pub(super) window: Window,
}

impl Behind {
    pub(super) async fn run(mut self, listener: Arc<Listener>, back: WeakUnboundedSender<Command>) {
        let wanted = Wanted::of(self.member.patterns.iter());
        loop {
            for message in std::mem::take(&mut self.rest) {
                let mut message = Message::new(message.sent).under(self.member.turn.as_ref());
                while let Err(full) = self.member.queue.push(message) {
                    self.member.queue.room().await;
                    message = full;
                }
            }
            self.member.queue.room().await;
            if self.member.queue.is_over(self.member.turn.as_ref()) {
                return;
            }
            if let Some(end) = self.window.end() {
                if let Some(back) = back.upgrade() {
                    let _ = back.send(Command::Join(Box::new((self.member, end.clone()))));
                }
                return;
            }
            self.read(&listener, &wanted).await;
        }
    }

    /// The next page, into `rest`.
    async fn read(&mut self, listener: &Listener, wanted: &Wanted) {
        let Ok(link) = listener.link().await else { return self.member.queue.close(None) };
        let page = match self.window.next(&link, wanted).await {
            Ok(page) => page,
            Err(e) if matches!(e.kind(), ErrorKind::Denied | ErrorKind::Schema | ErrorKind::Epoch) => {
                return self.member.queue.close(Some(e));
            }
            Err(e) if matches!(e.kind(), ErrorKind::Unreachable | ErrorKind::Cancelled) => {
                debug!(error = %e, "cannot look");
                return sleep(Duration::from_millis(20)).await;
            }
            Err(e) => {
                warn!(error = %e, "cannot read topics; trying again");
                self.member.queue.tell(Event::Error(e));
                return sleep(POLL).await;
            }
        };
        if let Some((since, until)) = page.gap {
            self.member.queue.tell(gap(since, until));
        }
        let listens = |m: &Placed| self.member.patterns.iter().any(|p| p.matches(&m.sent.topic));
        let ahead = |m: &Placed| self.ahead.as_ref().is_some_and(|at| at.seen.sees(m.xid));
        let own = |m: &Placed| self.member.filtered && m.sent.sender.is_some_and(|s| self.own.contains(&s));
        self.rest = page.messages.into_iter().filter(|m| listens(m) && !ahead(m) && !own(m)).collect();
    }
}
