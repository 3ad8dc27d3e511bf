//! The configuration file: TOML, every key checked before any of it counts.
//!
//! Guarantees: a key that is not known is refused with its line and the nearest name that is; a value that its flag would refuse is
//! refused here, in the flag's words; nothing of a file that others can read is taken when there is a password in it.

use std::{io::Read as _, os::unix::fs::PermissionsExt as _, path::Path};

use clap::{Arg, ArgAction, Command};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::{Values, command, has_settings, key};
use crate::{
    exit::{Failure, Result},
    source::has_password,
};

/// The largest file that is read.
const MOST: u64 = 1024 * 1024;

/// Reads a file, and says what is wrong with it.
pub(crate) fn check(path: &Path) -> Result<usize> {
    Ok(read(path, &command())?.len())
}

pub(super) fn read(path: &Path, command: &Command) -> Result<Values> {
    let shown = path.display().to_string();
    let failed = |e: std::io::Error| Failure::Usage(format!("{shown}: {e}"));
    let file = std::fs::File::open(path).map_err(failed)?;
    let facts = file.metadata().map_err(failed)?;
    let mut text = String::new();
    let mut limited = file.take(MOST + 1);
    limited.read_to_string(&mut text).map_err(failed)?;
    if u64::try_from(text.len()).is_ok_and(|n| n > MOST) {
        return Err(Failure::Usage(format!("{shown}: larger than {MOST} bytes")));
    }
    let reader = Reader { shown: &shown, text: text.strip_prefix('\u{feff}').unwrap_or(&text) };
    let values = reader.values(command)?;
    let secret =
        values.iter().any(|((_, name), v)| name == "database_url" && v.iter().any(|v| has_password(v)));
    if secret && facts.permissions().mode() & 0o004 != 0 {
        return Err(Failure::Refused(format!(
            "{shown}: it holds a password, and everybody can read it; chmod o= it, or use PGPASSFILE"
        )));
    }
    Ok(values)
}

/// A file that is being read.
struct Reader<'a> {
    shown: &'a str,
    text: &'a str,
}

impl Reader<'_> {
    fn values(&self, command: &Command) -> Result<Values> {
        let table = DeTable::parse(self.text).map_err(|e| {
            let at = e.span().map_or(self.text.len(), |s| s.start);
            self.wrong(at, e.message())
        })?;
        let mut values = Values::new();
        self.table(command, table.get_ref(), &mut Vec::new(), &mut values)?;
        Ok(values)
    }

    fn table(
        &self,
        command: &Command,
        table: &DeTable<'_>,
        words: &mut Vec<String>,
        values: &mut Values,
    ) -> Result<()> {
        let mut entries: Vec<_> = table.iter().collect();
        entries.sort_by_key(|(name, _)| name.span().start);
        for (name, value) in entries {
            let (at, name) = (name.span().start, name.get_ref().to_string());
            let inner = command.get_subcommands().find(|c| has_settings(c) && c.get_name() == name);
            let arg = command.get_arguments().find(|a| key(a).is_some_and(|k| k == name));
            match (value.get_ref(), inner, arg) {
                (DeValue::Table(table), Some(inner), _) => {
                    words.push(name);
                    self.table(inner, table, words, values)?;
                    words.pop();
                }
                (_, Some(_), None) => return Err(self.wrong(at, &format!("{name} is a table: [{name}]"))),
                (DeValue::Table(_), _, Some(_)) => {
                    return Err(self.wrong(at, &format!("{name} is a value, not a table")));
                }
                (_, _, Some(arg)) => {
                    values.insert((words.clone(), name.clone()), self.value(&name, value, arg)?);
                }
                (_, None, None) => return Err(self.unknown(at, &name, command, words)),
            }
        }
        Ok(())
    }

    /// The texts of a value, each as the flag would take it.
    fn value(&self, name: &str, value: &Spanned<DeValue<'_>>, arg: &Arg) -> Result<Vec<String>> {
        let at = value.span().start;
        let many = matches!(arg.get_action(), ArgAction::Append) || arg.get_value_delimiter().is_some();
        let texts = match value.get_ref() {
            DeValue::Array(all) if many => {
                all.iter().map(|v| self.text(v.span().start, v.get_ref())).collect()
            }
            DeValue::Array(_) => Err(self.wrong(at, &format!("{name}: one value, not a list"))),
            one => self.text(at, one).map(|text| vec![text]),
        }?;
        for text in &texts {
            self.taken(at, name, text, arg)?;
        }
        Ok(texts)
    }

    fn text(&self, at: usize, value: &DeValue<'_>) -> Result<String> {
        Ok(match value {
            DeValue::String(text) => text.to_string(),
            DeValue::Boolean(is) => is.to_string(),
            DeValue::Integer(n) => n.as_str().to_owned(),
            DeValue::Float(n) => n.as_str().to_owned(),
            other => {
                let kind = other.type_str();
                return Err(self.wrong(at, &format!("a text, a number or a boolean, not a {kind}")));
            }
        })
    }

    /// Has the flag's own parser read it.
    fn taken(&self, at: usize, name: &str, text: &str, arg: &Arg) -> Result<()> {
        let long = name.replace('_', "-");
        let of_arg = arg.get_value_names().and_then(|names| names.first()).map_or("VALUE", |n| n.as_str());
        let one = Arg::new("value")
            .long(long.clone())
            .value_name(of_arg.to_owned())
            .num_args(1)
            .value_parser(arg.get_value_parser().clone());
        let parser = Command::new("file").no_binary_name(true).disable_help_flag(true).arg(one);
        match parser.try_get_matches_from([format!("--{long}={text}")]) {
            Ok(_) => Ok(()),
            Err(e) => {
                let said = e.to_string();
                let first = said.lines().next().unwrap_or_default().trim_start_matches("error: ");
                let shown =
                    first.replace(&format!("--{long} <{of_arg}>"), name).replace(&format!("'{name}'"), name);
                // A value that holds a password is nobody's to read.
                let quiet =
                    if has_password(text) { format!("{name}: not a value that is taken") } else { shown };
                Err(self.wrong(at, &quiet))
            }
        }
    }

    fn unknown(&self, at: usize, name: &str, command: &Command, words: &[String]) -> Failure {
        let known = command.get_arguments().filter_map(key);
        let tables = command.get_subcommands().filter(|c| has_settings(c)).map(|c| c.get_name().to_owned());
        let near = known
            .chain(tables)
            .map(|k| (strsim::damerau_levenshtein(&k, name), k))
            .min()
            .filter(|(distance, _)| *distance <= 3.max(name.len() / 3));
        let hint = near.map_or(String::new(), |(_, near)| format!("; is {near} meant?"));
        let table =
            if words.is_empty() { "at the top".to_owned() } else { format!("in [{}]", words.join(".")) };
        self.wrong(at, &format!("there is no key {name:?} {table}{hint}"))
    }

    fn wrong(&self, at: usize, what: &str) -> Failure {
        let line = self.text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count() + 1;
        Failure::Usage(format!("{} line {line}: {what}", self.shown))
    }
}
