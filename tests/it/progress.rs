//! Long commands show how they are doing on a terminal, end in a summary, and give a pipe nothing else.

use std::process::{Command, Output, Stdio};

use serde_json::Value;

use crate::harness::{self, Weir, json, path_with_venv};

/// Runs a command on a terminal of its own; what it prints and says comes together on standard output.
const ON_A_TERMINAL: &str =
    "import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))";

/// Runs a command on a terminal until it has printed a line.
const FIRST_LINE: &str = "
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
seen = b''
while b'\\n' not in seen:
    seen += os.read(terminal, 4096)
os.kill(pid, 9)
sys.stdout.buffer.write(seen)
";

fn with_variables(mut command: Command, weir: &Weir, url: &str) -> Command {
    command.env("WEIR_DATA", weir.data()).env("WEIR_URL", url).env("WEIR_CREDENTIALS", &weir.credentials);
    command.env("PATH", path_with_venv()).env("TERM", "xterm").env_remove("NO_COLOR").stdin(Stdio::null());
    command
}

fn on_a_terminal(weir: &Weir, url: &str, arguments: &[&str]) -> String {
    let mut command = Command::new("python3");
    command.args(["-c", ON_A_TERMINAL, env!("CARGO_BIN_EXE_weir")]).args(arguments);
    let output = with_variables(command, weir, url).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stdout));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn piped(weir: &Weir, url: &str, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(arguments);
    let output = with_variables(command, weir, url).output().unwrap();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Asserts that a bar is drawn on a terminal, and that the summary is all that is said elsewhere, on one line.
fn assert_shown(weir: &Weir, url: &str, arguments: &[&str], bar: &str, summary: &str) {
    let shown = on_a_terminal(weir, url, arguments);
    let (drawn, said) = (shown.find(bar), shown.rfind(summary));
    assert!(drawn.is_some() && drawn < said, "{arguments:?}: {shown:?}");
    let output = piped(weir, url, arguments);
    let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    assert!(text.contains(summary), "{text:?}");
    assert_eq!(text.lines().count(), 1, "{text:?}");
    assert!(!text.contains('\u{1b}'), "{text:?}");
}

#[test]
fn send_audit_replay_and_query_show_a_bar_on_a_terminal_and_end_in_a_summary() {
    let (mut weir, files) = (Weir::start(), tempfile::tempdir().unwrap());
    let click = |n: u32| json!({"event_type": "button_click", "session_id": "s", "button_id": "b", "n": n});
    let path = files.path().join("clicks.ndjson");
    std::fs::write(&path, (0..300).map(|n| click(n).to_string() + "\n").collect::<String>()).unwrap();
    let (url, file) = (weir.url(), path.to_str().unwrap());
    let send = ["send", "--batch", "5", file];
    assert_shown(&weir, &url, &send, "events/s", " 0 rejected in ");
    let without = on_a_terminal(&weir, &url, &["send", "--no-progress", file]);
    assert!(without.contains(" 0 rejected in ") && without.trim().lines().count() == 1, "{without:?}");
    weir.wait_until_filed();
    assert_shown(&weir, &url, &["audit"], "users' types", "weir: no differences; ");
    // It takes DuckDB longer than the bar takes to be drawn.
    let long = "SELECT 41 + 1 AS n WHERE (SELECT count(DISTINCT range % 1000003) FROM range(20000000)) > 1";
    let asked = on_a_terminal(&weir, &url, &["query", long]);
    assert!(asked.contains("DuckDB answers") && asked.contains("42"), "{asked:?}");
    assert!(asked.trim_end().rsplit('\n').next().unwrap().contains("weir: answered in "), "{asked:?}");
    let output = piped(&weir, &url, &["query", "--format", "csv", "SELECT 41 + 1 AS n"]);
    assert_eq!((output.stdout.as_slice(), output.stderr.len()), (&b"n\n42\n"[..], 0));
    weir.kill();
    assert_shown(&weir, &url, &["replay"], "batches, ", " filed again with ");
}

#[test]
fn colours_are_for_terminals_and_not_where_the_user_wants_none() {
    let mut weir = Weir::start();
    assert_eq!(weir.post("/button/click", harness::click("s", "b")).status, 200);
    weir.kill();
    let tail = |options: &[&str], variable: Option<&str>| {
        let mut command = Command::new("python3");
        command.args(["-c", FIRST_LINE, env!("CARGO_BIN_EXE_weir"), "tail", "--last", "1"]).args(options);
        let mut command = with_variables(command, &weir, "");
        if let Some(variable) = variable {
            command.env(variable, "1");
        }
        let output = command.output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    let coloured = tail(&[], None);
    assert!(coloured.contains("\u{1b}[36m"), "{coloured:?}");
    for shown in [tail(&["--color", "never"], None), tail(&[], Some("NO_COLOR"))] {
        assert!(shown.contains(" button_click ") && !shown.contains('\u{1b}'), "{shown:?}");
    }
    assert!(tail(&["--color", "always"], Some("NO_COLOR")).contains('\u{1b}'));
}

/// Runs a command on a terminal where a person answers what DuckDB asks of it, types a query at the prompt, and then Ctrl-D.
const SHELL: &str = r"
import os, pty, sys
pid, terminal = pty.fork()
if pid == 0:
    os.execv(sys.argv[1], sys.argv[1:])
query = b'SELECT count(*) * 21 AS n, any_value(username) FROM button_click;\n'
answers = [(b'\x1b[c', b'\x1b]11;rgb:0000/0000/0000\x07\x1b[?62c'), (b' D ', query), (b' D ', b'\x04')]
seen = rest = b''
try:
    while chunk := os.read(terminal, 4096):
        seen, rest = seen + chunk, rest + chunk
        while answers and answers[0][0] in rest:
            rest = rest.split(answers[0][0], 1)[1]
            os.write(terminal, answers.pop(0)[1])
except OSError:
    pass
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

#[test]
fn without_sql_a_query_is_duckdbs_shell_on_a_terminal_and_reads_a_pipe() {
    let weir = Weir::start();
    for _ in 0..2 {
        assert_eq!(weir.post("/button/click", harness::click("s", "b")).status, 200);
    }
    let mut command = Command::new("python3");
    command.args(["-c", SHELL, env!("CARGO_BIN_EXE_weir"), "query"]);
    // DuckDB's line editor asks such a terminal for nothing else.
    let output = with_variables(command, &weir, &weir.url()).env("TERM", "dumb").output().unwrap();
    let shown = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && shown.contains("SHOW TABLES"), "{shown:?}");
    let words = drawn(&shown).join(" ");
    assert!(words.contains("42") && words.contains("demo"), "{words:?}");

    let piped = |text: &str| {
        let mut child = weir
            .command()
            .args(["query", "--format", "csv"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), text.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    assert_eq!(piped("SELECT count(*) AS n\nFROM button_click\n").stdout, b"n\n2\n");
    let empty = piped("");
    assert!(!empty.status.success() && String::from_utf8_lossy(&empty.stderr).contains("the query is empty"));
}

/// Runs a command on a terminal of 60 columns.
const ON_A_NARROW_TERMINAL: &str = "
import fcntl, os, pty, struct, sys, termios
pid, terminal = pty.fork()
if pid == 0:
    # The size is set before anything is drawn.
    fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack('HHHH', 24, 60, 0, 0))
    os.execv(sys.argv[1], sys.argv[1:])
seen = b''
try:
    while chunk := os.read(terminal, 4096):
        seen += chunk
except OSError:
    pass
sys.stdout.buffer.write(seen)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
";

/// The lines that a terminal was told to draw, without what moves its cursor or colours it.
fn drawn(text: &str) -> Vec<String> {
    let mut plain = String::new();
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            // Up to the letter that ends it, as in ESC [ 2 K.
            '\u{1b}' => while characters.next().is_some_and(|c| !c.is_ascii_alphabetic()) {},
            c => plain.push(c),
        }
    }
    plain.split(['\n', '\r']).map(|line| line.trim_end().to_owned()).collect()
}

#[test]
fn bars_and_tables_fit_a_terminal_of_sixty_columns() {
    let (mut weir, files) = (Weir::start(), tempfile::tempdir().unwrap());
    let long = "a-button-with-a-name-that-is-long-".repeat(4);
    let path = files.path().join("clicks-of-all-visitors-of-the-shop.ndjson");
    let click = |n: u32| json!({"event_type": "button_click", "session_id": "s", "button_id": long, "n": n});
    std::fs::write(&path, (0..300).map(|n| click(n).to_string() + "\n").collect::<String>()).unwrap();
    weir.output(&["user", "add", "somebody-with-a-long-name", "--label", "a-label-that-is-long"]);
    let url = weir.url();
    let narrow = |weir: &Weir, arguments: &[&str]| {
        let mut command = Command::new("python3");
        command.args(["-c", ON_A_NARROW_TERMINAL, env!("CARGO_BIN_EXE_weir")]).args(arguments);
        let output = with_variables(command, weir, &url).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{arguments:?}: {text}");
        drawn(&text)
    };
    let wide = |line: &&String| line.chars().count() > 60;
    // What a bar draws; a summary is prose, and wraps.
    let bar = |arguments: &[&str], weir: &Weir| {
        let lines = narrow(weir, arguments);
        let bars: Vec<&String> = lines.iter().filter(|line| line.contains(['█', '░'])).collect();
        assert!(!bars.is_empty() && !bars.iter().any(wide), "{arguments:?}: {lines:#?}");
    };
    bar(&["send", "--batch", "5", path.to_str().unwrap()], &weir);
    weir.wait_until_filed();
    let query = "SELECT button_id, session_id, username, event_id, year FROM button_click LIMIT 2";
    let short = "SELECT button_id AS b, 7 AS n FROM button_click LIMIT 1";
    for arguments in [&["counts", "--keys", "2"][..], &["query", query], &["query", short], &["user", "list"]]
    {
        let lines = narrow(&weir, arguments);
        // Of a list, a value is whole.
        let in_a_list = |line: &&String| line.starts_with("button_id  ") || line.starts_with("event_id  ");
        assert!(!lines.iter().any(|line| wide(&line) && !in_a_list(&line)), "{arguments:?}: {lines:#?}");
    }
    let cut = narrow(&weir, &["query", short]);
    assert!(cut.iter().any(|line| line.contains("a-button-with") && line.ends_with("… │ 7 │")), "{cut:#?}");
    let listed = narrow(&weir, &["query", query]);
    assert!(listed.contains(&format!("button_id   {long}")), "{listed:#?}");
    // An audit of a few events ends before its bar is drawn.
    for batch in 0..3 {
        let many: Vec<Value> = (0..10_000).map(|n| click(batch * 10_000 + n)).collect();
        assert_eq!(weir.post("/events", Value::from(many).to_string()).status, 200);
    }
    weir.wait_until_filed();
    bar(&["audit"], &weir);
    weir.kill();
    bar(&["replay"], &weir);
}
