//! Several `weir serve --engine aws` behind HAProxy, as `proxy/haproxy.cfg` has it run: requests that can share a call of AWS
//! meet on one node, and a node that comes or goes costs no client an answer.

mod aws;
mod clients;
mod proxy;

use std::collections::{BTreeMap, BTreeSet};

use super::on_aws::{Server, weir};
use crate::harness::{basic, click, eventually, try_request};
use aws::Aws;
use clients::{Clients, request_from};
use proxy::Proxy;

/// So that only what a test holds back decides what shares a call, however slow the machine is.
const GATHER: &str = "5s";

fn node(aws: &Aws) -> Server {
    let arguments = ["serve", "--listen", "127.0.0.1:0", "--trust-forwarded-for", "--gather-for", GATHER];
    Server::start(weir(&aws.url(), &arguments).env("WEIR_COUNTER_SHARDS", "1"))
}

fn nodes(aws: &Aws, number: usize) -> Vec<Server> {
    (0..number).map(|_| node(aws)).collect()
}

/// A metric of a node.
fn metric(node: &Server, name: &str) -> u64 {
    let metrics = node.request("GET", None, "/metrics", &[], b"").text();
    let value = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    value.map_or(0, |value| value.parse().unwrap())
}

fn reads(node: &Server) -> u64 {
    metric(node, r#"weir_engine_requests_total{kind="read"}"#)
}

/// What 10,000 reads took.
#[derive(Debug)]
struct Took {
    calls: u64,
    /// How many counters the calls read, which DynamoDB bills.
    counters: usize,
    /// How many nodes had any of the reads.
    nodes: usize,
}

/// Reads of 20 counters of one user by 500 clients, 20 times each. AWS answers once all reads of a round have come.
fn ten_thousand_reads(replaced: &[(&str, &str)]) -> Took {
    const CLIENTS: usize = 500;
    const ROUNDS: usize = 20;
    let aws = Aws::start();
    let nodes = nodes(&aws, 3);
    let proxy = Proxy::start_with(&nodes, replaced);
    let mut clients = Clients::connect(proxy.address(), &aws.credentials("ann"), CLIENTS, 20);
    for round in 1..=ROUNDS {
        aws.hold(true);
        clients.round(|| {
            eventually("all reads have come to a node", || {
                nodes.iter().map(reads).sum::<u64>() == (CLIENTS * round) as u64
            });
            aws.hold(false);
        });
    }
    let calls = aws.calls("BatchGetItem");
    // The nodes say the same themselves.
    let of_nodes = |name: &str| nodes.iter().map(|node| metric(node, name)).sum::<u64>();
    assert_eq!(of_nodes(r#"weir_engine_requests_total{kind="read"}"#), 10_000);
    assert_eq!(of_nodes(r#"weir_engine_calls_total{kind="read"}"#), calls);
    assert_eq!(of_nodes(r#"weir_aws_calls_total{operation="BatchGetItem"}"#), calls);
    Took { calls, counters: aws.counters_read(), nodes: nodes.iter().filter(|node| reads(node) > 0).count() }
}

#[test]
fn ten_thousand_reads_of_one_user_and_path_meet_on_one_node_and_share_sixty_calls_at_most() {
    let hashed = ten_thousand_reads(&[]);
    let in_turns = ten_thousand_reads(&[
        ("balance hash var(txn.shares_with)", "balance roundrobin"),
        ("hash-type consistent sdbm avalanche", ""),
    ]);
    eprintln!("10,000 reads of 20 counters: {hashed:?}; in turns: {in_turns:?}");
    assert_eq!((hashed.nodes, in_turns.nodes), (1, 3));
    assert!(hashed.calls <= 60, "{hashed:?}");
    assert!(in_turns.calls > 2 * hashed.calls, "{hashed:?}, {in_turns:?}");
    assert!(in_turns.counters > 2 * hashed.counters, "{hashed:?}, {in_turns:?}");
}

/// So that HAProxy takes a node for healthy although it has been killed.
const UNNOTICED: (&str, &str) = ("check inter 2s fastinter 500ms", "check inter 1h");

#[test]
fn a_node_that_is_killed_under_reads_costs_no_client_an_answer() {
    const CLIENTS: usize = 100;
    let aws = Aws::start();
    let mut nodes = nodes(&aws, 3);
    let proxy = Proxy::start_with(&nodes, &[UNNOTICED]);
    let mut clients = Clients::connect(proxy.address(), &aws.credentials("ann"), CLIENTS, 20);
    clients.round(|| {});
    let busy = nodes.iter().position(|node| reads(node) > 0).unwrap();
    aws.hold(true);
    clients.round(|| {
        eventually("all reads have come to the node", || reads(&nodes[busy]) == 2 * CLIENTS as u64);
        nodes.remove(busy).kill();
        aws.hold(false);
    });
    // Each of these meets the dead node first.
    clients.round(|| {});
    let by_another = nodes.iter().map(reads).sum::<u64>();
    assert_eq!(by_another, 2 * CLIENTS as u64);
}

#[test]
fn an_event_that_may_be_stored_is_sent_to_no_second_node_and_one_that_reached_none_is() {
    let aws = Aws::start();
    let mut nodes = nodes(&aws, 3);
    let proxy = Proxy::start_with(&nodes, &[UNNOTICED]);
    let ann = aws.credentials("ann");
    // In one packet: HAProxy could repeat a request that it has whole.
    let (event, who) = (click("s", "b"), basic(&ann));
    let length = event.len();
    let request = format!(
        "POST /button/click HTTP/1.1\r\nhost: weir\r\nauthorization: {who}\r\ncontent-length: {length}\r\n\r\n{event}"
    );
    let post = || request_from([127, 0, 0, 1], proxy.address(), &request);
    aws.hold(true);
    std::thread::scope(|scope| {
        let posting = scope.spawn(post);
        eventually("the event is under way to the stream", || aws.calls("PutRecordBatch") == 1);
        let appends = |node: &Server| metric(node, r#"weir_engine_requests_total{kind="append"}"#);
        let busy = nodes.iter().position(|node| appends(node) == 1).unwrap();
        nodes.remove(busy).kill();
        let answer = posting.join().unwrap();
        // A client that gave the event an id sends it again, and one that did not decides itself.
        answer.problem(502, "unavailable");
        assert_eq!(answer.header("retry-after"), Some("1"));
        assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    });
    aws.hold(false);
    assert_eq!(post().status, 200, "the dead node did not get it, and another did");
    assert_eq!(aws.calls("PutRecordBatch"), 2);

    for node in nodes {
        node.kill();
    }
    // Until HAProxy has noticed that its open connections are closed, an event may be on the way to a node.
    let mut answer = post();
    eventually("no node is reached", || {
        answer = post();
        answer.status == 503
    });
    answer.problem(503, "unavailable");
    assert_eq!(answer.header("retry-after"), Some("1"));
}

#[test]
fn a_node_that_joins_takes_its_share_of_users_and_paths_and_no_other_moves() {
    let aws = Aws::start();
    let mut nodes = nodes(&aws, 3);
    let pairs: Vec<(String, String)> = (0..300)
        .map(|n| (aws.credentials(&format!("user-{}", n / 10)), format!("/counts/type_{}", n % 10)))
        .collect();
    let proxy = Proxy::start(&nodes);
    let before = proxy.nodes_of(&pairs);
    assert_eq!(proxy.nodes_of(&pairs), before, "a user's path keeps its node");
    // Both the user and the path decide, and the secret does not.
    let by = |which: fn(usize) -> usize| {
        let mut of = BTreeMap::<usize, BTreeSet<&str>>::new();
        for (n, node) in before.iter().enumerate() {
            of.entry(which(n)).or_default().insert(node);
        }
        of
    };
    assert!(by(|n| n / 10).values().any(|nodes| nodes.len() > 1), "paths of a user are spread");
    assert!(by(|n| n % 10).values().all(|nodes| nodes.len() == 3), "users of a path are spread");
    let others: Vec<(String, String)> =
        pairs[..20].iter().map(|(who, path)| (format!("{who}x"), path.clone())).collect();
    assert_eq!(proxy.nodes_of(&others), before[..20]);
    drop(proxy);

    nodes.push(node(&aws));
    let proxy = Proxy::start(&nodes);
    let after = proxy.nodes_of(&pairs);
    let moved: Vec<&String> =
        after.iter().zip(&before).filter(|(after, before)| after != before).map(|(after, _)| after).collect();
    assert!(moved.iter().all(|node| *node == "node4"), "{moved:?}");
    assert!((300 / 8..300 / 2).contains(&moved.len()), "{} of 300 moved", moved.len());
}

#[test]
fn a_node_that_cannot_reach_aws_gets_no_request() {
    let aws = Aws::start();
    let cut_off = Server::start(&mut weir("http://127.0.0.1:9", &["serve", "--listen", "127.0.0.1:0"]));
    let nodes = [node(&aws), cut_off];
    let often = ("inter 2s fastinter 500ms", "inter 100ms fastinter 100ms");
    let proxy = Proxy::start_with(&nodes, &[often]);
    eventually("HAProxy knows", || {
        let down = "nodes/node2 is DOWN, reason: Layer7 wrong status, code: 503";
        proxy.log().iter().any(|line| line.contains(down))
    });
    let pairs: Vec<(String, String)> =
        (0..20).map(|n| (aws.credentials(&format!("user-{n}")), "/counts/button_click".to_owned())).collect();
    assert!(proxy.nodes_of(&pairs).iter().all(|node| node == "node1"));
}

#[test]
fn weirs_own_limits_and_answers_hold_behind_the_proxy_for_each_client() {
    let aws = Aws::start();
    let nodes = nodes(&aws, 1);
    let proxy = Proxy::start(&nodes);
    let ann = aws.credentials("ann");
    // Weir itself refuses what is too large, and reads a head of 32 KiB.
    let too_large = vec![b' '; (4 << 20) + 1];
    proxy.request("POST", Some(&ann), "/events", &too_large).problem(413, "body-too-large");
    let path = format!("/nowhere?{}", "x".repeat(30 << 10));
    let answer = proxy.request("GET", Some(&ann), &path, b"");
    let id = answer.problem(404, "not-found")["instance"].as_str().unwrap().to_owned();
    let id = id.strip_prefix("urn:weir:request:").unwrap();
    assert_eq!(answer.header("x-request-id"), Some(id));
    eventually("the proxy's log has the id and no query", || {
        let log = proxy.log();
        let line = log.iter().find(|line| line.ends_with(id));
        line.is_some_and(|line| line.starts_with("127.0.0.1 node1 GET /nowhere 404 "))
    });
    // Metrics are for programs on this machine that ask for themselves.
    assert_eq!(proxy.request("GET", None, "/metrics", b"").status, 404);

    // Sign-ins are limited by the client's address, which no client can make up.
    let guess = |from: [u8; 4], n: usize| {
        let who = basic("ann:weir_wrong");
        let request = format!(
            "GET /counts HTTP/1.1\r\nhost: weir\r\nauthorization: {who}\r\nx-forwarded-for: 192.0.2.{n}\r\n\r\n"
        );
        request_from(from, proxy.address(), &request).status
    };
    let guesses: Vec<u16> = (0..12).map(|n| guess([127, 0, 0, 2], n)).collect();
    assert_eq!((guesses[9], guesses[11]), (401, 429), "{guesses:?}");
    assert_eq!(guess([127, 0, 0, 3], 0), 401);
    let direct = try_request(nodes[0].url(), "GET", Some(&ann), "/counts/button_click", &[], b"").unwrap();
    assert_eq!(direct.status, 200, "{}", direct.text());
}
