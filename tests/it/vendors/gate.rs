//! A proxy whose address stays the same while the server behind it is restarted at another one.

use std::{
    io,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{Arc, Mutex},
    thread,
};

pub struct Gate {
    address: SocketAddr,
    behind: Arc<Mutex<SocketAddr>>,
}

impl Gate {
    /// Passes each connection on to the server at this URL.
    pub fn start(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let behind = Arc::new(Mutex::new(address_of(url)));
        let to = Arc::clone(&behind);
        // It ends with the process: a connection that comes later finds no server.
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                let to = *to.lock().unwrap();
                thread::spawn(move || pass_on(&client, to));
            }
        });
        Self { address, behind }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on the server is at this URL.
    pub fn lead_to(&self, url: &str) {
        *self.behind.lock().unwrap() = address_of(url);
    }
}

fn address_of(url: &str) -> SocketAddr {
    url.strip_prefix("http://").unwrap().parse().unwrap()
}

fn pass_on(client: &TcpStream, to: SocketAddr) {
    let Ok(server) = TcpStream::connect(to) else { return };
    let one_way = |mut from: TcpStream, mut to: TcpStream| {
        let _ = io::copy(&mut from, &mut to);
        let _ = to.shutdown(std::net::Shutdown::Both);
        let _ = from.shutdown(std::net::Shutdown::Both);
    };
    let (up, down) = ((client.try_clone(), server.try_clone()), (server, client));
    let (Ok(from), Ok(into)) = up else { return };
    let upwards = thread::spawn(move || one_way(from, into));
    let Ok(client) = down.1.try_clone() else { return };
    one_way(down.0, client);
    let _ = upwards.join();
}
