//! The sandbox of queries, with a DuckDB that has none of its own locks.

use weir_core::Day;

use super::*;

/// A data folder with an event of two users, and queries over it.
fn of_two_users(folder: &Path) -> OwnRows {
    let data = folder.canonicalize().unwrap();
    for user in ["ann", "eve"] {
        let hour = data.join(format!("lake/username={user}/click/year=2026/month=1/day=2/hour=3"));
        fs::create_dir_all(&hour).unwrap();
        fs::write(hour.join("words.json"), format!("{{\"words\":\"of {user}\"}}\n")).unwrap();
    }
    fs::write(data.join("users.db"), "secrets").unwrap();
    OwnRows::start(&data, &DuckDb::of_tests(), Arc::new(Catalog::default()), 2, || u64::MAX).unwrap()
}

#[test]
fn a_duckdb_without_its_own_locks_reads_the_rows_of_its_user_and_nothing_else_of_the_machine() {
    let folder = tempfile::tempdir().unwrap();
    let queries = of_two_users(folder.path());
    if !queries.0.is_sandboxed {
        assert!(!Sandbox::is_enforced(), "DuckDB does not run in a sandbox");
        eprintln!("this kernel has no Landlock");
        return;
    }
    let of = tables::Lake {
        reads: Reads::default(),
        sealed: "../sealed".to_owned(),
        only: Some("ann".parse().unwrap()),
    };
    assert_eq!(of.reads.manifest.sealed_until, Day::FIRST);
    let query = queries.query(of, String::new(), QueryFormat::Json, Arc::default()).unwrap();
    let words =
        |sql: &str, how: &How<'_>| query.duckdb(sql, how).map(|printed| String::from_utf8(printed).unwrap());
    let rows_in = query.rows_in();
    let lake = &queries.0.lake;
    let copied = How { arguments: &["-csv"], directory: lake, reads: &rows_in, file_limit: 1 << 20 };
    let answered = How { arguments: &["-csv"], directory: query.folder.path(), reads: &[], file_limit: 0 };

    let own = "SELECT words FROM read_json('username=ann/**/*.json');";
    assert_eq!(words(own, &copied).unwrap(), "words\n\"of ann\"\n".replace('"', ""));
    let made = format!("COPY (SELECT 1) TO '{}';", query.folder.path().join("made.csv").display());
    words(&made, &copied).unwrap();

    let data = folder.path().canonicalize().unwrap();
    let stolen = data.join("lake/username=ann/stolen.csv");
    let attempts = [
        "FROM read_text('username=eve/click/year=2026/month=1/day=2/hour=3/words.json');".to_owned(),
        format!("FROM read_text('{}');", data.join("users.db").display()),
        "FROM read_text('/etc/passwd');".to_owned(),
        format!("FROM read_text('/proc/{}/environ');", std::process::id()),
        format!("COPY (SELECT 1) TO '{}';", stolen.display()),
        format!("ATTACH '{}';", data.join("stolen.db").display()),
        ".shell echo stolen\nSELECT error('stolen');".to_owned(),
    ];
    for sql in &attempts {
        for how in [&copied, &answered] {
            // DuckDB takes some files that it cannot open for empty.
            let said = format!("{:?}", words(sql, how));
            let secrets = ["of eve", "secrets", "root:", "CARGO", "stolen\\n"];
            assert!(!secrets.iter().any(|secret| said.contains(secret)), "{sql}: {said}");
        }
    }
    // A pattern that matches files of others finds none.
    for sql in ["SELECT count(*) AS n FROM glob('username=*/**');", "SELECT count(*) AS n FROM glob('../*');"]
    {
        assert_eq!(words(sql, &copied).unwrap(), "n\n0\n", "{sql}");
    }
    assert!(words(own, &answered).is_err());
    assert!(words(&made, &answered).is_err());
    assert!(!stolen.exists() && !data.join("stolen.db").exists());
}
