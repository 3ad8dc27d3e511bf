//! Whether the objects of the schema are there, and are those of this library.

use std::{
    collections::{BTreeSet, HashMap},
    sync::LazyLock,
};

use tokio_postgres::Client;

use super::{Finding, Level};
use crate::{Result, schema};

const FUNCTIONS: &str =
    "select proname::text, prosrc from pg_catalog.pg_proc where pronamespace = to_regnamespace('trunkline')";
const RELATIONS: &str = "select c.relname::text, coalesce(i.indisvalid and i.indisready, true)
    from pg_catalog.pg_class c left join pg_catalog.pg_index i on i.indexrelid = c.oid
   where c.relnamespace = to_regnamespace('trunkline')";

/// Says what is missing or differs; nothing where there is no schema at all, which is told elsewhere.
pub(super) async fn examine(client: &Client, found: &mut Vec<Finding>) -> Result<()> {
    let mut relations: HashMap<String, bool> = HashMap::new();
    for row in client.query_typed(RELATIONS, &[]).await? {
        relations.insert(row.try_get(0)?, row.try_get(1)?);
    }
    if relations.is_empty() {
        return Ok(());
    }
    let mut functions: HashMap<String, Vec<String>> = HashMap::new();
    for row in client.query_typed(FUNCTIONS, &[]).await? {
        functions.entry(row.try_get(0)?).or_default().push(row.try_get(1)?);
    }
    for (name, body) in expected_functions() {
        let Some(bodies) = functions.get(name) else {
            found.push(object(Level::Critical, "function", name, "is missing"));
            continue;
        };
        if !bodies.contains(body) {
            found.push(object(Level::Warning, "function", name, "is not the one of this version"));
        }
    }
    for name in expected_relations() {
        match relations.get(&name) {
            None => found.push(object(Level::Critical, "table or index", &name, "is missing")),
            Some(false) => found.push(object(Level::Critical, "index", &name, "is not valid")),
            Some(true) => {}
        }
    }
    Ok(())
}

fn object(level: Level, kind: &str, name: &str, what: &str) -> Finding {
    let (consequence, remedy) = match (kind, what) {
        ("function", _) => ("calls fail, or do something else", "trunkline schema install".to_owned()),
        ("index", _) => ("what needs it is slow or fails", format!("reindex index trunkline.{name};")),
        _ => (
            "calls fail",
            format!("restore trunkline.{name} from a backup; its definition: trunkline schema print"),
        ),
    };
    Finding::new("objects", level, format!("the {kind} {name} {what}"), consequence, &remedy).about(name)
}

/// Each function with its body, as the server keeps it.
fn expected_functions() -> &'static [(String, String)] {
    static EXPECTED: LazyLock<Vec<(String, String)>> = LazyLock::new(|| {
        let parse = |sql: &str| {
            let rest = ["function", "procedure"]
                .iter()
                .find_map(|kind| sql.split_once(&format!("create or replace {kind} trunkline.")))?
                .1;
            let name = rest.split('(').next()?;
            let (_, body) = rest.split_once("$$")?;
            Some((name.to_owned(), body.rsplit_once("$$")?.0.to_owned()))
        };
        schema::functions().iter().filter_map(|(_, sql)| parse(sql)).collect()
    });
    &EXPECTED
}

/// The tables and indexes that the structure makes; `%2$s` and `%3$s` stand for a ring and its segment there.
fn expected_relations() -> BTreeSet<String> {
    let text = schema::structure_text();
    let part = |c: char| c.is_alphanumeric() || "_%$".contains(c);
    let named = |after: &str| after.chars().take_while(|c| part(*c)).collect::<String>();
    let tables = text.match_indices(" table trunkline.").map(|(at, m)| named(&text[at + m.len()..]));
    let indexes = text
        .match_indices(" index ")
        .map(|(at, m)| &text[at + m.len()..])
        .filter(|after| after[named(after).len()..].starts_with(" on "))
        .map(named);
    let templates: Vec<String> = tables.chain(indexes).collect();
    let mut out = BTreeSet::new();
    for name in templates {
        for ring in ["e", "d"] {
            for segment in ["0", "1"] {
                out.insert(name.replace("%2$s", ring).replace("%3$s", segment));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    #[test]
    fn functions_tables_and_indexes_are_read_off_the_sources() {
        let functions = super::expected_functions();
        assert!(functions.iter().any(|(name, body)| name == "_job_done_d1" && body.contains("job_done_d1")));
        assert!(functions.iter().any(|(name, _)| name == "request_call"));
        let relations = super::expected_relations();
        for name in ["session", "stream_event", "job_slice_d1", "job_slice_d1_turn", "job_held_due"] {
            assert!(relations.contains(name), "{name} is not among {relations:?}");
        }
    }
}
