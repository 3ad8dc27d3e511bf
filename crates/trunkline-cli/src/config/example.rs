//! The example of a configuration file: every key with its default, each commented out.

use std::fmt::Write as _;

use clap::{Arg, ArgAction, Command};

use super::{command, key};

/// The whole file.
pub(crate) fn example() -> String {
    let mut out = String::from(
        "# trunkline: every key with its default. Of a flag, a variable and this file the first that is given counts.\n\
         # Name the file by --config FILE or TRUNKLINE_CONFIG; `trunkline config check FILE` reads it.\n",
    );
    keys(&mut out, &command(), &mut Vec::new());
    out
}

fn keys(out: &mut String, command: &Command, words: &mut Vec<String>) {
    let mut settings = command.get_arguments().filter_map(|a| Some((a, key(a)?))).peekable();
    if settings.peek().is_some() && !words.is_empty() {
        let about = command.get_about().map_or(String::new(), |a| format!("# {a}\n"));
        let _ = write!(out, "\n{about}[{}]\n", words.join("."));
    }
    for (arg, key) in settings {
        let help = arg.get_help().map_or(String::new(), ToString::to_string);
        let variable = arg.get_env().map_or(String::new(), |v| v.to_string_lossy().into_owned());
        let _ = write!(out, "\n# {help} ({variable})\n");
        let possible: Vec<String> =
            arg.get_possible_values().iter().map(|v| v.get_name().to_owned()).collect();
        if !possible.is_empty() && !is_switch(arg) {
            let _ = writeln!(out, "# One of: {}", possible.join(", "));
        }
        let _ = writeln!(out, "#{key} = {}", value(arg));
    }
    for inner in command.get_subcommands().filter(|c| !c.is_hide_set()) {
        words.push(inner.get_name().to_owned());
        keys(out, inner, words);
        words.pop();
    }
}

fn is_switch(arg: &Arg) -> bool {
    matches!(arg.get_action(), ArgAction::SetTrue | ArgAction::SetFalse)
}

/// Its default; where there is none, what it is, as a text.
fn value(arg: &Arg) -> String {
    let defaults: Vec<String> =
        arg.get_default_values().iter().map(|v| v.to_string_lossy().into_owned()).collect();
    match (arg.get_action(), &defaults[..]) {
        (ArgAction::SetTrue | ArgAction::SetFalse, _) => "false".to_owned(),
        (ArgAction::Count, _) => "0".to_owned(),
        (_, [one]) if one.parse::<i64>().is_ok() || one.parse::<bool>().is_ok() => one.clone(),
        (_, [one]) => format!("{one:?}"),
        (ArgAction::Append, _) => format!("[\"{}\"]", named(arg)),
        _ => format!("\"{}\"", named(arg)),
    }
}

fn named(arg: &Arg) -> String {
    arg.get_value_names().and_then(|n| n.first()).map_or("VALUE".to_owned(), ToString::to_string)
}
