//! The counter: a consumer of the stream of answers, which tells what it has seen.

use clap::Args;
use trunkline::{Result, Trunkline, streams::Position};

use super::{
    ANSWERS,
    event::{Event, Voice},
    part::{self, Order},
};

/// Arguments of `trunkline demo counter`.
#[derive(Debug, Args)]
pub(super) struct CounterArgs {
    /// Which consumer of the stream it is; each gets every event
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=9))]
    number: u8,
    /// Speak JSON, and leave when stdin closes
    #[arg(long, hide = true)]
    events: bool,
}

/// The consumer's name.
fn name(number: u8) -> String {
    format!("count-{number}")
}

/// Makes the stream if it is not there, and its consumers anew, from now on.
pub(super) async fn prepare(trunk: &Trunkline, counters: u8) -> Result<()> {
    trunk.streams().open(ANSWERS).await?;
    for number in 1..=counters {
        trunk.streams().unregister(ANSWERS, &name(number)).await?;
        trunk.streams().register(ANSWERS, &name(number), Position::End).await?;
    }
    Ok(())
}

/// Removes the consumers, so that nothing is kept for them.
pub(super) async fn forget(trunk: &Trunkline, counters: u8) -> Result<()> {
    for number in 1..=counters {
        trunk.streams().unregister(ANSWERS, &name(number)).await?;
    }
    Ok(())
}

/// Counts until it is told to leave.
pub(super) async fn run(url: &str, args: &CounterArgs, json: bool) -> Result<()> {
    let mut orders = part::orders(args.events)?;
    let trunk = part::connect(url, "demo-counter").await?;
    let voice = Voice::new(args.events || json);
    if !args.events {
        trunk.streams().open(ANSWERS).await?;
        trunk.streams().register(ANSWERS, &name(args.number), Position::End).await?;
    }
    let mut consumer = trunk.streams().consumer(ANSWERS, name(args.number));
    voice.say(&Event::Ready { address: part::address(&trunk) });
    voice.tell("Counting the events of the stream \"answers\". Ctrl-C leaves.");
    let mut count = 0;
    loop {
        tokio::select! {
            batch = consumer.next() => {
                let batch = batch?;
                batch.finish().await?;
                count += batch.events().len();
                voice.say(&Event::Counted { events: batch.events().iter().map(|e| e.id).collect() });
            }
            order = orders.recv() => match order {
                Some(Order::Leave) | None => break,
                Some(_) => {}
            },
            () = voice.alone() => break,
        }
    }
    part::close(trunk).await;
    voice.say(&Event::Left { text: format!("left after {count} events") });
    Ok(())
}
