//! `trunkline jobs cancel`, `retry` and `delete` of all that fit.

use crate::{database, ok, sql};

#[test]
fn all_that_fit_by_text_time_and_cause_are_cancelled_retried_or_deleted() {
    let url = database();
    sql(
        &url,
        "select trunkline.job_push('mail', p, max_attempts => 1) from unnest(array['one', 'two', 'three']) p",
    );
    sql(
        &url,
        "select trunkline.job_fail(claim, 'no route to ' || attempt) from trunkline.job_take('mail', 2)",
    );
    let fit = |args: &[&str]| {
        let told = ok(&url, &[&["-y", "jobs"], args].concat());
        told.split_whitespace().find_map(|word| word.parse::<u64>().ok()).unwrap_or_else(|| panic!("{told}"))
    };
    for (args, expected) in [
        (&["retry", "--dead", "mail", "--cause", "no route"][..], 0),
        (&["retry", "--dead", "mail", "--cause", "no route to #"], 2),
        (&["cancel", "--all", "mail", "--until", "1h"], 0),
        (&["cancel", "--all", "mail", "--since", "1h"], 3),
        (&["delete", "--all", "mail", "--state", "cancelled", "--containing", "tw"], 1),
    ] {
        assert_eq!(fit(&[args, &["--dry-run"]].concat()), expected, "{args:?}, to be seen first");
        assert_eq!(fit(args), expected, "{args:?}");
    }
    let left = sql(&url, "select string_agg(state, ',') from trunkline.job where queue = 'mail'");
    assert_eq!(left.as_deref(), Some("cancelled,cancelled"));
}
