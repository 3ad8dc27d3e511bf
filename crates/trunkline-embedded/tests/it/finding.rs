//! Which PostgreSQL is taken. Programs that only say their name stand in for the versions that are not installed.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use trunkline_embedded::{Error, Fetch, Settings};

use crate::world::{Place, ask, fails, installed, script, start};

/// Programs that claim to be this version and, when used, say `chosen <name>` and fail.
fn pretend(bin: &Path, version: &str, name: &str) {
    script(&bin.join("initdb"), &format!("echo chosen {name} >&2; exit 1"));
    let says = format!("test \"$1\" = --version || {{ echo chosen {name} >&2; exit 1; }}");
    script(&bin.join("postgres"), &format!("{says}\necho 'postgres (PostgreSQL) {version}'"));
}

fn bare(place: &Place) -> Settings {
    place.settings().environment(place.nothing_installed())
}

#[test]
fn every_usual_place_is_looked_at() {
    for dir in [
        "usr/lib/postgresql/17/bin",
        "usr/pgsql-17/bin",
        "opt/homebrew/opt/postgresql@17/bin",
        "usr/local/opt/postgresql@17/bin",
        "usr/local/opt/postgresql/bin",
        "Applications/Postgres.app/Contents/Versions/17/bin",
        "opt/local/lib/postgresql17/bin",
        "usr/local/pgsql/bin",
        #[cfg(feature = "fetch")]
        "var/cache/trunkline/postgresql/17.1.0/bin",
    ] {
        let place = Place::new();
        pretend(&place.path().join(dir), "17.4", dir);
        let error = fails(&bare(&place));
        assert!(matches!(&error, Error::Initdb { output, .. } if output.contains(dir)), "{dir}: {error}");
    }
}

#[test]
fn beside_the_program_pg_config_and_path_are_looked_at() {
    let place = Place::new();
    let at = |dir: &str| place.path().join(dir);
    let chosen = |settings: Settings| match fails(&settings) {
        Error::Initdb { output, .. } => output,
        error => panic!("{error}"),
    };
    pretend(&at("path"), "16.1", "path");
    pretend(&at("app/pg/bin"), "16.2", "beside");
    pretend(&at("asked"), "16.3", "asked");
    script(&at("tools/pg_config"), &format!("echo {}", at("asked").display()));
    let path = format!("{}:{}", at("path").display(), at("tools").display());
    let only_path = place.nothing_installed().var("PATH", at("path"));
    let both = place.nothing_installed().var("PATH", &path);
    let all = both.clone().executable(at("app/trunkline"));
    assert_eq!(chosen(place.settings().environment(only_path)), "chosen path");
    assert_eq!(chosen(place.settings().environment(both)), "chosen asked");
    assert_eq!(chosen(place.settings().environment(all)), "chosen beside");
}

#[test]
fn the_newest_major_wins_and_a_named_directory_beats_all() {
    let place = Place::new();
    for version in ["14", "16", "17"] {
        pretend(
            &place.path().join(format!("usr/lib/postgresql/{version}/bin")),
            &format!("{version}.1"),
            version,
        );
    }
    let error = fails(&bare(&place));
    assert!(matches!(&error, Error::Initdb { output, .. } if output == "chosen 17"), "{error}");
    let named = place.path().join("usr/lib/postgresql/16/bin");
    let error = fails(&bare(&place).bin_dir(&named));
    assert!(matches!(&error, Error::Initdb { output, .. } if output == "chosen 16"), "{error}");
    let environment = place.nothing_installed().var("TRUNKLINE_PG_BIN", &named);
    let error = fails(&place.settings().environment(environment));
    assert!(matches!(&error, Error::Initdb { output, .. } if output == "chosen 16"), "{error}");
    let error = fails(&bare(&place).bin_dir(place.path().join("usr/lib/postgresql/14/bin")));
    assert!(
        matches!(&error, Error::BadBinaries { .. }) && error.to_string().contains("older than 15"),
        "{error}"
    );
    let error = fails(&bare(&place).bin_dir(place.path()));
    assert!(matches!(&error, Error::BadBinaries { .. }), "{error}");
}

#[test]
fn existing_data_get_the_version_that_wrote_them() {
    let place = Place::new();
    for version in ["16", "17"] {
        pretend(
            &place.path().join(format!("usr/lib/postgresql/{version}/bin")),
            &format!("{version}.1"),
            version,
        );
    }
    let data_of = |major: &str| {
        fs::create_dir_all(place.data().join("db")).unwrap();
        fs::write(place.data().join("trunkline.lock"), "").unwrap();
        fs::write(place.data().join("db/PG_VERSION"), format!("{major}\n")).unwrap();
    };
    data_of("16");
    let error = fails(&bare(&place));
    assert!(matches!(&error, Error::Start { tail, .. } if tail == "chosen 16"), "{error}");
    let error = fails(&bare(&place).bin_dir(place.path().join("usr/lib/postgresql/17/bin")));
    assert!(matches!(error, Error::WrongMajor { needs: 16, found: 17, .. }), "{error}");
    data_of("15");
    let error = fails(&bare(&place));
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert!(error.to_string().contains("PostgreSQL 15 (the data need this version)"), "{error}");
    let error = fails(&bare(&place).fetch(Fetch::allowed()));
    let why = if cfg!(feature = "fetch") { "only 18" } else { "this build cannot fetch one" };
    assert!(error.to_string().contains(why), "no other version is fetched: {error}");
}

#[test]
fn links_to_the_programs_lead_to_their_libraries_and_a_lone_one_does_not_count() {
    let place = Place::new();
    let links = place.path().join("links");
    fs::create_dir(&links).unwrap();
    symlink(installed().join("initdb"), links.join("initdb")).unwrap();
    let settings = place.settings().environment(place.nothing_installed().var("PATH", &links));
    assert!(matches!(fails(&settings), Error::NotFound { .. }));
    symlink(installed().join("postgres"), links.join("postgres")).unwrap();
    assert_eq!(ask(&start(&settings), "select 'up'"), "up");
}

#[test]
fn finding_nothing_says_what_to_do() {
    let place = Place::new();
    let broken = place.path().join("usr/lib/postgresql/17/bin");
    pretend(&broken, "17.1", "x");
    script(&broken.join("postgres"), "echo 'libxml2.so.2: cannot open shared object file' >&2; exit 127");
    let error = fails(&bare(&place));
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    let text = error.to_string();
    for part in [
        "PostgreSQL 15 or newer",
        "forbidden",
        "apt install postgresql",
        "dnf install postgresql-server",
        "brew install postgresql@18",
        "TRUNKLINE_PG_BIN",
        "TRUNKLINE_PG_MIRROR",
        "libxml2.so.2",
    ] {
        assert!(text.contains(part), "{part} is missing in: {text}");
    }
}
