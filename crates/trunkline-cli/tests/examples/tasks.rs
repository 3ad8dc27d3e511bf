//! Typed jobs, and one who waits.

use crate::{Running, database, kit::Kit, server, sql};

const SAID: [&str; 5] = [
    "welcome: the mail server is busy, it comes again",
    "1 attempt, 1 failed",
    "welcome, ann",
    "the thumbnail: cat-200.png",
    "job N failed for good: a picture must be wider than nothing",
];

#[test]
fn typed_jobs_are_done_by_their_kind_and_their_results_are_waited_for() {
    let kit = Kit::get();
    let (_dir, server) = server();
    let (owner, app) = database(&server, "tasks");
    sql(&owner, "grant trunkline_admin to app"); // it moves the clock
    assert_eq!(Running::start(kit.both("tasks").arg(&app)).end(), (0, SAID.map(str::to_owned).to_vec()));
    let states = "select string_agg(concat_ws(' ', job_kind, job_state, attempt), ', ' order by id) from trunkline.job_list()";
    assert_eq!(sql(&owner, states), "welcome done 2, thumb done 1, thumb dead 1");
}
