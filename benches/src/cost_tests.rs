//! The cost as a promise: with the programs of this build, whose calls and bytes are those of any build.

use std::{env, fs, path::Path, sync::OnceLock};

use clap::Parser;

use crate::{
    bill::Bill,
    cost::{Costs, LATEST, Options, Programs, SPREADS, Scenario, bills, latest_values},
    prices::Item,
    report::Results,
    run::Time,
};

#[derive(Parser)]
struct Usual {
    #[command(flatten)]
    options: Options,
}

/// The programs beside this test's own, which `cargo test --workspace` builds first. By itself, this package would be tested
/// with what was built last.
fn programs() -> Programs {
    let folder = env::current_exe().expect("a test has a program");
    let folder = folder.ancestors().nth(2).expect("it is in target/debug/deps").to_owned();
    let program = |name: &str| {
        let program = folder.join(name);
        assert!(program.exists(), "build {name} first: cargo test --workspace --all-features --no-run");
        program
    };
    Programs {
        authorizer: program("authorizer"),
        collector: program("collector"),
        fan_out: program("fan-out"),
    }
}

fn costs() -> Costs {
    let mut options = Usual::parse_from(["cost"]).options;
    options.invocations = 3;
    bills(&options, &programs(), Time::Stated).expect("all is counted")
}

/// They are the same for all tests, and take seconds.
fn all() -> &'static Costs {
    static ALL: OnceLock<Costs> = OnceLock::new();
    ALL.get_or_init(costs)
}

fn bill(title: &str) -> &'static Bill {
    all()
        .bills
        .iter()
        .find(|bill| bill.title == title)
        .unwrap_or_else(|| panic!("there is no bill of {title}"))
}

#[test]
fn a_million_events_in_requests_of_a_hundred_cost_no_more_than_promised() {
    let missed = all().missed();
    assert!(missed.is_empty(), "{missed:?}");
    let budgets = all().bills.iter().filter(|bill| bill.has_budget()).count();
    assert_eq!(budgets, 2, "clicks, and events of 500 bytes");
    // Batches are filed every five minutes, however few events there are.
    assert!(bill("a million events of 500 bytes, 100 a request, within a week").total() < 0.115);
}

#[test]
fn a_request_of_a_hundred_clicks_makes_no_call_more_than_it_is_known_to_make() {
    let bill = bill("a million clicks, 100 a request, within a week");
    let number = |part, item| -> f64 {
        bill.lines().filter(|line| (line.0, line.1) == (part, item)).map(|line| line.2).sum()
    };
    let (requests, batches) = (10_000.0, 2016.0);
    // One of twelve batches lies in two hours: an object more, and an hour's count.
    let objects = batches * (1.0 + 1.0 / 12.0);
    let known = [
        ("API", Item::ApiRequests, requests),
        ("authorizer", Item::Invocations, batches),
        ("authorizer", Item::Reads, batches),
        ("collector", Item::Invocations, requests),
        // A total, and four buttons.
        ("collector", Item::Writes, requests * 5.0),
        // Four steps of 5 KB.
        ("collector", Item::StreamGb, requests * 4.0 * 5120.0 / 1e9),
        ("filing", Item::Invocations, batches),
        // The stream's, and the lake's.
        ("filing", Item::Puts, batches + objects),
        ("filing", Item::Gets, batches),
        // In a transaction: a marker, a total, and each hour.
        ("filing", Item::Writes, 2.0 * (2.0 * batches + objects)),
        ("filing", Item::QueueRequests, 3.0 * batches),
    ];
    for (part, item, expected) in known {
        let found = number(part, item);
        assert!((found - expected).abs() < expected * 1e-9, "{part} {item:?}: {found}, expected {expected}");
    }
    for (part, item, number, _) in bill.lines() {
        let is_bytes_or_time = matches!(item, Item::GbSeconds | Item::LogGb | Item::TransferGb);
        let is_known = known.iter().any(|known| (known.0, known.1) == (part, item));
        assert!(is_bytes_or_time || is_known, "{part} {item:?}: {number}, and there should be none");
    }
    let logged = number("collector", Item::LogGb) * 1e9 / requests;
    assert!(logged < 250.0, "{logged} bytes of logs a request");
    let answered = number("API", Item::TransferGb) * 1e9 / requests;
    assert!(answered < 7_500.0, "{answered} bytes of answer a request");
}

#[test]
fn ids_of_the_clients_are_claimed_and_marked_once_each() {
    for (title, writes) in [
        ("a million clicks, 100 a request, with ids of the client's, within a day", 2_050_000.0),
        ("a million clicks, one a request, within a day", 2_000_000.0),
    ] {
        let found: f64 = bill(title)
            .lines()
            .filter(|line| (line.0, line.1) == ("collector", Item::Writes))
            .map(|line| line.2)
            .sum();
        assert!((found - writes).abs() < 1.0, "{title}: {found}");
    }
}

#[test]
fn the_batches_are_those_of_the_template() {
    let template = document("template.yaml");
    let buffer = template.split_once("  BufferSeconds:").expect("it has the parameter").1;
    let buffer = buffer.split_once("Default: ").expect("it has a default").1.lines().next();
    assert_eq!(buffer, Some(&*Usual::parse_from(["cost"]).options.buffer_seconds.to_string()));
    let cached = template.split_once("  CredentialsCachedSeconds:").expect("it has the parameter").1;
    assert_eq!(cached.split_once("Default: ").expect("it has a default").1.lines().next(), Some("300"));
    // No lines for the start and the end of an invocation: the bills have none.
    assert!(template.contains("SystemLogLevel: WARN"));
}

#[test]
fn the_readme_says_what_it_costs() {
    let mut table = "| a million events | within a day | within a week |\n| --- | --- | --- |\n".to_owned();
    for scenario in Scenario::ALL {
        let title = scenario.title();
        let cells = SPREADS.map(|(spread, _)| format!("${:.2}", bill(&format!("{title}, {spread}")).total()));
        let title = title.trim_start_matches("a million ");
        table += &format!("| {title} | {} |\n", cells.join(" | "));
    }
    assert!(document("README.md").contains(&table), "README.md does not have this table:\n{table}");
}

#[test]
fn the_guide_to_deploying_says_what_each_part_costs() {
    let of =
        |per_request| bill(&format!("a million events of 500 bytes, {per_request} a request, within a week"));
    let (one, hundred) = (of("one"), of("100"));
    let mut table = "| | one a request | 100 a request |\n| --- | --- | --- |\n".to_owned();
    for ((part, item, number, dollars), (other_part, other_item, other_number, other_dollars)) in
        one.lines().zip(hundred.lines())
    {
        assert_eq!((part, item), (other_part, other_item));
        let price = item.price();
        let per = if price.per > 1.0 { " a million" } else { "" };
        table += &format!(
            "| {part}: {}, ${}{per} | {}: ${dollars:.3} | {}: ${other_dollars:.3} |\n",
            price.unit,
            price.dollars,
            short(number),
            short(other_number)
        );
    }
    table += &format!("| **together** | **${:.2}** | **${:.2}** |\n", one.total(), hundred.total());
    assert!(document("docs/DEPLOY.md").contains(&table), "docs/DEPLOY.md does not have this table:\n{table}");
}

#[test]
fn the_guide_to_deploying_says_what_latest_values_cost() {
    let guide = document("docs/DEPLOY.md");
    let [one, hundred] = LATEST.map(|(per_request, resources)| latest_values(per_request, resources));
    for (what, dollars) in
        [("latest values", [one[0], hundred[0]]), ("an event above 8 KB", [one[1], hundred[1]])]
    {
        let row = guide.lines().find(|line| line.starts_with(&format!("| {what}"))).expect("a row");
        let [one, hundred] = dollars;
        assert!(row.ends_with(&format!(" | ${one:.3} | ${hundred:.3} |")), "{row}: {one} {hundred}");
    }
}

fn short(number: f64) -> String {
    if number < 100.0 { format!("{number:.3}") } else { format!("{number:.0}") }
}

fn document(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
