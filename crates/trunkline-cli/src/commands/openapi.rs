//! `trunkline openapi`: the description of the HTTP API, as JSON or as the page `docs/http-api.md`.

use clap::Args;

use crate::{
    exit::{OK, Result},
    http::openapi,
    out::Out,
};

/// Options of `openapi`.
#[derive(Debug, Args)]
pub(crate) struct OpenapiArgs {
    /// As a page for people
    #[arg(long)]
    markdown: bool,
}

pub(crate) fn run(args: &OpenapiArgs) -> Result<u8> {
    let out = Out::new(true, true);
    if args.markdown {
        out.bytes(openapi::page().as_bytes())?;
    } else {
        out.json(&openapi::document())?;
    }
    Ok(OK)
}
