//! A gateway before Weir that loses the first answers to events: the request arrives and takes effect, and the client
//! gets 502. It may also refuse bodies by a rule of its own; those never arrive.

use std::{
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use axum::{
    Router,
    body::{Body, Bytes, to_bytes},
    extract::Request,
    http::{Method, Response, request::Parts},
};

pub struct Forgetful {
    address: SocketAddr,
    forgotten: Arc<AtomicUsize>,
    // The server ends with it.
    _runtime: tokio::runtime::Runtime,
}

impl Forgetful {
    /// Loses so many answers.
    pub fn start(weir: &str, answers: usize) -> Self {
        Self::start_with(weir, answers, |_| None)
    }

    /// Loses so many answers, and answers by itself where the rule gives a status for a body.
    pub fn start_with(weir: &str, answers: usize, rule: fn(&[u8]) -> Option<u16>) -> Self {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let forgotten = Arc::new(AtomicUsize::new(0));
        let (weir, count) = (weir.to_owned(), Arc::clone(&forgotten));
        let app = Router::new().fallback(move |request: Request| {
            let (weir, count) = (weir.clone(), Arc::clone(&count));
            async move {
                let is_post = request.method() == Method::POST;
                let (parts, body) = request.into_parts();
                let body = to_bytes(body, 16 << 20).await.unwrap();
                if let Some(status) = rule(&body) {
                    let own = Response::builder().status(status).header("access-control-allow-origin", "*");
                    return own.body(Body::from("the gateway's own words")).unwrap();
                }
                let (status, headers, body) = pass_on(&weir, parts, body).await;
                let forget = |told: usize| (told < answers).then_some(told + 1);
                let mut answer = Response::builder().status(status);
                *answer.headers_mut().unwrap() = headers;
                if is_post && count.fetch_update(Ordering::SeqCst, Ordering::SeqCst, forget).is_ok() {
                    return Response::builder().status(502).body(Body::empty()).unwrap();
                }
                answer.body(Body::from(body)).unwrap()
            }
        });
        let listener = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(async move { axum::serve(listener, app).await });
        Self { address, forgotten, _runtime: runtime }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// How many answers were lost so far.
    pub fn forgotten(&self) -> usize {
        self.forgotten.load(Ordering::SeqCst)
    }
}

async fn pass_on(weir: &str, parts: Parts, body: Bytes) -> (u16, axum::http::HeaderMap, Vec<u8>) {
    let url = format!("{weir}{}", parts.uri);
    let answer = tokio::task::spawn_blocking(move || {
        let agent: ureq::Agent = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .allow_non_standard_methods(true)
            .build()
            .into();
        let mut to_weir = axum::http::Request::builder().method(parts.method).uri(url);
        *to_weir.headers_mut().unwrap() = parts.headers;
        agent.run(to_weir.body(body.to_vec()).unwrap()).unwrap()
    });
    let (parts, mut body) = answer.await.unwrap().into_parts();
    let mut headers = parts.headers;
    headers.remove("transfer-encoding");
    (parts.status.as_u16(), headers, body.read_to_vec().unwrap())
}
