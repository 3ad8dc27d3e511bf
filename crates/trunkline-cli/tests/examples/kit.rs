//! What the examples need to run: the Rust one built, psycopg and `pg` installed below `target`. Whatever cannot be had
//! fails the test. Installed once: again only when what is asked for, or the interpreter, has changed.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::OnceLock,
    thread,
};

/// The languages that the examples are written in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Language {
    Rust,
    Python,
    Node,
}

impl Language {
    pub(crate) const ALL: [Self; 3] = [Self::Rust, Self::Python, Self::Node];
}

/// Where everything is.
#[derive(Debug)]
pub(crate) struct Kit {
    /// Where the Rust ones lie.
    rust: PathBuf,
    modules: PathBuf,
    node: PathBuf,
}

impl Kit {
    pub(crate) fn get() -> &'static Self {
        static KIT: OnceLock<Kit> = OnceLock::new();
        KIT.get_or_init(Self::make)
    }

    fn make() -> Self {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("examples");
        let (modules, node) = (kept.join("python"), kept.join("node"));
        let rust = thread::scope(|s| {
            s.spawn(|| install_psycopg(&modules));
            s.spawn(|| install_pg(&node));
            build()
        });
        Self { rust, modules, node }
    }

    /// An example as a command: `call` or `respond`, `produce` or `consume`; `subscribe` of the others than Rust.
    pub(crate) fn command(&self, language: Language, role: &str) -> Command {
        match language {
            Language::Rust => {
                let word = if matches!(role, "call" | "respond") { "requests" } else { "streams" };
                let mut command = self.both(word);
                command.arg(role);
                command
            }
            Language::Python => {
                let mut command = clean("python3");
                command.env("PYTHONPATH", &self.modules).env("PYTHONDONTWRITEBYTECODE", "1");
                command.arg(examples().join("python").join(role).with_extension("py"));
                command
            }
            Language::Node => {
                let mut command = clean("node");
                command.arg(self.node.join(role).with_extension("mjs"));
                command
            }
        }
    }

    /// The Rust example of a word, without a role.
    pub(crate) fn both(&self, word: &str) -> Command {
        clean(self.rust.join(word))
    }
}

/// A command without anything of the surroundings that chooses a database.
pub(crate) fn clean(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    for (name, _) in std::env::vars() {
        if name.starts_with("PG") || name.starts_with("TRUNKLINE_") || name.ends_with("DATABASE_URL") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

fn examples() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples")
}

/// Builds the Rust examples: nothing to do after `cargo test --workspace`, which builds all examples.
fn build() -> PathBuf {
    let profile = Path::new(env!("CARGO_BIN_EXE_trunkline")).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo
        .args(["build", "--quiet", "--workspace"])
        .args(
            ["requests", "streams", "jobs", "tasks", "leases", "topics"]
                .iter()
                .flat_map(|word| ["--example", word]),
        )
        .current_dir(examples());
    // Set for this test's own package; the build scripts of some dependencies run again when they change.
    for (name, _) in std::env::vars() {
        if ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_EXE_"].iter().any(|own| name.starts_with(own)) {
            cargo.env_remove(name);
        }
    }
    if profile.file_name().unwrap() == "release" {
        cargo.arg("--release");
    }
    cargo.arg("--target-dir").arg(profile.parent().unwrap());
    succeed(&mut cargo);
    profile.join("examples")
}

fn install_psycopg(modules: &Path) {
    let requirements = examples().join("python/requirements.txt");
    let version = succeed(Command::new("python3").arg("--version"));
    let asked = version + &fs::read_to_string(&requirements).unwrap();
    let mark = modules.join("asked.txt");
    if fs::read_to_string(&mark).is_ok_and(|had| had == asked) {
        return;
    }
    let _ = fs::remove_dir_all(modules);
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--target"]);
    succeed(pip.arg(modules).arg("-r").arg(requirements));
    fs::write(mark, asked).unwrap();
}

/// In a copy, so that no `node_modules` comes to lie among the sources.
fn install_pg(node: &Path) {
    let asked = fs::read_to_string(examples().join("node/package.json")).unwrap();
    let mark = node.join("asked.json");
    fs::create_dir_all(node).unwrap();
    for file in ["package.json", "call.mjs", "respond.mjs", "produce.mjs", "consume.mjs", "subscribe.mjs"] {
        fs::copy(examples().join("node").join(file), node.join(file)).unwrap();
    }
    if fs::read_to_string(&mark).is_ok_and(|had| had == asked) {
        return;
    }
    let mut npm = Command::new("npm");
    npm.args(["install", "--silent", "--no-audit", "--no-fund", "--no-package-lock"]).current_dir(node);
    succeed(&mut npm);
    fs::write(mark, asked).unwrap();
}

/// Runs it, insists on success, and gives what it printed.
#[track_caller]
pub(crate) fn succeed(command: &mut Command) -> String {
    let output =
        command.stdin(Stdio::null()).output().unwrap_or_else(|e| panic!("cannot run {command:?}: {e}"));
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(output.status.success(), "{command:?}: {}{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}
