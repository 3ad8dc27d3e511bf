//! `trunkline schema`: each answer has its exit code.

use crate::{code, database, empty_database, ok, run, run_with, sql, stderr, stdout};

#[test]
fn install_check_and_uninstall() {
    let url = empty_database();
    let missing = run(&url, &["schema", "check"]);
    assert_eq!(code(&missing), 4);
    assert!(stderr(&missing).contains("trunkline schema install"), "{}", stderr(&missing));
    assert_eq!(code(&run(&url, &["schema", "upgrade"])), 4);
    assert_eq!(code(&run(&url, &["requests", "ls"])), 4);
    assert_eq!(ok(&url, &["schema", "install"]), "from\t0\nto\t9\n");
    assert_eq!(ok(&url, &["schema", "install"]), "from\t9\nto\t9\n");
    assert_eq!(ok(&url, &["--json", "schema", "check"]), "{\"program\":9,\"version\":9}\n");
    assert_eq!(ok(&url, &["schema", "repair"]), "epoch\t1\n");

    let refused = run(&url, &["schema", "uninstall"]);
    assert_eq!(code(&refused), 8);
    assert!(stderr(&refused).contains("--yes"), "{}", stderr(&refused));
    assert_eq!(code(&run(&url, &["schema", "check"])), 0, "it is still there");
    assert_eq!(code(&run(&url, &["schema", "uninstall", "--yes"])), 0);
    assert_eq!(code(&run(&url, &["schema", "check"])), 4);
    assert_eq!(code(&run(&url, &["schema", "uninstall", "--yes"])), 4);
}

#[test]
fn the_adapter_for_pgq_comes_and_goes_by_itself() {
    let url = empty_database();
    let first = ok(&url, &["schema", "install", "--pgq"]);
    assert_eq!(first, "from\t0\nto\t9\npgq_from\t0\npgq_to\t1\n");
    assert_eq!(ok(&url, &["--json", "schema", "check"]), "{\"pgq\":1,\"program\":9,\"version\":9}\n");
    assert!(ok(&url, &["schema", "upgrade"]).contains("pgq_from\t1"), "an upgrade takes it along");
    assert_eq!(code(&run(&url, &["schema", "uninstall", "--pgq"])), 8, "it asks");
    ok(&url, &["schema", "uninstall", "--pgq", "--yes"]);
    assert_eq!(ok(&url, &["--json", "schema", "check"]), "{\"program\":9,\"version\":9}\n");
    sql(&url, "create schema pgq");
    let refused = run(&url, &["schema", "install", "--pgq"]);
    assert_eq!(code(&refused), 6, "{}", stderr(&refused));
}

#[test]
fn another_schema_of_the_name_is_a_conflict() {
    let url = empty_database();
    sql(&url, "create schema trunkline");
    let refused = run(&url, &["schema", "install"]);
    assert_eq!(code(&refused), 6, "{}", stderr(&refused));
}

#[test]
fn a_newer_schema_is_left_alone() {
    let url = database();
    sql(&url, "update trunkline.schema_info set version = 1000");
    for args in [["schema", "check"], ["schema", "install"], ["schema", "upgrade"]] {
        let refused = run(&url, &args);
        assert_eq!(code(&refused), 4, "{}", stderr(&refused));
        assert!(stderr(&refused).contains("upgrade the program"), "{}", stderr(&refused));
    }
}

#[test]
fn the_printed_script_is_the_installation() {
    let url = empty_database();
    let script = ok(&url, &["schema", "print"]) + &ok(&url, &["schema", "print", "--pgq"]);
    let mut psql = std::process::Command::new("psql");
    psql.args(["-Xq", "--single-transaction", "-v", "ON_ERROR_STOP=1", &url]);
    let dir = crate::temporary();
    let file = dir.path().join("schema.sql");
    std::fs::write(&file, script).unwrap();
    assert!(psql.arg("-f").arg(&file).output().unwrap().status.success());
    assert!(ok(&url, &["schema", "check"]).contains("pgq"));
    ok(&url, &["schema", "install", "--pgq"]);
}

#[test]
fn a_role_without_rights_gets_its_own_code() {
    let url = empty_database();
    sql(
        &url,
        "do $$ begin create role nobody_special login; exception when duplicate_object then null; end $$",
    );
    let theirs = url.replace("user=postgres", "user=nobody_special");
    assert_ne!(theirs, url);
    let refused = run(&theirs, &["schema", "install"]);
    assert_eq!(code(&refused), 7, "{}", stderr(&refused));
}

#[test]
fn without_a_terminal_nobody_is_asked() {
    let url = database();
    let piped = run_with(&url, &["schema", "uninstall"], b"yes\n");
    assert_eq!(code(&piped), 8, "{}{}", stdout(&piped), stderr(&piped));
}
