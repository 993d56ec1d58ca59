//! An address that stays where it is while the server behind it comes and goes.

use std::{
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{Arc, Mutex},
};

pub struct Forwarder {
    url: String,
    target: Arc<Mutex<String>>,
}

impl Forwarder {
    /// Forwards to a URL. Its thread ends with the test's process.
    pub fn to(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let own = format!("http://{}", listener.local_addr().unwrap());
        let target = Arc::new(Mutex::new(String::new()));
        let forwarder = Self { url: own, target: Arc::clone(&target) };
        forwarder.turn_to(url);
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let address = target.lock().unwrap().clone();
                // Where there is no server, the connection is closed.
                let Ok(server) = TcpStream::connect(address) else { continue };
                let (from, to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                std::thread::spawn(move || pass(&from, &to));
                std::thread::spawn(move || pass(&server, &client));
            }
        });
        forwarder
    }

    pub fn url(&self) -> &str {
        &self.url
    }

    pub fn turn_to(&self, url: &str) {
        url.trim_start_matches("http://").clone_into(&mut self.target.lock().unwrap());
    }
}

fn pass(mut from: &TcpStream, mut to: &TcpStream) {
    let mut piece = [0; 1 << 13];
    while let Ok(length @ 1..) = from.read(&mut piece) {
        if to.write_all(&piece[..length]).is_err() {
            break;
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}
