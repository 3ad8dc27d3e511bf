//! Volatile topics over a connection of the caller's own: a position that he keeps, and pages behind it.
//!
//! Guarantee: as `trunkline.topic_read` has it, which this calls. Nothing runs beside the caller: he reads, and reads again.
//!
//! What if it dies here: a page that was not passed comes again, to whoever goes on from [`Cursor::position`].

use std::{sync::Arc, time::SystemTime};

use tokio_postgres::{GenericClient, Row, types::Type};

use super::{
    look::{nothing, sent},
    message::{Event, Gap, Message},
};
use crate::Result;

/// A message's columns are where a look has them: see [`sent`].
const READ: &str = "select next, gap_since, gap_until, null, null, id, null, topic, sent_at, sender, content, bytes, headers::text, message_id
    from trunkline.topic_read($1, $2, $3)";
const LISTEN: &str = "select trunkline.topic_listen($1)::text";
const PAGE: i32 = 1000;

/// Reads volatile topics over your own connection, also within your own transaction: see [`Cursor::read`].
///
/// ```no_run
/// # async fn example(client: &mut tokio_postgres::Client) -> trunkline::Result<()> {
/// use trunkline::topics::{Cursor, Event};
///
/// let mut cursor = Cursor::begin(client, ["orders.>"]).await?;
/// cursor.listen(client).await?; // from now on a notification on this connection says: read
/// loop {
///     let tx = client.transaction().await?;
///     let page = cursor.read(&tx).await?;
///     for event in page.events() {
///         if let Event::Message(message) = event {
///             tx.execute("insert into seen values ($1)", &[&message.text()?]).await?;
///         }
///     }
///     tx.commit().await?;
///     let nothing = page.events().is_empty();
///     cursor.pass(page); // an empty one too
///     if nothing {
///         // Wait for a notification, a few seconds at most.
/// #       return Ok(());
///     }
/// }
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Cursor {
    topics: Vec<String>,
    position: String,
}

/// What [`Cursor::read`] found, and where it ends.
#[derive(Debug)]
pub struct Page {
    events: Vec<Event>,
    next: String,
}

impl Page {
    /// Messages, in the order of each sender; before them a gap, where some may have been missed.
    #[must_use]
    pub fn events(&self) -> &[Event] {
        &self.events
    }

    /// Where it ends: to be kept in the transaction of what you did with it, for [`Cursor::at`].
    #[must_use]
    pub fn position(&self) -> &str {
        &self.next
    }
}

impl Cursor {
    /// What is published from now on, on these topics and wildcards.
    ///
    /// # Errors
    /// [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for the topics, and outside READ COMMITTED; [`ErrorKind::Conflict`](crate::ErrorKind::Conflict) for one that is declared, and not as
    /// volatile; [`ErrorKind::Denied`](crate::ErrorKind::Denied).
    pub async fn begin(
        client: &impl GenericClient,
        topics: impl IntoIterator<Item = impl Into<String>>,
    ) -> Result<Self> {
        let topics: Vec<String> = topics.into_iter().map(Into::into).collect();
        let position = read(client, &topics, None).await?.next;
        Ok(Self { topics, position })
    }

    /// What was published on these topics since a position, of whichever cursor. Looks at nothing yet.
    pub fn at(topics: impl IntoIterator<Item = impl Into<String>>, position: impl Into<String>) -> Self {
        Self { topics: topics.into_iter().map(Into::into).collect(), position: position.into() }
    }

    /// Where it is.
    #[must_use]
    pub fn position(&self) -> &str {
        &self.position
    }

    /// The next messages, 1,000 and some 4 MiB at most, or none; read again at once where there were some. The cursor stays where it is
    /// until [`Cursor::pass`], so that what was rolled back comes again. What the transaction has published itself comes after its
    /// commit. In a transaction it keeps the ring from being emptied until that ends. Cancel-safe.
    ///
    /// # Errors
    /// As [`Cursor::begin`], and [`ErrorKind::Invalid`](crate::ErrorKind::Invalid) for a position that is none.
    pub async fn read(&self, client: &impl GenericClient) -> Result<Page> {
        read(client, &self.topics, Some(&self.position)).await
    }

    /// Goes on behind a page.
    pub fn pass(&mut self, page: Page) {
        self.position = page.next;
    }

    /// LISTENs for its topics, on this connection: a notification there, of whatever channel, says to read again. Publishers
    /// notify only after a read that found nothing. Read again every few seconds all the same: what was being published just then rings
    /// nobody. In SQL `trunkline.topic_listen`; `trunkline.topic_unlisten()` ends it.
    ///
    /// # Errors
    /// As [`Cursor::begin`].
    pub async fn listen(&self, client: &impl GenericClient) -> Result<()> {
        client.query_typed(LISTEN, &[(&self.topics, Type::TEXT_ARRAY)]).await?;
        Ok(())
    }
}

async fn read(client: &impl GenericClient, topics: &[String], since: Option<&str>) -> Result<Page> {
    let rows = client
        .query_typed(READ, &[(&topics, Type::TEXT_ARRAY), (&since, Type::TEXT), (&PAGE, Type::INT4)])
        .await?;
    let next = rows.first().ok_or_else(nothing)?.try_get(0)?;
    let events = rows.iter().filter_map(|row| event(row).transpose()).collect::<Result<_>>()?;
    Ok(Page { events, next })
}

fn event(row: &Row) -> Result<Option<Event>> {
    if row.try_get::<_, Option<i64>>(5)?.is_some() {
        return Ok(Some(Event::Message(Message::new(Arc::new(sent(row)?)))));
    }
    let (since, until): (Option<SystemTime>, Option<SystemTime>) = (row.try_get(1)?, row.try_get(2)?);
    Ok(since.zip(until).map(|(since, until)| Event::Gap(Gap { since, until, missed: None })))
}
