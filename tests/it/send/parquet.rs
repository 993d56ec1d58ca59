//! Parquet: `weir send` reads it through DuckDB, and says why a row or a file cannot be sent.

use std::process::{Command, Output};

use super::{Files, assert_ended, command, count, eventually, fs, json, once, printed, said, stored};
use crate::harness::{Value, Weir, path_with_venv};

const TYPE: [&str; 2] = ["--type", "button_click"];

/// Writes the rows of a query as a file.
fn write(files: &Files, name: &str, rows: &str) {
    let sql = format!("COPY ({rows}) TO '{name}' (FORMAT parquet, ROW_GROUP_SIZE 10000)");
    let mut duckdb = Command::new("duckdb");
    duckdb.args(["-no-init", "-batch", "-bail", "-c", &sql]).current_dir(files.0.path());
    let output = duckdb.env("PATH", path_with_venv()).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
}

/// Runs `weir send` with DuckDB on the path.
fn sent(weir: &Weir, files: &Files, arguments: &[&str]) -> Output {
    command(files, &weir.url(), &weir.credentials, arguments).env("PATH", path_with_venv()).output().unwrap()
}

/// The arguments for a file of clicks.
fn of_clicks(name: &str) -> [&str; 3] {
    [name, TYPE[0], TYPE[1]]
}

/// Runs a command that must fail. Returns its messages.
fn failed(weir: &Weir, files: &Files, arguments: &[&str]) -> String {
    let output = sent(weir, files, arguments);
    assert_eq!(output.status.code(), Some(1), "{}{}", printed(&output), said(&output));
    said(&output)
}

#[test]
fn columns_become_fields_of_the_types_kind_and_each_row_counts_once() {
    let (weir, files) = (Weir::start(), Files::new());
    write(
        &files,
        "events.parquet",
        "SELECT 7::BIGINT AS session_id, 'ü\"\n' AS button_id, TIMESTAMP '2026-11-20 12:00:00.5' AS occurred_at, \
         TIMESTAMPTZ '2026-11-20 14:00:00+02' AS at, DATE '2026-11-20' AS day, 9007199254740993 AS n, \
         1.50::DECIMAL(9,2) AS price, 0.1::FLOAT AS share, true AS is_new, [1, NULL] AS list, {'a': 'b'} AS nested, \
         'text'::BLOB AS bytes, NULL::VARCHAR AS nothing, '' AS empty \
         UNION ALL SELECT 8, 'b', NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL",
    );
    let arguments = [&["events.parquet"][..], &TYPE].concat();
    let dry = sent(&weir, &files, &[&arguments[..], &["--dry-run", "--map", "day=date"]].concat());
    assert_eq!((dry.status.code(), said(&dry).as_str()), (Some(0), ""));
    let event =
        |at: usize| -> Value { serde_json::from_str(printed(&dry).lines().nth(at).unwrap()).unwrap() };
    let id = |at: usize| event(at)["event_id"].as_str().unwrap().to_owned();
    assert_eq!(
        event(0),
        json!({"event_type": "button_click", "event_id": id(0), "session_id": "7", "button_id": "ü\"\n",
               "occurred_at": 1_795_176_000_500_u64, "at": "2026-11-20T12:00:00Z", "date": "2026-11-20",
               "n": 9_007_199_254_740_993_u64, "price": 1.5, "share": 0.1, "is_new": true, "list": [1, null],
               "nested": {"a": "b"}, "bytes": "text", "empty": ""})
    );
    assert_eq!(
        event(1),
        json!({"event_type": "button_click", "event_id": id(1), "session_id": "8", "button_id": "b"})
    );
    assert_eq!(count(&weir), 0);

    assert_ended(&sent(&weir, &files, &arguments), 0, "events.parquet: 2 sent, 0 duplicates");
    // Parquet is also recognised by its first bytes. The same content has the same ids.
    fs::copy(files.path("events.parquet"), files.path("moved")).unwrap();
    assert_ended(&sent(&weir, &files, &[&["moved"][..], &TYPE].concat()), 0, "moved: 0 sent, 2 duplicates");
    // The file's name has no meaning in SQL, and folders that look like columns do not become any.
    let folder = files.path("year=2026");
    fs::create_dir(&folder).unwrap();
    fs::copy(files.path("events.parquet"), folder.join("it's *.parquet")).unwrap();
    let odd = sent(&weir, &files, &[&["year=2026"][..], &TYPE].concat());
    assert_ended(&odd, 0, "year=2026/it's *.parquet: 0 sent, 2 duplicates");
    let odd = sent(&weir, &files, &[&["year=2026"][..], &TYPE, &["--dry-run"]].concat());
    assert!(!printed(&odd).is_empty() && !printed(&odd).contains("\"year\""), "{}", printed(&odd));
    weir.wait_until_filed();
    let line = weir.lines("lake/username=demo").into_iter().find(|line| line["session_id"] == "7").unwrap();
    assert_eq!((&line["time"], &line["price"]), (&json!(1_795_176_000_500_u64), &json!(1.5)));
}

#[test]
fn each_row_may_have_its_own_type_and_a_row_that_no_event_can_hold_is_rejected_by_itself() {
    let (weir, files) = (Weir::start(), Files::new());
    write(
        &files,
        "mixed.parquet",
        "SELECT * FROM (VALUES \
         ('prediction', 1, 'm', 'cat', 0.5::DOUBLE, NULL, NULL), ('prediction', 2, 'm', 'cat', 'nan', NULL, NULL), \
         ('prediction', 3, 'm', 'cat', 'inf', NULL, NULL), ('outcome', 1, NULL, 'cat', NULL, NULL, NULL), \
         ('outcome', 2, NULL, 'cat', NULL, '\\xFF'::BLOB, NULL), ('outcome', 3, NULL, 'cat', NULL, NULL, ['nan'::DOUBLE]), \
         ('outcome', 4, NULL, repeat('x', 2000000), NULL, NULL, NULL)) \
         AS v(kind, prediction_id, model, label, score, bytes, list)",
    );
    let output = sent(&weir, &files, &["mixed.parquet", "--map", "kind=event_type"]);
    assert_eq!(output.status.code(), Some(3), "{}", said(&output));
    assert!(
        printed(&output).starts_with("mixed.parquet: 2 sent, 0 duplicates, 5 rejected"),
        "{}",
        printed(&output)
    );
    let rejected = files.rejected("mixed.parquet.rejected.ndjson");
    let why = |at: usize| format!("{}: {}", rejected[at]["line"], rejected[at]["errors"]);
    assert!(why(0).starts_with("2: ") && why(0).contains("/score"), "{}", why(0));
    assert!(rejected[0].to_string().contains("nan"), "{}", rejected[0]);
    assert!(why(1).starts_with("3: ") && why(1).contains("/score"), "{}", why(1));
    assert!(why(2).starts_with("5: ") && why(2).contains("is not UTF-8; the row was not sent"), "{}", why(2));
    assert!(why(3).starts_with("6: ") && why(3).contains("such as a NaN in a list"), "{}", why(3));
    assert!(why(4).starts_with("7: ") && why(4).contains("a row has at most"), "{}", why(4));
    // `--max-rejected` counts rejected rows, as it counts lines of other files.
    let stopped = sent(&weir, &files, &["mixed.parquet", "--map", "kind=event_type", "--max-rejected", "2"]);
    assert_eq!(stopped.status.code(), Some(1));
    assert!(said(&stopped).contains("more than --max-rejected 2"), "{}", said(&stopped));
}

#[test]
fn an_interrupted_run_goes_on_after_the_rows_that_are_done() {
    let (weir, files) = (Weir::start(), Files::new());
    write(&files, "many.parquet", "SELECT 's' AS session_id, 'b' AS button_id, range AS n FROM range(60000)");
    let state = files.path("many.parquet.weir-sent");
    let arguments = [&["many.parquet"][..], &TYPE].concat();
    let mut slowly =
        command(&files, &weir.url(), &weir.credentials, &[&arguments[..], &["--batch", "5"]].concat());
    let child = slowly.env("PATH", path_with_venv()).spawn().unwrap();
    eventually("some of it is done", || state.exists());
    assert!(Command::new("kill").args(["-INT", &child.id().to_string()]).status().unwrap().success());
    let stopped = child.wait_with_output().unwrap();
    assert_eq!(stopped.status.code(), Some(130), "{}", said(&stopped));
    let rest = sent(&weir, &files, &arguments);
    assert_ended(&rest, 0, "many.parquet: ");
    assert!(printed(&rest).contains(", 0 duplicates") && printed(&rest).contains("lines were done before"));
    assert_eq!(stored(&weir), once(0..60_000));
    // Where the source is named, rows of a file that was corrected and has grown keep their ids, unless they are other rows now.
    for (name, numbers) in [("a.parquet", "70000, 70001"), ("b.parquet", "70000, 70009, 70002")] {
        let rows = format!("SELECT 's' AS session_id, 'b' AS button_id, unnest([{numbers}]) AS n");
        write(&files, name, &rows);
    }
    let named = |name| sent(&weir, &files, &[&[name, "--source", "clicks"][..], &TYPE].concat());
    assert_ended(&named("a.parquet"), 0, "a.parquet: 2 sent");
    assert_ended(&named("b.parquet"), 0, "b.parquet: 2 sent, 1 duplicate");
}

#[test]
fn a_file_that_is_not_parquet_or_cannot_be_rows_of_the_type_is_refused_before_anything_is_sent() {
    let (weir, files) = (Weir::start(), Files::new());
    let rows = "SELECT 's' AS session_id, 'b' || range AS button_id FROM range(30000)";
    write(&files, "good.parquet", rows);
    let good = fs::read(files.path("good.parquet")).unwrap();
    let is_refused = |name: &str, content: &[u8], why: &str| {
        files.write(name, content);
        let said = failed(&weir, &files, &of_clicks(name));
        assert!(said.contains(why) && said.contains(name), "{name}: {said}");
        assert!(!said.contains("/dev/stdin") && !said.contains("SELECT"), "{said}");
    };
    is_refused("text.parquet", b"session_id,button_id\ns,b\n", "does not begin as a Parquet file does");
    is_refused("empty.parquet", b"", "does not begin as a Parquet file does");
    is_refused("cut.parquet", &good[..good.len() / 2], "does not end as a Parquet file does");
    is_refused("short.parquet", b"PAR1PAR1", "DuckDB cannot read it: ");
    is_refused("packed.parquet.gz", &super::gzip(&good), "unpack the file from gzip first");
    is_refused("named.csv", &good, "it looks like Parquet, which --format parquet reads");
    // The footer's length stands before the last four bytes.
    let end = good.len() - 8;
    let footer = end - u32::from_le_bytes(good[end..end + 4].try_into().unwrap()) as usize;
    let damaged = [&good[..footer], &[0xff; 40], &good[footer + 40..]].concat();
    is_refused("footer.parquet", &damaged, "DuckDB cannot read it: ");
    let said_of = |arguments: &[&str]| failed(&weir, &files, arguments);
    assert!(said_of(&["good.parquet"]).contains("of which type are the rows? Name it with --type"));
    assert!(
        said_of(&["good.parquet", "--type", "prediction"]).contains("no column is a field of prediction")
    );
    assert!(
        said_of(&[&of_clicks("good.parquet")[..], &["--map", "sesion_id=x"]].concat())
            .contains("did you mean session_id?")
    );
    assert!(
        said_of(&[&of_clicks("good.parquet")[..], &["--delimiter", ";"]].concat())
            .contains("--delimiter is for CSV")
    );
    assert!(said_of(&["--format", "parquet", "-"]).contains("from a file, and not from a pipe"));
    // A value that is too large for DuckDB's memory.
    write(&files, "huge.parquet", "SELECT 's' AS session_id, repeat('x', 400000000) AS button_id");
    assert!(failed(&weir, &files, &of_clicks("huge.parquet")).contains("a row or a page of it is too large"));
    // Names that SQL cannot tell apart: DuckDB would rename one of them.
    let program = "import pyarrow as pa, pyarrow.parquet as pq\n\
                   pq.write_table(pa.table([['s'], ['b'], ['c']], names=['session_id', 'button_id', 'Button_Id']), 'twice.parquet')";
    let mut python = Command::new("python3");
    python.args(["-c", program]).current_dir(files.0.path()).env("PATH", path_with_venv());
    assert!(python.status().unwrap().success());
    let said_of_twice = failed(&weir, &files, &of_clicks("twice.parquet"));
    assert!(said_of_twice.contains("two columns named \"Button_Id\""), "{said_of_twice}");
    // Without DuckDB, the message says how to get it.
    let mut without = command(&files, &weir.url(), &weir.credentials, &of_clicks("good.parquet"));
    let output = without.env("WEIR_DUCKDB", "/nowhere/duckdb").output().unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(said(&output).contains("pip install duckdb-cli"), "{}", said(&output));
    assert_eq!(count(&weir), 0);

    // Damaged in the middle: the rows before are sent, and the message says why the others are not.
    let middle = good.len() / 2;
    files.write("middle.parquet", [&good[..middle], &[0xff; 2000], &good[middle + 2000..]].concat());
    let said_of_middle = failed(&weir, &files, &of_clicks("middle.parquet"));
    assert!(said_of_middle.contains("the rest cannot be read: DuckDB cannot read it: "), "{said_of_middle}");
}
