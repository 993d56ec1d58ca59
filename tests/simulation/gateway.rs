//! API Gateway: asks the authorizer, keeps its answers for a while, and hands requests to the collector.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use authorizer::Authorizer;
use base64::{Engine, prelude::BASE64_STANDARD};
use collector::Gateway;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{faults::Origin, ledger::Verdict, operations::What, planted::Bug, weir::Weir, world::World};

/// As in `template.yaml`: how long answers of the authorizer are kept, and how long the functions may take.
pub(crate) const KEPT: u64 = 300_000;
const AUTHORIZER_TIMEOUT: Duration = Duration::from_secs(5);
const COLLECTOR_TIMEOUT: Duration = Duration::from_secs(15);

/// The API as clients meet it.
pub(crate) struct Api {
    world: Arc<World>,
    weir: Weir,
    /// The collector's environments; the second one's clocks go wrong in some runs.
    gateways: [Gateway; 2],
    /// The authorizer's environments; one ends now and then, and another begins.
    authorizers: Mutex<Vec<Arc<Authorizer>>>,
    kept: Mutex<BTreeMap<String, (u64, Value)>>,
    large: AtomicBool,
}

/// A request.
#[derive(Clone)]
pub(crate) struct Request {
    pub(crate) method: &'static str,
    pub(crate) path: String,
    pub(crate) query: String,
    pub(crate) gzip: bool,
    pub(crate) ndjson: bool,
    pub(crate) body: Vec<u8>,
    pub(crate) credentials: Option<(String, String)>,
}

/// What came of a request.
pub(crate) struct Reply {
    pub(crate) verdict: Verdict,
    /// When the verdict was there.
    pub(crate) decided: u64,
    /// None, if the function died.
    pub(crate) status: Option<u16>,
    pub(crate) body: Value,
}

impl Api {
    pub(crate) fn new(world: &Arc<World>, weir: Weir) -> Self {
        let authorizers = Mutex::new((0..2).map(|_| weir.authorizer()).collect());
        let gateways = [weir.gateway(false), weir.gateway(true)];
        let (kept, large) = (Mutex::default(), AtomicBool::new(false));
        Self { world: world.clone(), weir, gateways, authorizers, kept, large }
    }

    /// Whether a body that is worked on elsewhere may be sent: one at a time, as there are few places for them in
    /// the process, which other runs share.
    pub(crate) fn may_be_large(&self) -> bool {
        !self.large.load(Ordering::SeqCst)
    }

    /// Serves a request.
    pub(crate) async fn serve(&self, request: Request, origin: &Arc<Origin>) -> Reply {
        let Some((username, secret)) = &request.credentials else {
            return self.reply(Verdict::None, Some(401), Value::Null);
        };
        let header = format!("Basic {}", BASE64_STANDARD.encode(format!("{username}:{secret}")));
        let said = self.authorize(&header, username, origin).await;
        let Some(said) = said else { return self.reply(Verdict::None, Some(500), Value::Null) };
        if said["isAuthorized"] != true {
            return self.reply(Verdict::Denied, Some(403), Value::Null);
        }
        let decided = self.world.clock.millis();
        let mut context = said["context"].clone();
        if self.world.has(Bug::OwnEndIgnored) {
            context["expires_at"] = Value::Null;
        }
        let event = event(&request, &header, &context);
        let large = request.gzip || request.body.len() >= 60_000;
        if large {
            self.large.store(true, Ordering::SeqCst);
        }
        let gateway = self.world.luck.number(origin.who, What::Served, 0, |dice| dice.range(0..2));
        let gateway = &self.gateways[usize::try_from(gateway).unwrap()];
        let answer =
            timeout(COLLECTOR_TIMEOUT, origin.run(self.undivided(large, gateway.answer(event)))).await;
        if large {
            self.large.store(false, Ordering::SeqCst);
        }
        let answer = match answer {
            Ok(Some(answer)) => serde_json::to_value(answer.unwrap()).unwrap(),
            Ok(None) => return Reply { decided, ..self.reply(Verdict::Allowed, None, Value::Null) },
            Err(_) => {
                origin.disturb();
                return Reply { decided, ..self.reply(Verdict::Allowed, None, Value::Null) };
            }
        };
        let status = u16::try_from(answer["statusCode"].as_u64().unwrap()).unwrap();
        let body = serde_json::from_str(answer["body"].as_str().unwrap()).unwrap_or_default();
        Reply { decided, ..self.reply(Verdict::Allowed, Some(status), body) }
    }

    fn reply(&self, verdict: Verdict, status: Option<u16>, body: Value) -> Reply {
        Reply { verdict, decided: self.world.clock.millis(), status, body }
    }

    /// The authorizer's answer: the one that is kept for this header, or a new one.
    async fn authorize(&self, header: &str, username: &str, origin: &Arc<Origin>) -> Option<Value> {
        let by = if self.world.has(Bug::CachedByUsername) { username } else { header };
        let now = self.world.clock.millis();
        if let Some((until, said)) = self.kept.lock().unwrap().get(by)
            && now < *until
        {
            return Some(said.clone());
        }
        let authorizer = self.environment(origin);
        let event = json!({
            "version": "2.0",
            "type": "REQUEST",
            "identitySource": [header],
            "headers": {"authorization": header},
            "requestContext": {"stage": "$default"},
        });
        let said = timeout(AUTHORIZER_TIMEOUT, origin.run(authorizer.answer(&event))).await;
        if said.is_err() {
            origin.disturb();
        }
        let said = serde_json::to_value(said.ok()??.ok()?).unwrap();
        let until = self.world.clock.millis() + KEPT;
        self.kept.lock().unwrap().insert(by.to_owned(), (until, said.clone()));
        Some(said)
    }

    fn environment(&self, origin: &Origin) -> Arc<Authorizer> {
        let mut environments = self.authorizers.lock().unwrap();
        let at = self.world.luck.number(origin.who, What::Authorized, 0, |dice| dice.range(0..2));
        let at = usize::try_from(at).unwrap();
        // One that believes forever is one that lives long.
        if self.world.faults.chance(origin.who, What::AuthorizedAnew, 100)
            && !self.world.has(Bug::BelievedForever)
        {
            environments[at] = self.weir.authorizer();
        }
        environments[at].clone()
    }

    /// Work that a large body gets on another thread counts as done at one instant: until the collector's first call,
    /// no other task's turn comes, whichever thread is faster.
    async fn undivided<T>(&self, large: bool, work: impl Future<Output = T>) -> T {
        let mut work = Box::pin(tokio::task::unconstrained(work));
        if large {
            let before = self.world.calls.load(Ordering::SeqCst);
            let done = std::future::poll_fn(|context| {
                loop {
                    match Pin::as_mut(&mut work).poll(context) {
                        Poll::Ready(done) => return Poll::Ready(Some(done)),
                        Poll::Pending if self.world.calls.load(Ordering::SeqCst) > before => {
                            return Poll::Ready(None);
                        }
                        Poll::Pending => std::thread::yield_now(),
                    }
                }
            });
            if let Some(done) = done.await {
                return done;
            }
        }
        work.await
    }
}

/// A request as an HTTP API hands it on, in payload format 2.0.
fn event(request: &Request, header: &str, context: &Value) -> Value {
    let mut headers = json!({"authorization": header});
    if request.gzip {
        headers["content-encoding"] = "gzip".into();
    }
    if request.ndjson {
        headers["content-type"] = "application/x-ndjson".into();
    }
    let text = std::str::from_utf8(&request.body).ok().filter(|_| request.ndjson);
    json!({
        "version": "2.0",
        "rawPath": request.path,
        "rawQueryString": request.query,
        "headers": headers,
        "requestContext": {
            "stage": "$default",
            "http": {"method": request.method, "path": request.path},
            "authorizer": {"lambda": context},
        },
        "body": text.map_or_else(|| BASE64_STANDARD.encode(&request.body), str::to_owned),
        "isBase64Encoded": text.is_none(),
    })
}
