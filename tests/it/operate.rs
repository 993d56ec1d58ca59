//! docs/OPERATE.md is whole: whatever a server, the template and the code can tell an operator stands there.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use crate::harness::{Weir, click};
use saphyr::LoadableYamlNode;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The guide in one line, without the marks of Markdown.
fn guide() -> String {
    in_one_line(&fs::read_to_string(root().join("docs/OPERATE.md")).unwrap())
}

fn in_one_line(text: &str) -> String {
    text.replace('`', "").split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Whether a text has this as words of their own: `Errors` is not in `ApiErrors`.
fn has_words(text: &str, words: &str) -> bool {
    let is_part = |character: Option<char>| character.is_some_and(|c| c.is_ascii_alphanumeric() || c == '_');
    text.match_indices(words).any(|(at, _)| {
        !is_part(text[..at].chars().next_back()) && !is_part(text[at + words.len()..].chars().next())
    })
}

#[test]
fn every_metric_of_the_server_is_explained() {
    let weir = Weir::start();
    weir.post("/button/click", click("s1", "abc"));
    let text = weir.request("GET", None, "/metrics", &[], b"").text();
    let guide = guide();
    let mut seen = 0;
    for line in text.lines() {
        let Some((name, _)) = line.strip_prefix("# TYPE ").and_then(|rest| rest.split_once(' ')) else {
            continue;
        };
        assert!(has_words(&guide, name), "docs/OPERATE.md does not explain {name}");
        let help = format!("# HELP {name} ");
        assert!(text.lines().any(|line| line.starts_with(&help)), "{name} does not say what it is");
        seen += 1;
    }
    assert!(seen >= 20, "{seen} metrics: {text}");
}

#[test]
fn every_alarm_and_metric_of_the_template_is_explained() {
    let text = fs::read_to_string(root().join("template.yaml")).unwrap();
    let template = &saphyr::Yaml::load_from_str(&text).unwrap()[0];
    let (guide, mut alarms, mut names) = (guide(), 0, BTreeSet::new());
    for (name, resource) in template["Resources"].as_mapping().unwrap() {
        let kind = resource["Type"].as_str().unwrap();
        if kind == "AWS::CloudWatch::Alarm" {
            let name = name.as_str().unwrap();
            let metric = resource["Properties"]["MetricName"].as_str().unwrap();
            let runbook = format!("**{name}** ({metric})");
            assert!(guide.contains(&runbook), "docs/OPERATE.md has no {runbook}");
            names.insert(metric.to_owned());
            alarms += 1;
        }
    }
    // The dashboard's body is a text, in which a metric is the second of a list that begins with its namespace.
    for namespace in ["Weir", "AWS/ApiGateway", "AWS/Lambda", "AWS/Firehose", "AWS/SQS", "AWS/DynamoDB"] {
        let begin = format!("[\"{namespace}\", \"");
        names.extend(text.split(&begin).skip(1).map(|rest| rest.split('"').next().unwrap().to_owned()));
    }
    assert_eq!(alarms, 12);
    assert!(names.len() >= 20, "{names:?}");
    for name in &names {
        assert!(has_words(&guide, name), "docs/OPERATE.md does not explain {name}");
    }
    // What the functions count is on the dashboard, all of it.
    for file in sources() {
        let source = without_tests(&fs::read_to_string(file).unwrap());
        for counted in source.split(".metrics.count(&[").skip(1) {
            for name in counted.split(']').next().unwrap().split("(\"").skip(1) {
                let name = name.split('"').next().unwrap();
                assert!(names.contains(name), "{name} is on no dashboard");
            }
        }
    }
}

#[test]
fn every_error_that_the_code_logs_is_explained() {
    let guide = guide();
    let mut seen = 0;
    for file in sources() {
        for message in errors(&without_tests(&fs::read_to_string(&file).unwrap())) {
            let message = in_one_line(&message);
            assert!(
                guide.contains(&message),
                "docs/OPERATE.md does not explain {message:?} of {}",
                file.display()
            );
            seen += 1;
        }
    }
    assert!(seen >= 24, "{seen} errors");
}

/// All code that runs.
fn sources() -> Vec<PathBuf> {
    let mut found = Vec::new();
    for folder in ["src", "crates", "functions"] {
        visit(&root().join(folder), &mut found);
    }
    assert!(found.len() > 80, "{found:?}");
    found
}

fn visit(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is_test = path.file_name().is_some_and(|name| name == "tests" || name == "tests.rs");
        if path.is_dir() && !is_test {
            visit(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") && !is_test {
            found.push(path);
        }
    }
}

fn without_tests(source: &str) -> String {
    source.split("#[cfg(test)]\nmod tests {").next().unwrap().to_owned()
}

/// What is said at level ERROR: the last text of each such macro.
fn errors(source: &str) -> Vec<String> {
    let calls = source.split("tracing::error!(").skip(1);
    calls
        .map(|call| last_text(call).unwrap_or_else(|| panic!("an error without a text: {call:.80}")))
        .collect()
}

/// The last text before the parenthesis that closes what is open at the beginning.
fn last_text(call: &str) -> Option<String> {
    let (mut depth, mut text, mut last) = (1, None::<String>, None);
    let mut characters = call.chars().peekable();
    while let Some(character) = characters.next() {
        match (&mut text, character) {
            (Some(open), '\\') => match characters.next()? {
                // A line that goes on: what it begins with is left out.
                '\n' => while characters.next_if(|c| c.is_whitespace()).is_some() {},
                escaped => open.push(escaped),
            },
            (Some(_), '"') => last = text.take(),
            (Some(open), other) => open.push(other),
            (None, '"') => text = Some(String::new()),
            (None, '(') => depth += 1,
            (None, ')') => depth -= 1,
            (None, _) => {}
        }
        if depth == 0 {
            return last;
        }
    }
    None
}

#[test]
fn the_text_of_an_error_is_found_however_it_is_written() {
    let source = r#"tracing::error!(%error, "one"); tracing::error!(a = f("x"), "it says \"two\" \
        (and more)"); tracing::info!("none");"#;
    assert_eq!(errors(source), ["one", "it says \"two\" (and more)"]);
    assert!(has_words("the Errors of", "Errors") && !has_words("the ApiErrors of", "Errors"));
}
