//! The caller's and the responder's process as victims.

use std::time::Instant;

use tokio::sync::mpsc::{self, UnboundedReceiver};
use trunkline::{ErrorKind, Trunkline, requests::Serve};

use super::scene::{Asked, GRACE, Kind, Outcome, Responder, Said, Scene, Step, all, ask, outcome, well};
use crate::support::{Db, Process, Raw, millis, say, secs, signal, until, within};

/// The lines that a part is told; they end with its parent.
pub fn told() -> UnboundedReceiver<String> {
    let (tells, told) = mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(Result::ok) {
            let _ = tells.send(line);
        }
    });
    told
}

/// The part of a caller: `ask` or `hold`, the milliseconds, 1 where it is idempotent; what is held ends by `cancel`.
pub async fn caller(me: &Trunkline) {
    say("ready");
    let mut lines = told();
    let mut held = None;
    while let Some(line) = lines.recv().await {
        if line == "cancel" {
            held = None;
            continue;
        }
        let words: Vec<&str> = line.split(' ').collect();
        let asked = ask(me, words[2] == "1", millis(words[1].parse().unwrap()), words[0] == "hold");
        held = Some(asked.cancel);
        tokio::spawn(async move { say(&format!("ended {}", asked.ended.await.unwrap().line())) });
    }
    drop(held);
}

/// The part of a responder: takes, and answers when it is told to `answer`.
pub async fn responder(me: &Trunkline) {
    let mut inbox = me.requests().inbox(Serve::channel("work").concurrency(1));
    inbox.ready().await.unwrap();
    say("ready");
    let mut lines = told();
    while let Some(incoming) = inbox.next().await {
        say(&format!("took {}", incoming.id));
        if lines.recv().await.is_none() {
            return;
        }
        let text = format!("child {}", incoming.attempt);
        say(&format!("answered {:?}", incoming.reply(text).await.map_err(|e| e.kind())));
    }
}

const CALLER: &str = "child-caller";
const RESPONDER: &str = "child-responder";

/// A caller's process and a responder of ours, with a request at its step.
struct Calling {
    scene: Scene,
    process: Process,
    responder: Option<Responder>,
    hider: Option<Raw>,
}

impl Calling {
    async fn at(step: Step, kind: Kind, limit: u64) -> Self {
        let scene = Scene::new(Db::new().await, kind, step).await;
        let mut process = Process::start("caller", &scene.db).await;
        let go = matches!(step, Step::Replied | Step::Fetch);
        let mut responder = match step {
            Step::Waiting => None,
            _ => Some(Responder::start(&scene.db, "responder", go).await),
        };
        match step {
            Step::Write | Step::Replied => scene.gate("request", "after", CALLER).await,
            Step::Take => scene.gate("take", "after", "responder").await,
            Step::Reply | Step::Fetch => scene.gate("ending", "after", "responder").await,
            Step::Cancel | Step::Expiry => scene.gate("ending", "after", CALLER).await,
            _ => {}
        }
        let verb = if step == Step::Cancel { "hold" } else { "ask" };
        if step != Step::Before {
            process.tell(&format!("{verb} {limit} {}", i32::from(kind.again))).await;
        }
        let mut hider = None;
        match (step, &mut responder) {
            (Step::Waiting, _) => scene.reaches("waiting").await,
            (Step::Write, _) => scene.at_gate(CALLER).await,
            (Step::Take, _) => scene.at_gate("responder").await,
            (Step::Handler, Some(r)) => r.took(&scene).await,
            (Step::Reply, Some(r)) => {
                r.took(&scene).await;
                r.go.send_replace(true);
                scene.at_gate("responder").await;
            }
            (Step::Replied, _) => {
                scene.at_gate(CALLER).await;
                signal(process.pid(), "-STOP");
                scene.open().await;
                scene.reaches("ok").await;
            }
            (Step::Fetch, _) => {
                scene.at_gate("responder").await;
                hider = Some(scene.hide_endings(CALLER).await);
            }
            (Step::Cancel | Step::Expiry, Some(r)) => {
                r.took(&scene).await;
                if step == Step::Cancel {
                    process.tell("cancel").await;
                }
                scene.at_gate(CALLER).await;
            }
            _ => {}
        }
        Self { scene, process, responder, hider }
    }

    /// Carries out what the victim had sent, and lets everybody else go on.
    async fn release(&mut self) {
        self.scene.open().await;
        self.hider = None;
        if self.responder.is_none() {
            self.responder = Some(Responder::start(&self.scene.db, "responder", false).await);
        }
    }
}

async fn caller_killed(step: Step, kind: Kind) {
    let limit = match step {
        Step::Expiry => 4_000,
        Step::Write | Step::Waiting if !kind.durable => 4_000, // what is passed over ends then
        _ => 20_000,
    };
    let mut calling = Calling::at(step, kind, limit).await;
    calling.process.child.kill().await.unwrap();
    calling.release().await;
    let Calling { scene, responder, .. } = calling;
    let mut responder = responder.unwrap();
    let told = |said: &[Said]| said.iter().any(|s| matches!(s, Said::Told(_)));
    let mut said = Vec::new();
    let held = matches!(step, Step::Write | Step::Waiting | Step::Take | Step::Handler) && !kind.durable;
    if held || matches!(step, Step::Cancel | Step::Expiry) {
        scene.buried(CALLER).await;
        // Either it was passed over, or the handler is told.
        let took = step != Step::Write && step != Step::Waiting || {
            said.extend(responder.rest());
            !said.is_empty()
        };
        while took && !told(&said) {
            said.push(within(3_000, &format!("{scene}: to be told"), responder.said.recv()).await.unwrap());
        }
    }
    responder.go.send_replace(true);
    let after = scene.db.client("after").await;
    well(&scene, &after).await;
    said.extend(responder.rest());
    let answers: Vec<_> = said
        .iter()
        .filter_map(|s| match s {
            Said::Answered(_, verdict) => Some(*verdict),
            _ => None,
        })
        .collect();
    let states = scene.states().await;
    match step {
        Step::Before => assert_eq!(states, ["ok"], "{scene}"),
        Step::Cancel | Step::Expiry => {
            let word = if step == Step::Cancel { "cancelled" } else { "timed out" };
            assert_eq!(states, [word, "ok"], "{scene}");
            assert!(answers.contains(&Err(ErrorKind::Stale)), "{scene}: {said:?}");
        }
        _ if held => {
            assert!(answers.iter().all(Result::is_ok), "{scene}: {said:?}");
            let ended = "select not exists (select from trunkline.request_list('work') where state in ('waiting', 'taken'))";
            scene.raw.until(&format!("{scene}: the end of it"), ended).await;
        }
        _ => {
            assert_eq!(states, ["ok", "ok"], "{scene}");
            assert!(answers.iter().all(Result::is_ok), "{scene}: {said:?}");
        }
    }
    scene.once().await;
}

const CALLERS_STEPS: [Step; 9] = [
    Step::Before,
    Step::Write,
    Step::Waiting,
    Step::Take,
    Step::Handler,
    Step::Reply,
    Step::Replied,
    Step::Fetch,
    Step::Cancel,
];

#[tokio::test]
async fn a_caller_killed_at_any_step_leaves_one_outcome_and_handlers_that_know() {
    let steps = CALLERS_STEPS.into_iter().chain([Step::Expiry]);
    all(steps.flat_map(|step| [Kind::ALL[0], Kind::ALL[2]].map(|kind| caller_killed(step, kind)))).await;
}

async fn caller_frozen(step: Step, kind: Kind) {
    // What is passed over meanwhile ends at its deadline; all else ends before.
    let passed = matches!(step, Step::Write | Step::Waiting) && !kind.durable;
    let mut calling = Calling::at(step, kind, if passed { 9_000 } else { 25_000 }).await;
    if step != Step::Replied {
        signal(calling.process.pid(), "-STOP");
    }
    if step == Step::Waiting {
        calling.scene.buried(CALLER).await;
    }
    calling.release().await;
    let Calling { scene, responder, mut process, .. } = calling;
    if step != Step::Before {
        scene.buried(CALLER).await; // before its first call it has nothing in hand, and is at rest
    }
    let responder = responder.unwrap();
    responder.go.send_replace(true);
    signal(process.pid(), "-CONT");
    let goes_on = Instant::now();
    if step != Step::Before {
        let ended = Outcome::parse(&process.line("ended").await);
        // A slow machine may have frozen it past its deadline.
        let soon = goes_on.elapsed() < secs(1);
        assert!(ended.late <= GRACE || soon, "{scene}: {ended:?}");
        // Who cancels waits for a second, which has gone by; what may run twice was perhaps written again. Lost, where it
        // never learned whether it was written.
        let unsaid = step == Step::Cancel && ended.word == "timed out";
        let word = if unsaid { "cancelled" } else { ended.word.as_str() };
        let unknown = matches!(step, Step::Write | Step::Replied) && !kind.again && ended.word == "lost";
        // The database could not be asked by the deadline, which a slow machine reaches while the connection is away.
        let unasked = ended.word == "timed out" && ended.late > 0;
        let says = |s: &String| s == word || unasked && s == "ok";
        let what = format!("{scene}: {ended:?}, and the database to say so");
        until(&what, async || unknown || scene.states().await.iter().all(says)).await;
        let states = scene.states().await;
        assert!(states.len() == 1 || kind.again && states.len() == 2, "{scene}: {states:?}");
    }
    // One that it makes in the moment in which it finds its session buried may be lost, or is passed over to its deadline; the next is not.
    let mut words = Vec::new();
    while words.len() < 2 && words.last().is_none_or(|w| w != "ok") {
        process.tell("ask 15000 0").await;
        words.push(Outcome::parse(&process.line("ended").await).word);
    }
    assert!(["ok", "lost", "timed out"].contains(&words[0].as_str()), "{scene}: its next calls: {words:?}");
    assert_eq!(words.last().unwrap(), "ok", "{scene}: its next calls");
    scene.once().await;
}

#[tokio::test]
async fn a_caller_frozen_past_its_lease_at_any_step_hears_what_the_database_says_and_goes_on() {
    let cells = CALLERS_STEPS.into_iter();
    all(cells.flat_map(|step| [Kind::ALL[0], Kind::ALL[3]].map(|kind| caller_frozen(step, kind)))).await;
}

#[tokio::test]
async fn a_caller_frozen_past_its_deadline_is_told_when_it_goes_on() {
    let Calling { scene, mut process, responder, .. } = Calling::at(Step::Handler, Kind::ALL[0], 1_200).await;
    signal(process.pid(), "-STOP");
    scene.reaches("timed out").await;
    signal(process.pid(), "-CONT");
    let ended = Outcome::parse(&within(GRACE as u64, "its end", process.line("ended")).await);
    assert_eq!(ended.word, "timed out");
    let mut responder = responder.unwrap();
    let told = responder.says(&scene).await;
    assert!(matches!(told, Said::Told(_)), "{told:?}");
    responder.go.send_replace(true);
    let answered = responder.says(&scene).await;
    assert!(matches!(answered, Said::Answered(_, Err(ErrorKind::Stale))), "{answered:?}");
}

/// A responder's process at its step, a caller of ours, and another responder that would go on.
struct Responding {
    scene: Scene,
    process: Process,
    caller: Trunkline,
    asked: Asked,
    other: Responder,
}

impl Responding {
    async fn at(step: Step, when: &str, kind: Kind) -> Self {
        let scene = Scene::new(Db::new().await, kind, step).await;
        let caller = scene.db.client("caller").await;
        let mut process = Process::start("responder", &scene.db).await;
        match step {
            Step::Take => scene.gate("take", when, RESPONDER).await,
            Step::Reply => scene.gate("ending", when, RESPONDER).await,
            _ => {}
        }
        let asked = ask(&caller, kind.again, secs(20), false);
        if step == Step::Take {
            scene.at_gate(RESPONDER).await;
        } else {
            process.line("took").await;
        }
        if step == Step::Reply {
            process.tell("answer").await;
            scene.at_gate(RESPONDER).await;
        }
        let other = Responder::start(&scene.db, "other", true).await;
        Self { scene, process, caller, asked, other }
    }
}

/// What becomes of a request whose responder is gone, and did not answer.
async fn lost_or_handed_on(scene: &Scene, asked: Asked, other: &mut Responder) {
    let ended = outcome(scene, asked.ended).await;
    // A slow machine's victim gave its connection up before: what nobody has seen goes out again, as the same attempt.
    let given_back = scene.step == Step::Take && ended.by == "other 1";
    let (word, by) = match scene.kind.again {
        _ if given_back => ("ok", "other 1"),
        true => ("ok", "other 2"),
        false => ("lost", ""),
    };
    assert_eq!((ended.word.as_str(), ended.by.as_str()), (word, by), "{scene}");
    let took = other.rest().iter().filter(|s| matches!(s, Said::Took(..))).count();
    assert_eq!(took, usize::from(word == "ok"), "{scene}: so often the other one got it");
    assert_eq!(scene.states().await, [word], "{scene}: the database says");
}

async fn responder_killed(step: Step, when: &str, commits: bool, kind: Kind) {
    let Responding { scene, mut process, caller, asked, mut other } = Responding::at(step, when, kind).await;
    process.child.kill().await.unwrap();
    if !commits {
        let pid = scene.db.backend(&scene.raw, RESPONDER).await;
        scene.raw.run(&format!("select pg_terminate_backend({pid})")).await;
    }
    scene.open().await;
    if step == Step::Reply && commits {
        let ended = outcome(&scene, asked.ended).await;
        assert_eq!((ended.word.as_str(), ended.by.as_str()), ("ok", "child 1"), "{scene}");
        assert_eq!(scene.states().await, ["ok"], "{scene}: the database says");
    } else {
        let what = format!("{scene}: the loss to be seen");
        within(4_000, &what, lost_or_handed_on(&scene, asked, &mut other)).await;
    }
    well(&scene, &caller).await;
    scene.once().await;
}

#[tokio::test]
async fn a_responder_killed_at_any_step_answers_once_or_its_request_is_lost_or_handed_on() {
    let cells = [
        (Step::Take, "after", true),
        (Step::Handler, "", true),
        (Step::Reply, "after", true),
        (Step::Reply, "before", false),
    ];
    let cells = cells
        .into_iter()
        .flat_map(|(step, when, commits)| Kind::ALL.map(|kind| responder_killed(step, when, commits, kind)));
    all(cells).await;
}

async fn responder_frozen(step: Step, when: &str, kind: Kind) {
    let Responding { scene, mut process, caller, asked, mut other } = Responding::at(step, when, kind).await;
    signal(process.pid(), "-STOP");
    if step == Step::Take || when == "after" {
        scene.open().await;
    }
    if (step, when) == (Step::Reply, "after") {
        let ended = within(1_000, &format!("{scene}: the reply"), outcome(&scene, asked.ended)).await;
        assert_eq!((ended.word.as_str(), ended.by.as_str()), ("ok", "child 1"), "{scene}");
        scene.buried(RESPONDER).await;
        signal(process.pid(), "-CONT");
        assert_eq!(process.line("answered").await, "Ok(())", "{scene}");
    } else {
        lost_or_handed_on(&scene, asked, &mut other).await;
        scene.open().await;
        signal(process.pid(), "-CONT");
        if step == Step::Handler {
            process.tell("answer").await;
        }
        if step != Step::Take {
            assert_eq!(process.line("answered").await, "Err(Stale)", "{scene}");
        }
    }
    other.stop().await;
    let after = ask(&caller, false, secs(15), false);
    // Of a take whose answer it found when it went on, it may have a request that is long another's.
    loop {
        process.line("took").await;
        process.tell("answer").await;
        match process.line("answered").await.as_str() {
            "Ok(())" => break,
            refused => assert_eq!((refused, step), ("Err(Stale)", Step::Take), "{scene}"),
        }
    }
    let after = outcome(&scene, after.ended).await;
    assert_eq!((after.word.as_str(), after.by.as_str()), ("ok", "child 1"), "{scene}: it serves again");
    scene.once().await;
}

#[tokio::test]
async fn a_responder_frozen_past_its_lease_at_any_step_is_refused_and_serves_again() {
    let cells = [(Step::Take, "after"), (Step::Handler, ""), (Step::Reply, "before"), (Step::Reply, "after")];
    let cells =
        cells.into_iter().flat_map(|(step, when)| Kind::ALL.map(|kind| responder_frozen(step, when, kind)));
    all(cells).await;
}
