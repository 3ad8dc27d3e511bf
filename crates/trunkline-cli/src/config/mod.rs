//! Where the value of an option comes from: the flag, else its variable, else the configuration file, else its default.
//!
//! ```text
//!  args.rs: the options ─▶ each gets a variable ─▶ parsed ─▶ --config FILE? ─▶ file.rs: checked ─▶ its values become defaults ─▶ parsed again
//! ```
//! The key of a flag is its long name with `_` for `-`, in the table of its command (`[jobs.work]`), at the top for those of every command.
//! Its variable is `TRUNKLINE_`, the command and the flag in capitals, unless it always had another name.

mod example;
mod file;

use std::{collections::HashMap, ffi::OsString, path::PathBuf};

use clap::{Arg, ArgMatches, Command, CommandFactory as _, FromArgMatches as _, parser::ValueSource};

pub(crate) use self::{example::example, file::check};
use crate::{args::Cli, exit::Failure};

/// The values of a file by the words of the command and the name of the option.
type Values = HashMap<(Vec<String>, String), Vec<String>>;

/// Short commands, and those whose table they share.
const SHORT: [(&str, [&str; 2]); 4] = [
    ("req", ["requests", "call"]),
    ("reply", ["requests", "serve"]),
    ("pub", ["topics", "pub"]),
    ("sub", ["topics", "sub"]),
];

/// Variables that say the same as a key, and so come before the file's.
const ALSO: [(&str, &str); 3] = [
    ("database_url", "DATABASE_URL"),
    ("admin_token_file", "TRUNKLINE_ADMIN_TOKEN"),
    ("reader_token_file", "TRUNKLINE_READER_TOKEN"),
];

/// Why there are no arguments.
#[derive(Debug)]
pub(crate) enum Stop {
    /// Help, the version, or what is wrong with the arguments.
    Clap(clap::Error),
    /// What is wrong with the file.
    File(Failure),
}

impl From<clap::Error> for Stop {
    fn from(e: clap::Error) -> Self {
        Self::Clap(e)
    }
}

/// Reads what was asked for.
pub(crate) fn parse(args: Vec<OsString>) -> Result<Cli, Stop> {
    let command = command();
    let matches = command.clone().try_get_matches_from(&args)?;
    let (words, inner) = deepest(&matches);
    let matches = match inner.get_one::<PathBuf>("config") {
        None => matches,
        Some(path) => {
            let values = file::read(path, &command).map_err(Stop::File)?;
            let values = not_overruled(values, &command, &words, inner);
            with_values(command, &values, &mut Vec::new()).try_get_matches_from(&args)?
        }
    };
    Ok(Cli::from_arg_matches(&matches)?)
}

/// Whether `check` was meant, whatever is wrong with its options.
pub(crate) fn is_check(args: Vec<OsString>) -> bool {
    let asked = command().ignore_errors(true).try_get_matches_from(args);
    asked.is_ok_and(|matches| matches.subcommand_name() == Some("check"))
}

/// The command line, with a variable for each flag.
fn command() -> Command {
    with_variables(Cli::command(), "TRUNKLINE")
}

/// The name of a flag's key; none for what is no setting.
fn key(arg: &Arg) -> Option<String> {
    let long = arg.get_long()?;
    let is_setting = !arg.is_hide_set() && !["help", "version", "config"].contains(&long);
    is_setting.then(|| long.replace('-', "_"))
}

/// Whether a command, or one within it, has a flag that is a setting.
fn has_settings(command: &Command) -> bool {
    !command.is_hide_set()
        && (command.get_arguments().any(|a| key(a).is_some()) || command.get_subcommands().any(has_settings))
}

fn with_variables(command: Command, prefix: &str) -> Command {
    let capitals = |name: &str| name.to_uppercase().replace('-', "_");
    let named: Vec<_> = command
        .get_arguments()
        .filter(|a| a.get_env().is_none())
        .filter_map(|a| Some((a.get_id().clone(), key(a)?)))
        .collect();
    let inner: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    let command = named.into_iter().fold(command, |command, (id, key)| {
        let variable = format!("{prefix}_{}", capitals(&key));
        command.mut_arg(id, |arg| arg.env(variable).hide_env(true))
    });
    inner.iter().fold(command, |command, name| {
        let words =
            SHORT.iter().find(|(short, _)| short == name).map_or(name.clone(), |(_, of)| of.join("_"));
        command.mut_subcommand(name, |c| with_variables(c, &format!("{prefix}_{}", capitals(&words))))
    })
}

/// Makes defaults of the file's values.
fn with_values(command: Command, values: &Values, words: &mut Vec<String>) -> Command {
    let table = table(words);
    let given: Vec<_> = command
        .get_arguments()
        .filter_map(|a| Some((a.get_id().clone(), values.get(&(table.clone(), key(a)?))?.clone())))
        .collect();
    let inner: Vec<String> = command.get_subcommands().map(|c| c.get_name().to_owned()).collect();
    let command = given.into_iter().fold(command, |command, (id, values)| {
        command.mut_arg(id, |arg| arg.required(false).default_values(values))
    });
    inner.iter().fold(command, |command, name| {
        words.push(name.clone());
        let command = command.mut_subcommand(name, |c| with_values(c, values, words));
        words.pop();
        command
    })
}

/// The table that a command's keys are in.
fn table(words: &[String]) -> Vec<String> {
    match words {
        [one] => SHORT
            .iter()
            .find(|(short, _)| short == one)
            .map_or(words.to_vec(), |(_, of)| of.map(str::to_owned).to_vec()),
        _ => words.to_vec(),
    }
}

/// The command that was asked for, and what it was given.
fn deepest(matches: &ArgMatches) -> (Vec<String>, &ArgMatches) {
    let (mut words, mut inner) = (Vec::new(), matches);
    while let Some((name, next)) = inner.subcommand() {
        words.push(name.to_owned());
        inner = next;
    }
    (words, inner)
}

/// Without what a flag or a variable speaks against: of `--http` and `no_http = true` the flag counts.
fn not_overruled(mut values: Values, command: &Command, words: &[String], matches: &ArgMatches) -> Values {
    let explicit = |id: &str| {
        matches
            .try_contains_id(id)
            .is_ok_and(|is| is && !matches!(matches.value_source(id), None | Some(ValueSource::DefaultValue)))
    };
    for (key, variable) in ALSO {
        if std::env::var_os(variable).is_some_and(|v| !v.is_empty()) {
            values.retain(|(_, name), _| name != key);
        }
    }
    let mut command = command.clone();
    command.build();
    let asked = words.iter().try_fold(&command, |c, word| c.find_subcommand(word));
    for arg in asked.into_iter().flat_map(|c| c.get_arguments().map(move |a| (c, a))) {
        let (asked, arg) = arg;
        let Some(name) = key(arg) else { continue };
        let against = asked.get_arguments().any(|other| {
            let of = |a: &Arg| {
                asked.get_arg_conflicts_with(a).iter().map(|c| c.get_id().clone()).collect::<Vec<_>>()
            };
            explicit(other.get_id().as_str())
                && (of(other).contains(arg.get_id()) || of(arg).contains(other.get_id()))
        });
        if against {
            let table = if arg.is_global_set() { Vec::new() } else { table(words) };
            values.remove(&(table, name));
        }
    }
    values
}
