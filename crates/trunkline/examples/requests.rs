//! A shop that quotes prices, and all that a caller of it can hear: a reply, an error, nobody there, too late.
//!
//! `cargo run -p trunkline --example requests -- [call|respond] [URL]`: without a role it plays both, without a URL it
//! takes `DATABASE_URL`. The schema must be installed. `examples/python` and `examples/node` talk to it and the other
//! way round; they print the same.

#![expect(clippy::print_stdout, reason = "what it prints is what it shows")]

use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::signal::unix::{SignalKind, signal};
use trunkline::{
    Error, ErrorKind, Trunkline,
    requests::{Failure, Payload, Request, Requests},
};

#[derive(Serialize, Deserialize)]
struct Order {
    item: String,
    count: u32,
}

#[derive(Serialize, Deserialize)]
struct Price {
    cents: u32,
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args: Vec<String> = std::env::args().skip(1).collect();
    let role = args.first().filter(|a| *a == "call" || *a == "respond").cloned();
    if role.is_some() {
        args.remove(0);
    }
    let url = args.pop().map_or_else(|| std::env::var("DATABASE_URL"), Ok)?;

    let trunkline = Trunkline::connect(&url).await?;
    match role.as_deref() {
        Some("call") => call(&trunkline.requests()).await?,
        Some(_) => respond(&trunkline.requests()).await?,
        None => {
            let serving = trunkline.requests().serve("price", quote);
            call(&trunkline.requests()).await?;
            serving.stop().await;
        }
    }
    trunkline.close().await;
    Ok(())
}

/// Answers one request. What it fails with is what the caller hears; `?` makes an error of any kind into that.
async fn quote(request: Request) -> Result<Payload, Failure> {
    let order: Order = request.payload.parse()?;
    let each = match order.item.as_str() {
        "tea" => 450,
        "sugar" => 120,
        "antique" => appraise().await,
        other => return Err(Failure::new("unknown item", format!("we do not sell {other}"))),
    };
    Ok(Payload::json(&Price { cents: each * order.count })?)
}

/// Takes longer than its caller waits: this future is dropped when the request's deadline passes.
async fn appraise() -> u32 {
    tokio::time::sleep(Duration::from_millis(1500)).await;
    99_000
}

/// Serves until it is told to stop; what it has taken by then is answered.
async fn respond(requests: &Requests) -> Result<(), Box<dyn std::error::Error>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let serving = requests.serve("price", quote);
    serving.ready().await?;
    println!("serving price");
    tokio::select! {
        ended = serving.ended() => return Ok(ended?),
        _ = terminate.recv() => {}
    }
    serving.stop().await;
    println!("stopped");
    Ok(())
}

async fn call(requests: &Requests) -> trunkline::Result<()> {
    // Two at once, over one connection. The responder may still be on its way, so the first ones wait for it.
    let (tea, sugar) = tokio::join!(
        requests.call("price", order("tea", 3)?).wait_for_responder(),
        requests.call("price", order("sugar", 2)?).wait_for_responder(),
    );
    println!("ok: 3 tea cost {} cents", tea?.parse::<Price>()?.cents);
    println!("ok: 2 sugar cost {} cents", sugar?.parse::<Price>()?.cents);

    for (channel, item) in [("price", "unicorn"), ("bakery", "bread"), ("price", "antique")] {
        match requests.call(channel, order(item, 1)?).timeout(Duration::from_secs(1)).await {
            Ok(reply) => println!("ok: 1 {item} costs {} cents", reply.parse::<Price>()?.cents),
            Err(e) => println!("{}", outcome(&e)?),
        }
    }
    Ok(())
}

fn order(item: &str, count: u32) -> trunkline::Result<Payload> {
    Payload::json(&Order { item: item.to_owned(), count })
}

/// The outcomes to reckon with; whatever else went wrong is an error of this program.
fn outcome(error: &Error) -> trunkline::Result<String> {
    match error.kind() {
        ErrorKind::Remote => Ok(format!("remote error: {}, {error}", error.code().unwrap_or("no code"))),
        ErrorKind::NoResponder => Ok(format!("no responder: {error}")),
        ErrorKind::TimedOut => Ok("timed out".to_owned()),
        kind => Err(Error::new(kind, error.to_string())),
    }
}
