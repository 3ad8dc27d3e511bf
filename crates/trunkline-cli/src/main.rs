//! tmp
#![allow(missing_docs, clippy::print_stdout, unreachable_pub)]
use clap::Parser;
#[path = "commands/bench/mod.rs"]
mod bench;
#[derive(Parser)]
struct A { #[arg(long)] url: String, #[command(flatten)] b: bench::BenchArgs }
#[tokio::main]
async fn main() {
    let a = A::parse();
    let v = bench::run(a.b, &a.url, &mut |l| println!("{l}")).await.unwrap();
    println!("{v}");
}
