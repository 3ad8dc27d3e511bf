use std::time::{Duration, Instant};
use trunkline::{Trunkline, requests::*};
#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() {
    let url = std::env::args().nth(1).unwrap();
    let secs: f64 = std::env::args().nth(2).unwrap().parse().unwrap();
    let r = Trunkline::connect(&url).await.unwrap();
    let c = Trunkline::connect(&url).await.unwrap();
    let _s = r.requests().serve(Serve::channel("hash").concurrency(512), |q: Request| async move {
        Ok::<_, Failure>(q.payload)
    });
    while c.requests().call("hash", "x").await.is_err() {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for n in [1usize, 16, 64, 256] {
        let end = Instant::now() + Duration::from_secs_f64(secs);
        let mut js = vec![];
        let t0 = Instant::now();
        for _ in 0..n {
            let q = c.requests();
            js.push(tokio::spawn(async move {
                let mut l = vec![];
                let p = "p".repeat(60);
                while Instant::now() < end {
                    let t = Instant::now();
                    match q.call("hash", p.as_str()).await {
                        Ok(_) => l.push(t.elapsed().as_micros() as u32),
                        Err(e) => println!("ERR {e:?}"),
                    }
                }
                l
            }));
        }
        let mut all = vec![];
        for j in js {
            all.extend(j.await.unwrap());
        }
        all.sort_unstable();
        let el = t0.elapsed().as_secs_f64();
        println!(
            "{n:4} in flight {:>8.0}/s p50 {}us p99 {}us {:?}",
            all.len() as f64 / el,
            all[all.len() / 2],
            all[all.len() * 99 / 100],
            0
        );
    }
    println!("{:?}\n{:?}", c.requests().stats(), r.requests().stats());
}
