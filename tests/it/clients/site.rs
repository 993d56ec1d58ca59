//! A web site of one page, of an origin of its own. It ends with the test.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread::JoinHandle,
};

pub struct Site {
    address: SocketAddr,
    ending: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Site {
    pub fn start(page: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let ending = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&ending);
        let thread = std::thread::spawn(move || {
            for visitor in listener.incoming() {
                if until.load(Ordering::SeqCst) {
                    return;
                }
                let page = page.clone();
                // A browser opens connections that it may never use.
                std::thread::spawn(move || visitor.and_then(|visitor| answer(visitor, &page)));
            }
        });
        Self { address, ending, thread: Some(thread) }
    }

    pub fn url(&self) -> String {
        format!("http://{}/", self.address)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // Wakes the thread.
        let _ = TcpStream::connect(self.address);
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn answer(mut visitor: TcpStream, page: &str) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        if visitor.read(&mut byte)? == 0 {
            return Ok(());
        }
        request.push(byte[0]);
    }
    let length = page.len();
    write!(
        visitor,
        "HTTP/1.1 200 OK\r\ncontent-type: text/html; charset=utf-8\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{page}"
    )
}
