//! `trunkline topics sub`: print what comes on topics, or run a command for each message.
//!
//! The first SIGINT or SIGTERM ends it after the message in hand, the second at once.

use clap::{Args, ValueEnum};
use tracing::warn;
use trunkline::{
    Trunkline,
    topics::{Event, Message, OnFull, Subscribe, Subscription},
};

use super::{Word, event::Show};
use crate::{
    args::Global,
    exec,
    exit::{Failure, Result},
    out::Out,
    signals, source,
};

/// What happens to messages for which there is no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Full {
    /// They wait in the database
    Wait,
    /// The oldest go, and a gap tells how many
    DropOldest,
    /// They go themselves, and a gap tells how many
    DropNewest,
}

/// Options of `topics sub`.
#[derive(Debug, Args)]
pub(crate) struct SubArgs {
    /// Topics and wildcards: "orders.*" is one word more, "orders.>" one or more
    #[arg(value_name = "TOPIC", required = true)]
    topics: Vec<String>,

    /// Topics of this kind: channel for plain PostgreSQL channels
    ///
    /// Without it, as they were declared, and volatile where nobody did.
    #[arg(short, long, value_enum, value_name = "KIND")]
    kind: Option<Word>,

    /// The name of a subscription to durable topics: it goes on where it was
    #[arg(short, long, value_name = "NAME")]
    name: Option<String>,

    /// Of all that listen so to the same topics, or with the same --name, one gets the messages; the others stand by
    #[arg(long, conflicts_with = "all")]
    single: bool,

    /// Every process gets every message; this is so unless told otherwise
    #[arg(long)]
    all: bool,

    /// Leave out what this process publishes itself
    #[arg(long)]
    filtered: bool,

    /// How many messages wait here
    #[arg(long, value_name = "N", default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    buffer: u32,

    /// What happens to those for which there is no room
    #[arg(long, value_enum, value_name = "WHAT", default_value = "wait")]
    on_full: Full,

    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// Run this with sh for each message: payload on stdin
    ///
    /// It gets TRUNKLINE_TOPIC, TRUNKLINE_ID, TRUNKLINE_MESSAGE_ID, TRUNKLINE_SENDER, TRUNKLINE_FENCE, and TRUNKLINE_HEADER_NAME for each
    /// header. Of a durable topic, an exit status other than 0 lets the message come again later.
    #[arg(long, value_name = "CMD", conflicts_with = "raw")]
    exec: Option<String>,

    /// Print payloads as they are: also on a terminal, and with their line breaks
    #[arg(long)]
    raw: bool,
}

impl SubArgs {
    /// What `topics listen` means by them.
    pub(super) fn of_a_listener(mut self) -> Self {
        self.kind.get_or_insert(Word::Channel);
        self.single = !self.all;
        self
    }

    fn options(&self) -> Subscribe {
        let mut options = Subscribe::new(&self.topics).buffer(usize::try_from(self.buffer).unwrap_or(1));
        options = options.on_full(match self.on_full {
            Full::Wait => OnFull::Wait,
            Full::DropOldest => OnFull::DropOldest,
            Full::DropNewest => OnFull::DropNewest,
        });
        if let Some(kind) = self.kind {
            options = options.kind(kind.into());
        }
        if let Some(name) = &self.name {
            options = options.name(name);
        }
        if self.single {
            options = options.single();
        }
        if self.filtered { options.filtered() } else { options }
    }
}

pub(crate) async fn run(global: &Global, args: SubArgs) -> Result<u8> {
    let stop = signals::drain(exec::kill_all)?;
    let begin = async {
        let trunkline = source::choose(global).await?.trunkline().await?;
        let subscription = trunkline.topics().subscribe(args.options()).await?;
        Ok((trunkline, subscription))
    };
    let Some((trunkline, mut subscription)) = signals::unless_stopped(&stop, begin).await? else {
        return Ok(signals::code());
    };
    let show = Show {
        out: Out::new(global.json, args.raw),
        topics: args.topics.len() > 1 || args.topics.iter().any(|t| t.contains(['*', '>'])),
        quiet: global.quiet,
    };
    let listened = listen(&mut subscription, &args, show, &stop).await;
    close(trunkline, subscription).await;
    listened.map(|()| signals::code())
}

async fn close(trunkline: Trunkline, subscription: Subscription) {
    subscription.close().await;
    trunkline.close().await;
}

async fn listen(
    subscription: &mut Subscription,
    args: &SubArgs,
    show: Show,
    stop: &tokio::sync::watch::Receiver<bool>,
) -> Result<()> {
    let mut count = 0;
    while args.count.is_none_or(|most| count < most) {
        let event = tokio::select! {
            biased;
            () = signals::stopped(stop) => return Ok(()),
            event = subscription.next() => event?,
        };
        match (event, &args.exec) {
            (None, _) => return Ok(()),
            (Some(Event::Message(message)), Some(command)) => {
                count += 1;
                execute(command, &message).await?;
            }
            (Some(event), _) => {
                count += u64::from(matches!(event, Event::Message(_)));
                show.event(&event)?;
            }
        }
    }
    Ok(())
}

async fn execute(command: &str, message: &Message) -> Result<()> {
    let ran = exec::run(command, &variables(message), message.payload().bytes(), false).await;
    let ran = ran.map_err(|e| Failure::io("cannot run the command", e))?;
    if !ran.status.success() {
        let cause = format!("exit status {}: {}", ran.code(), ran.said);
        warn!(topic = message.topic(), id = message.id(), cause, "the command failed");
        message.fail(&cause);
    }
    Ok(())
}

fn variables(message: &Message) -> Vec<(String, String)> {
    let mut variables = vec![
        ("TRUNKLINE_TOPIC".to_owned(), message.topic().to_owned()),
        ("TRUNKLINE_ID".to_owned(), message.id().to_string()),
    ];
    variables.extend(message.message_id().map(|id| ("TRUNKLINE_MESSAGE_ID".to_owned(), id.to_owned())));
    variables.extend(message.sender().map(|s| ("TRUNKLINE_SENDER".to_owned(), s.to_string())));
    variables.extend(message.fence().map(|f| ("TRUNKLINE_FENCE".to_owned(), f.to_string())));
    variables.extend(exec::header_variables(message.headers()));
    variables
}
