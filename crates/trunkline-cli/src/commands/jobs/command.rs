//! The command of `jobs work`, in which `{}` stands for the payload.
//!
//! Guarantee: the payload is never part of the command's text. `{}` becomes a variable that holds it, quoted so that it is one
//! word where it stands, so nothing in a payload can be taken for a command. What it looks like to the shell is only guessed
//! at (quotes, `$(…)`, comments): a wrong guess can split the word, and nothing worse.

use std::fmt::Write as _;

/// The variable for the payload.
pub(super) const PAYLOAD: &str = "TRUNKLINE_PAYLOAD";

/// The longest payload that Linux takes in a variable, with room for its name.
pub(super) const LONGEST: usize = (128 << 10) - 64;

/// A command for the shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Command {
    pub(super) text: String,
    /// Whether it needs the payload in its variable.
    pub(super) payload: bool,
}

/// What the shell is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum In {
    Parentheses,
    Backquotes,
    Double,
    /// Within it, what an inner shell would be in.
    Single {
        double: bool,
    },
}

impl Command {
    /// Reads it; every text is one.
    pub(super) fn read(text: &str) -> Result<Self, std::convert::Infallible> {
        let mut command = Self { text: String::with_capacity(text.len()), payload: false };
        let (mut within, mut rest) = (Vec::new(), text);
        while let Some(c) = rest.chars().next() {
            let quoted = matches!(within.last(), Some(In::Double | In::Single { double: true }));
            let single = matches!(within.last(), Some(In::Single { .. }));
            let word_begins = command.text.is_empty() || command.text.ends_with([' ', '\t', '\n', ';']);
            let mut length = c.len_utf8();
            if rest.starts_with("{}") {
                command.payload = true;
                let _ = match quoted {
                    true => write!(command.text, "${{{PAYLOAD}}}"),
                    false => write!(command.text, "\"${{{PAYLOAD}}}\""),
                };
                rest = &rest[2..];
                continue;
            } else if c == '\\' && !single {
                length += rest[1..].chars().next().map_or(0, char::len_utf8);
            } else if c == '#' && !quoted && !single && word_begins {
                length = rest.find('\n').unwrap_or(rest.len());
            } else {
                step(&mut within, c, command.text.ends_with('$'));
            }
            command.text.push_str(&rest[..length]);
            rest = &rest[length..];
        }
        Ok(command)
    }
}

/// What the shell is in after a character.
fn step(within: &mut Vec<In>, c: char, dollar: bool) {
    match (within.last().copied(), c) {
        (Some(In::Single { .. }), '\'') | (Some(In::Double), '"') | (Some(In::Parentheses), ')') => {
            within.pop();
        }
        (Some(In::Single { double }), '"') => {
            within.pop();
            within.push(In::Single { double: !double });
        }
        (Some(In::Single { .. }), _) => {}
        (Some(In::Backquotes), '`') => {
            within.pop();
        }
        (_, '`') => within.push(In::Backquotes),
        (Some(In::Double), '(') if dollar => within.push(In::Parentheses),
        (Some(In::Double), _) => {}
        (_, '(') => within.push(In::Parentheses),
        (_, '"') => within.push(In::Double),
        (_, '\'') => within.push(In::Single { double: false }),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a shell makes of a command for this payload.
    fn run(text: &str, payload: &str) -> String {
        let Ok(command) = Command::read(text);
        let output = std::process::Command::new("sh")
            .args(["-c", &command.text])
            .env(PAYLOAD, payload)
            .output()
            .unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn the_payload_is_one_word_wherever_it_stands_and_never_a_command() {
        let payload = "a'b; echo \"* $(echo ran) `echo ran` \\ é\n#";
        for (command, before, after) in [
            ("printf '<%s>' {}", "", ""),
            ("printf '<%s>' x{}y", "x", "y"),
            ("printf '<%s>' \"x {} y\"", "x ", " y"),
            ("printf '<%s>' \"$(printf %s {})\"", "", ""),
            ("printf '<%s>' \"$(printf %s \"{}\")\"", "", ""),
            ("printf '<%s>' \"`printf %s {}`\"", "", ""),
            ("sh -c 'printf \"<%s>\" {}'", "", ""),
            ("sh -c 'printf \"<%s>\" \"x {} y\"'", "x ", " y"),
            ("(printf '<%s>' {}) # it's {}", "", ""),
            ("# it's\nprintf '<%s>' \\'{}", "'", ""),
        ] {
            assert_eq!(run(command, payload), format!("<{before}{payload}{after}>"), "{command}");
        }
        for command in [
            "echo $'{}'",
            "cat <<E\n'{}\nE",
            "echo '\"{}",
            "x='{}'; echo $x",
            "echo \"$(case x in a) {} ;; esac)\"",
        ] {
            assert!(!run(command, "$(echo r''an)`echo r''an`;echo r''an").contains("ran"), "{command}");
        }
    }

    #[test]
    fn what_is_no_place_for_a_payload_stays() {
        for same in ["cat > x", "awk '{ print $1 }'", "echo {a,b} ${x} \\{} '$(' \"`'`\""] {
            let Ok(command) = Command::read(same);
            assert_eq!((command.text.as_str(), command.payload), (same, false));
        }
    }
}
