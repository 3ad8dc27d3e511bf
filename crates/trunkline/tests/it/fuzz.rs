//! Inputs by chance: every public SQL function with arguments of any kind, and settings of any shape. None may fail from
//! within, end the session, or panic. `TRUNKLINE_FUZZ_SECONDS` (2) and `TRUNKLINE_FUZZ_SEED` choose how long, and which.

use std::time::Instant;

use trunkline::conninfo::{ConnInfo, Env};

use crate::support::{Db, Raw, secs};

/// Marsaglia's xorshift: the same inputs for the same seed.
struct Chance(u64);

impl Chance {
    fn new() -> Self {
        let seed = std::env::var("TRUNKLINE_FUZZ_SEED").ok().and_then(|s| s.parse().ok());
        let seed = seed.unwrap_or_else(|| std::time::UNIX_EPOCH.elapsed().unwrap().as_nanos() as u64);
        crate::support::say(&format!("TRUNKLINE_FUZZ_SEED={seed}"));
        Self(seed | 1)
    }

    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % n as u64) as usize
    }

    fn of<'a>(&mut self, all: &[&'a str]) -> &'a str {
        all[self.below(all.len())]
    }
}

fn until() -> Instant {
    let seconds = std::env::var("TRUNKLINE_FUZZ_SECONDS").ok().and_then(|s| s.parse().ok()).unwrap_or(2);
    Instant::now() + secs(seconds)
}

const TEXTS: [&str; 22] = [
    "null",
    "''",
    "'a'",
    "'s'",
    "'c'",
    "'work'",
    "'@'",
    "'@00000000-0000-0000-0000-000000000000'",
    "'1:1:1:1'",
    "'1:1:1'",
    "'999999999:999999999999999999:999999999:-9999999999999999999'",
    "'end'",
    "'tick:1'",
    "'like:c'",
    "'2030-01-01'",
    "'pg_x'",
    "repeat('x', 49)",
    "repeat('é', 2000)",
    "E'\\x01\\n'",
    "'{\"a\": 1}'",
    "'%s%n$1'",
    "'max_events'",
];
const NUMBERS: [&str; 9] = ["null", "0", "1", "-1", "2", "7", "1000", "2147483647", "-2147483648"];

/// An argument of a type, as SQL.
fn argument(chance: &mut Chance, kind: &str) -> String {
    let value = match kind {
        "text" | "name" => chance.of(&TEXTS).to_owned(),
        "integer" | "smallint" => chance.of(&NUMBERS[..7]).to_owned(),
        "bigint" => chance.of(&NUMBERS).to_owned(),
        "boolean" => chance.of(&["null", "true", "false"]).to_owned(),
        "interval" => chance
            .of(&["null", "'0'", "'1 ms'", "'-1 s'", "'1 day'", "'8 days'", "'178000000 years'"])
            .to_owned(),
        "jsonb" => chance
            .of(&[
                "null",
                "'{}'",
                "'[]'",
                "'1'",
                "'{\"a\": \"b\"}'",
                "'{\"a\": {}}'",
                "'\"x\"'",
                "'{\"a\": \"b\\nc\"}'",
            ])
            .to_owned(),
        "regclass" => {
            chance.of(&["null", "0", "'pg_class'", "'trunkline.job_held'", "'public.fuzzed'"]).to_owned()
        }
        "bytea" => chance.of(&["null", "''", "'\\x00ff'", "decode(repeat('00', 2000), 'hex')"]).to_owned(),
        "uuid" => chance.of(&["null", "gen_random_uuid()"]).to_owned(),
        "timestamp with time zone" => {
            chance.of(&["null", "now()", "'infinity'", "'-infinity'", "'2000-01-01'"]).to_owned()
        }
        "text[]" => chance.of(&["null", "'{}'", "'{a,b}'", "'{null}'", "'{{a},{b}}'"]).to_owned(),
        "bigint[]" | "integer[]" => {
            chance.of(&["null", "'{}'", "'{1,2}'", "'{null}'", "'{{1},{2}}'"]).to_owned()
        }
        other => panic!("no argument for {other}"),
    };
    format!("{value}::{kind}")
}

/// What no input may lead to: errors from within, of our own SQL, or of a constraint that says what a check should have.
fn from_within(code: &str) -> bool {
    ["XX", "P0", "57P", "58", "08", "23"].iter().any(|c| code.starts_with(c))
        || ["42601", "42702", "42703", "42804", "42883", "42P01", "2201B", "22P05"].contains(&code)
}

#[tokio::test]
async fn no_argument_makes_a_public_function_fail_from_within() {
    let db = Db::new().await;
    let raw = db.raw().await;
    let functions = "select p.proname || '|' || array_to_string(array(
            select format_type(t, null) from unnest(p.proargtypes) with ordinality u(t, n) order by n), '|')
        from pg_proc p where p.pronamespace = 'trunkline'::regnamespace and p.prokind = 'f' and p.proname !~ '^_'
          and p.prorettype <> 'trigger'::regtype order by 1";
    let functions: Vec<String> = raw.rows(functions).await;
    assert!(functions.len() > 40, "{functions:?}");
    raw.run("set statement_timeout = '300ms'; set client_min_messages = error").await;
    raw.run("select trunkline.stream_open('s'), trunkline.stream_register('s', 'c'), trunkline.request_serve('work')")
        .await;
    raw.run("create table public.fuzzed (id int primary key, a text, status text)").await;
    let (mut chance, end, mut calls) = (Chance::new(), until(), 0_u32);
    while Instant::now() < end || calls < 500 {
        let function = &functions[chance.below(functions.len())];
        let (name, kinds) = function.split_once('|').unwrap();
        let arguments: Vec<String> =
            kinds.split('|').filter(|k| !k.is_empty()).map(|k| argument(&mut chance, k)).collect();
        let sql = format!("select * from trunkline.{name}({})", arguments.join(", "));
        if let Err(e) = raw.client.batch_execute(&sql).await {
            let code = e.code().unwrap_or_else(|| panic!("{sql}: {e}")).code().to_owned();
            let said = e.as_db_error().map(|d| d.message().to_owned()).unwrap_or_default();
            assert!(!from_within(&code), "{sql}: {code} {said}");
        }
        calls += 1;
    }
    assert_eq!(raw.one("select 1").await, "1", "the session is usable");
    let after: Raw = db.raw().await;
    after.run("select trunkline.maintain()").await;
}

#[test]
fn no_settings_make_the_reader_of_settings_panic() {
    const PARTS: [&str; 24] = [
        "postgresql://",
        "postgres://",
        "host=",
        "port=",
        "dbname=",
        "user",
        "=",
        "'",
        "\\",
        "%",
        "%zz",
        "%00",
        "@",
        ":",
        "/",
        "?",
        "&",
        "[::1]",
        ",",
        "sslmode=verify-full",
        "é",
        "\u{0}",
        " ",
        "99999999999999999999",
    ];
    let (mut chance, end) = (Chance::new(), until());
    let mut count = 0_u32;
    while Instant::now() < end && count < 200_000 {
        let text: String = (0..chance.below(12)).map(|_| chance.of(&PARTS)).collect();
        let _ = ConnInfo::from_str_with(&text, &Env::empty()).map(|i| format!("{i:?}{}", i.display_url()));
        count += 1;
    }
}
