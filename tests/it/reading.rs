//! The lake is read without Weir, as the page on queries prints it.

use std::{fs, path::Path, process::Command};

use weir_core::{Clock, Day, SystemClock};

use crate::harness::{Weir, json, path_with_venv};

#[test]
fn every_printed_program_reads_each_event_of_the_lake_once() {
    let weir = Weir::start_with(&["--flush-every", "100ms", "--seal-after", "never"]);
    let ethan = weir.user("ethan");
    let day = Day::of(SystemClock.now().hour()).minus(5).first_hour().start().millis();
    // What looks like a number, or a date, is a text.
    for (id, at) in
        [("7", day), ("7", day + 1), ("2026-11-20", day + 2), ("7", day + 7_200_000), ("b", day + 5)]
    {
        let event =
            json!({"event_type": "button_click", "session_id": "s", "button_id": id, "occurred_at": at});
        assert_eq!(weir.post_as(&ethan, "/events", event.to_string(), &[]).status, 200);
    }
    weir.wait_until_filed();
    let before = "{'2026-11-20': 1, '7': 3, 'b': 1}";
    let after = "{'2026-11-20': 1, '7': 4, 'b': 1}";
    assert_eq!(printed(&weir), [before; 4]);
    weir.output(&["seal"]);
    assert!(weir.files("sealed").iter().any(|file| file.ends_with(".parquet")));
    let event = json!({"event_type": "button_click", "session_id": "s", "button_id": "7"});
    assert_eq!(weir.post_as(&ethan, "/events", event.to_string(), &[]).status, 200);
    weir.wait_until_filed();
    assert_eq!(printed(&weir), [after; 4]);
}

/// What the programs of the page print, of pandas, Polars, PyArrow and DuckDB.
fn printed(weir: &Weir) -> [String; 4] {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/QUERIES.md")).unwrap();
    let blocks = |language: &str| -> Vec<String> {
        let begin = format!("```{language}\n");
        page.split(&begin).skip(1).map(|rest| rest.split("```").next().unwrap().to_owned()).collect()
    };
    let python = blocks("python");
    let [files, pandas, polars, pyarrow] = &python[..] else { panic!("{} programs", python.len()) };
    let sql = blocks("sql");
    let [sql] = &sql[..] else { panic!("{} statements", sql.len()) };
    let folder = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(weir.data(), folder.path().join("data")).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        command.args(arguments).current_dir(folder.path()).env("PATH", path_with_venv());
        let output = command.output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        String::from_utf8(output.stdout).unwrap().trim().to_owned()
    };
    let python = |program: &str| {
        // Groups come in any order.
        let sorted = program.replace("print(dict(", "print((lambda d: dict(sorted(d.items())))(dict(");
        let sorted = if sorted == program { sorted } else { sorted.trim_end().to_owned() + ")" };
        run("python3", &["-c", &format!("{files}{sorted}")])
    };
    // The year of the page is long over.
    let sql = sql.replace("year = 2026", "year >= 2026");
    let rows = run("duckdb", &["-csv", "-noheader", "-c", &format!("{} ORDER BY 1", sql.trim())]);
    let rows = rows.lines().map(|row| row.trim().split_once(',').unwrap());
    let rows: Vec<String> = rows.map(|(id, n)| format!("'{}': {n}", id.trim_matches('"'))).collect();
    [python(pandas), python(polars), python(pyarrow), format!("{{{}}}", rows.join(", "))]
}
