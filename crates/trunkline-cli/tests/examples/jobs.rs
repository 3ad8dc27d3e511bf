//! A worker, and who pushes.

use nix::sys::signal::Signal;

use crate::{Running, database, kit::Kit, server, sql, until};

const PUSHED: [&str; 4] =
    ["pushed: ann, 500", "taken back: bob, 700", "pushed: ann, 250", "pushed: nobody, 1"];
const WORKED: [&str; 5] = [
    "working on invoices",
    "ann paid 500, 500 in all",
    "ann paid 250, 750 in all",
    "nobody: unknown, it comes again",
    "nobody: unknown, given up",
];

#[test]
fn each_invoice_is_paid_once_and_what_fails_is_a_dead_letter_in_the_end() {
    let kit = Kit::get();
    let (_dir, server) = server();
    let (owner, app) = database(&server, "jobs");
    sql(&owner, "grant create on schema public to app");
    let mut working = Running::start(kit.both("jobs").arg("work").arg(&app));
    working.wait_for("working on invoices");
    let pushed = Running::start(kit.both("jobs").arg("push").env("DATABASE_URL", &app)).end();
    assert_eq!(pushed, (0, PUSHED.map(str::to_owned).to_vec()));
    until("the last one to be given up", || sql(&owner, "select dead from trunkline.job_queues()") == "1");
    working.signal(Signal::SIGTERM);
    let (code, mut said) = working.end();
    let mut expected: Vec<String> = WORKED.map(str::to_owned).to_vec();
    expected.push("stopped".to_owned());
    said.sort_unstable();
    expected.sort_unstable();
    assert_eq!((code, said), (0, expected), "each once, in whatever order the keys go");
    assert_eq!(sql(&owner, "select string_agg(cents::text, ',' order by cents) from paid"), "250,500");
    let errors = "select string_agg(e ->> 'error', ',') from trunkline.job_list('invoices', 'dead') l,
        trunkline.job_show(l.id) s, jsonb_array_elements(s.errors) e";
    assert_eq!(sql(&owner, errors), "unknown customer,unknown customer");
}
