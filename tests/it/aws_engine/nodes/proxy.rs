//! HAProxy with the repository's own configuration, in which only addresses are others.

use std::{
    collections::HashMap,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    thread::JoinHandle,
};

use crate::{
    aws_engine::on_aws::Server,
    harness::{Answer, eventually, try_request},
};

const CONFIGURATION: &str = include_str!("../../../../proxy/haproxy.cfg");

/// A running HAProxy; dropping it ends it.
pub struct Proxy {
    child: Child,
    address: SocketAddr,
    log: Arc<Mutex<Vec<String>>>,
    log_reader: Option<JoinHandle<()>>,
    _folder: tempfile::TempDir,
}

impl Proxy {
    /// In front of these nodes.
    pub fn start(nodes: &[Server]) -> Self {
        Self::start_with(nodes, &[])
    }

    /// The same, with lines of the configuration replaced.
    pub fn start_with(nodes: &[Server], replaced: &[(&str, &str)]) -> Self {
        // Another program may take the port before HAProxy does, which then ends.
        let started = (0..20).find_map(|_| Self::try_start(nodes, replaced));
        started.expect("HAProxy started, and did not end at once")
    }

    fn try_start(nodes: &[Server], replaced: &[(&str, &str)]) -> Option<Self> {
        let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("haproxy.cfg");
        std::fs::write(&file, configuration(address, nodes, replaced)).unwrap();
        let mut child = Command::new("haproxy")
            // Debian has it where only root looks.
            .env("PATH", "/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
            .arg("-f")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("haproxy runs: ./check says how to install it");
        let log: Arc<Mutex<Vec<String>>> = Arc::default();
        let (lines, written) = (BufReader::new(child.stdout.take().unwrap()), log.clone());
        let log_reader = std::thread::spawn(move || {
            for line in lines.lines().map_while(Result::ok) {
                written.lock().unwrap().push(line);
            }
        });
        let mut proxy = Self { child, address, log, log_reader: Some(log_reader), _folder: folder };
        let mut ended = false;
        eventually("HAProxy listens", || {
            let listens = TcpStream::connect(address).is_ok();
            ended = proxy.child.try_wait().unwrap().is_some();
            ended || listens
        });
        (!ended).then_some(proxy)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn request(&self, method: &str, who: Option<&str>, path: &str, body: &[u8]) -> Answer {
        let url = format!("http://{}", self.address);
        try_request(&url, method, who, path, &[], body).expect("the proxy answers")
    }

    pub fn log(&self) -> Vec<String> {
        self.log.lock().unwrap().clone()
    }

    /// Sends requests, and gives the node that answered each: the log has it by the request's id.
    pub fn nodes_of(&self, requests: &[(String, String)]) -> Vec<String> {
        let id = |(who, path): &(String, String)| {
            let answer = self.request("GET", Some(who), path, b"");
            answer.header("x-request-id").expect("a node answers").to_owned()
        };
        let ids: Vec<String> = requests.iter().map(id).collect();
        let mut nodes = Vec::new();
        eventually("each request is logged", || {
            let log = self.log();
            let by_id: HashMap<&str, &str> = log
                .iter()
                .filter_map(|line| Some((line.rsplit(' ').next()?, line.split(' ').nth(1)?)))
                .collect();
            nodes = ids.iter().filter_map(|id| Some((*by_id.get(id.as_str())?).to_owned())).collect();
            nodes.len() == ids.len()
        });
        nodes
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(reader) = self.log_reader.take() {
            let _ = reader.join();
        }
    }
}

/// The repository's file for these addresses.
fn configuration(address: SocketAddr, nodes: &[Server], replaced: &[(&str, &str)]) -> String {
    let is_node = |line: &&str| line.trim_start().starts_with("server ");
    assert_eq!(CONFIGURATION.lines().filter(is_node).count(), 3, "the file has three nodes");
    let mut text: String =
        CONFIGURATION.lines().filter(|line| !is_node(line)).map(|line| format!("{line}\n")).collect();
    let bind = format!("bind {address}");
    // Only root may become another user.
    let own = [("bind 127.0.0.1:8080", bind.as_str()), ("user haproxy", ""), ("group haproxy", "")];
    for (line, other) in own.iter().chain(replaced) {
        assert_eq!(text.matches(line).count(), 1, "{line}");
        text = text.replace(line, other);
    }
    for (index, node) in nodes.iter().enumerate() {
        let (number, address) = (index + 1, node.url().trim_start_matches("http://"));
        text += &format!("    server node{number} {address} id {number}\n");
    }
    text
}
