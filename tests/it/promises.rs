//! docs/PROMISES.md, docs/SECURITY.md and docs/CASES.md are held to what they say of themselves: every promise, every claim
//! and every case names the tests that check it, and they are there.

use std::{fs, path::Path};

/// A numbered promise: its number, and the tests it names as (file, function).
#[derive(Debug, PartialEq)]
struct Promise {
    number: usize,
    tests: Vec<(String, String)>,
}

/// Reads the numbered paragraphs. A test is named as `` `path/of/file.rs`: `function`, `function` `` behind "Checked by".
fn promises(text: &str) -> Vec<Promise> {
    let mut promises = Vec::new();
    for paragraph in text.split("\n\n").flat_map(items) {
        let number = paragraph.split_once(". ").and_then(|(number, _)| number.parse().ok());
        let Some(number) = number else { continue };
        let checked = paragraph.split_once("Checked by").map_or("", |(_, checked)| checked);
        promises.push(Promise { number, tests: named_tests(checked) });
    }
    promises
}

/// Reads the tests that a text names as `` `path/of/file.rs`: `function`, `function` ``.
fn named_tests(text: &str) -> Vec<(String, String)> {
    let mut file = None;
    let mut tests = Vec::new();
    for name in text.split('`').skip(1).step_by(2) {
        if Path::new(name).extension().is_some_and(|extension| extension == "rs") {
            file = Some(name.to_owned());
        } else {
            let file = file.clone().unwrap_or_else(|| panic!("{name} is in no file: {text}"));
            tests.push((file, name.to_owned()));
        }
    }
    tests
}

/// Reads the rows of the tables, numbered in their order: the tests stand in the last column.
fn cases(text: &str) -> Vec<Promise> {
    let rows = text.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| ---"));
    let rows = rows.filter(|line| !line.ends_with("| held by |"));
    let last = |line: &str| {
        line.trim_end_matches([' ', '|'])
            .rsplit_once(" | ")
            .map_or(String::new(), |(_, last)| last.to_owned())
    };
    rows.enumerate()
        .map(|(index, line)| Promise { number: index + 1, tests: named_tests(&last(line)) })
        .collect()
}

/// The items of a list: each begins at a line with a number and goes on where lines are indented.
fn items(paragraph: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in paragraph.lines() {
        match items.last_mut() {
            Some(item) if line.starts_with(' ') => {
                item.push(' ');
                item.push_str(line.trim());
            }
            _ => items.push(line.to_owned()),
        }
    }
    items
}

/// Whether a file has a test of that name that always runs: a function right behind a line that makes it one, and behind
/// none that leaves it out at times.
fn has_test(source: &str, name: &str) -> bool {
    let head = format!("fn {name}(");
    let lines: Vec<&str> = source.lines().map(str::trim).collect();
    lines.iter().enumerate().any(|(index, line)| {
        let is_function = line.starts_with(&head) || line.starts_with(&format!("async {head}"));
        let attributes =
            lines[..index].iter().rev().take_while(|line| line.starts_with("#[") || line.starts_with("///"));
        // A property stands in `proptest!` and has the attribute too.
        is_function
            && attributes.clone().any(|line| line.starts_with("#[test]") || line.starts_with("#[tokio::test"))
            // Whatever else is of Unix only, so are these checks.
            && !attributes.clone().any(|line| {
                line.starts_with("#[ignore") || (line.starts_with("#[cfg") && *line != "#[cfg(unix)]")
            })
    })
}

/// Whether a file is a part of some target: one by itself, or a module that another file names.
fn is_compiled(root: &Path, file: &str) -> bool {
    let file = Path::new(file);
    let name = file.file_stem().unwrap().to_str().unwrap();
    let is_in = |folder: &str| file.parent().unwrap().ends_with(folder);
    let is_root = is_in("tests") || (is_in("src") && name == "lib") || name == "main";
    // A module is named beside it, by the file of its folder's name, or by one that says its path.
    let module = format!("mod {name};");
    let names_it = |folder: &Path| {
        let files = fs::read_dir(root.join(folder)).into_iter().flatten().map(|entry| entry.unwrap().path());
        let sources = files.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
        let named = |text: String| {
            text.lines().any(|line| {
                line == module || (line.starts_with("pub") && line.ends_with(&format!(" {module}")))
            })
        };
        sources.map(|path| fs::read_to_string(path).unwrap()).any(named)
    };
    is_root || file.ancestors().skip(1).take(2).any(names_it)
}

/// Reads a document and looks for the tests that it names.
fn hold_to_its_word(document: &str, read: fn(&str) -> Vec<Promise>, at_least: usize) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let promises = read(&fs::read_to_string(root.join(document)).unwrap());
    assert!(promises.len() >= at_least, "{document} is not read: {}", promises.len());
    for (index, promise) in promises.iter().enumerate() {
        assert_eq!(promise.number, index + 1, "{document}: they are numbered in their order");
        assert!(!promise.tests.is_empty(), "{document}: {} names no test", promise.number);
        for (file, name) in &promise.tests {
            let source = fs::read_to_string(root.join(file))
                .unwrap_or_else(|error| panic!("{document}, {}: {file}: {error}", promise.number));
            assert!(has_test(&source, name), "{document}, {}: {file} has no test {name}", promise.number);
            assert!(is_compiled(root, file), "{document}, {}: no target has {file}", promise.number);
        }
    }
}

#[test]
fn every_promise_names_a_test_that_there_is() {
    hold_to_its_word("docs/PROMISES.md", promises, 20);
}

#[test]
fn every_claim_of_security_names_a_test_that_there_is() {
    hold_to_its_word("docs/SECURITY.md", promises, 15);
}

#[test]
fn every_case_from_the_field_names_a_test_that_there_is() {
    hold_to_its_word("docs/CASES.md", cases, 0);
}

#[test]
fn a_promise_without_a_test_or_with_one_that_is_not_there_is_noticed() {
    let text = "# Title\n\n1. **One.** Text\n   over lines.\n   Checked by `tests/a.rs`: `first`,\n   `second`; `b.rs`: `third`.\n2. None.\n";
    let named = |file: &str, name: &str| (file.to_owned(), name.to_owned());
    let tests = vec![named("tests/a.rs", "first"), named("tests/a.rs", "second"), named("b.rs", "third")];
    assert_eq!(promises(text), [Promise { number: 1, tests }, Promise { number: 2, tests: vec![] }]);

    let tests = |name: &str| vec![named("tests/a.rs", name)];
    let text = "| situation | what holds | held by |\n| --- | --- | --- |\n| a `b` | c | `tests/a.rs`: `first` |\n| a \\| b | c | |\n";
    assert_eq!(
        cases(text),
        [Promise { number: 1, tests: tests("first") }, Promise { number: 2, tests: vec![] }]
    );

    let source = "#[test]\nfn first() {}\n\n#[tokio::test(flavor = \"multi_thread\")]\nasync fn second() {}\n\nfn third() {}\n";
    assert!(has_test(source, "first") && has_test(source, "second"));
    assert!(!has_test(source, "third") && !has_test(source, "fir"));
    for at_times in
        ["#[ignore]", "#[ignore = \"slow\"]", "#[cfg(feature = \"none\")]", "#[cfg_attr(unix, ignore)]"]
    {
        assert!(!has_test(&format!("{at_times}\n{source}"), "first"), "{at_times}");
        assert!(
            !has_test(&source.replace("#[test]", &format!("#[test]\n{at_times}")), "first"),
            "{at_times}"
        );
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for file in [
        "tests/it/promises.rs",
        "tests/it/disk/full.rs",
        "src/serve/pace.rs",
        "src/query/rows.rs",
        "tests/simulation/main.rs",
        "crates/core/src/lib.rs",
    ] {
        assert!(is_compiled(root, file), "{file}");
    }
    assert!(!is_compiled(root, "src/serve/forgotten.rs") && !is_compiled(root, "tests/it/disk/forgotten.rs"));
}
