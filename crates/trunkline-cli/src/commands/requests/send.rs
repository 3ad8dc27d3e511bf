//! `trunkline requests send`: one way, without a reply.

use clap::Args;

use super::{call::Asking, outcome::Shown};
use crate::{
    args::Global,
    exit::{Failure, OK, Result},
    out::Out,
    source,
};

/// Options of `requests send`.
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    #[command(flatten)]
    asking: Asking,

    /// Wait until a responder has taken it
    #[arg(long)]
    confirm: bool,
}

pub(crate) async fn run(global: &Global, args: SendArgs) -> Result<u8> {
    let out = Out::new(global.json, true);
    let payload = args.asking.read().await?;
    let trunkline = source::choose(global).await?.trunkline().await?;
    let mut call = args.asking.apply(trunkline.requests().send(args.asking.channel.as_str(), payload));
    if args.confirm {
        call = call.confirm();
    }
    let sent = call.await;
    trunkline.close().await;
    if out.json {
        out.line(&Shown::of(&sent, None).json())?;
        return Ok(sent.map_or_else(|e| Failure::from(e).code(), |_| OK));
    }
    out.line(&sent?.id.to_string())?;
    Ok(OK)
}
