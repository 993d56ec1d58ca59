//! Clients: they send events in every form, lose patience, try again, use wrong and old credentials, and read counts.

use std::{
    io::Write,
    sync::{Arc, Mutex},
    time::Duration,
};

use flate2::{Compression, write::GzEncoder};
use serde_json::Value;
use tokio::{sync::oneshot, task::JoinSet, time::timeout};
use weir_core::users::Scope;

use crate::{
    checks,
    clock::wait,
    dice::Dice,
    events::{self, TYPES},
    gateway::{Api, Request},
    ledger::{Exchange, Form, Ledger, Said, Sent, said},
    operator::USERS,
    world::World,
};

/// What clients and the API have in common.
pub(crate) struct Site {
    pub(crate) world: Arc<World>,
    pub(crate) api: Arc<Api>,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    /// Requests that are being served, whether or not somebody still waits for the answer.
    pub(crate) served: Mutex<JoinSet<()>>,
}

/// One client.
pub(crate) struct Client {
    pub(crate) site: Arc<Site>,
    pub(crate) dice: Dice,
    pub(crate) name: usize,
}

impl Site {
    /// Sends a request; what the client learns of it is nothing, if that takes too long or is lost.
    pub(crate) async fn send(
        self: &Arc<Self>,
        name: String,
        request: Request,
        needs: Scope,
        about: Vec<usize>,
        patience: u64,
    ) -> Option<(Option<u16>, Value)> {
        let origin = self.world.origin(name, true);
        let (tell, told) = oneshot::channel();
        let site = self.clone();
        let before = checks::raised(&self.world, true);
        self.served.lock().unwrap().spawn(async move {
            let began = site.world.clock.millis();
            let (username, secret) = request.credentials.clone().unzip();
            let asked = (request.method == "GET").then(|| (request.path.clone(), request.query.clone()));
            let reply = site.api.serve(request, &origin).await;
            let said = said(reply.status, &reply.body, about.len());
            site.world.note(&format!("{}: {:?} {:?} {said:?}", origin.name, reply.verdict, reply.status));
            let mut ledger = site.ledger.lock().unwrap();
            if let Some((path, query)) = asked.filter(|_| reply.status == Some(200)) {
                let username = username.as_deref().unwrap_or_default();
                let bounds = (before, checks::raised(&site.world, false));
                checks::read(&mut ledger, &bounds, username, &path, &query, &reply.body);
            }
            ledger.exchanges.push(Exchange {
                began,
                ended: site.world.clock.millis(),
                username: username.unwrap_or_default(),
                secret,
                needs,
                verdict: reply.verdict,
                decided: reply.decided,
                status: reply.status,
                origin,
                events: about,
                said,
            });
            let _ = tell.send((reply.status, reply.body));
        });
        let reply = timeout(Duration::from_millis(patience), told).await.ok()?.ok()?;
        // The answer is lost on its way.
        (!self.world.faults.chance(50)).then_some(reply)
    }
}

impl Client {
    /// Sends and reads until `until`.
    pub(crate) async fn work(self, until: u64) {
        for number in 0.. {
            wait(self.dice.range(1_000..120_000)).await;
            if self.site.world.clock.millis() >= until {
                return;
            }
            let username = *self.dice.pick(&USERS);
            let name = format!("client {}.{number}", self.name);
            match self.dice.range(0..10) {
                0 | 1 => self.read(name, username).await,
                _ => self.write(name, username).await,
            }
        }
    }

    /// Credentials of a user: mostly good ones, sometimes old, somebody else's, invented, or none.
    fn credentials(&self, username: &str, scope: Scope) -> Option<(String, String)> {
        let ledger = self.site.ledger.lock().unwrap();
        let fit =
            |secret: &&crate::ledger::KeyLife| secret.username == username && secret.scope.allows(scope);
        let live: Vec<_> = ledger.keys.iter().filter(fit).filter(|key| key.dead.is_none()).collect();
        let any: Vec<_> = ledger.keys.iter().filter(|key| key.username == username).collect();
        let others: Vec<_> = ledger.keys.iter().filter(|key| key.username != username).collect();
        let secret = match self.dice.range(0..40) {
            0..3 => self.dice.pick(&any).secret.clone(),
            3 => self.dice.pick(&others).secret.clone(),
            4 => format!("weir_{:032x}", self.dice.next()),
            5 => return None,
            6..12 => any.iter().find(|key| key.ends.is_some()).unwrap().secret.clone(),
            _ => match live.len() {
                0 => self.dice.pick(&any).secret.clone(),
                _ => self.dice.pick(&live).secret.clone(),
            },
        };
        Some((username.to_owned(), secret))
    }

    async fn write(&self, name: String, username: &'static str) {
        let of = self.dice.chance(400).then(|| self.dice.index(TYPES.len()));
        let large = of.is_none() && self.dice.chance(40) && self.site.api.may_be_large();
        let number = match of {
            Some(_) => 1,
            None if large => 6,
            None => usize::try_from(self.dice.range(1..8)).unwrap(),
        };
        let now = self.site.world.clock.millis();
        let mut left: Vec<usize> = {
            let mut ledger = self.site.ledger.lock().unwrap();
            let first = ledger.events.len();
            for number in first..first + number {
                let mut event = events::make(&self.dice, number, username, now, of, large);
                self.reuse_a_told_id(&mut event, &mut ledger.told_ids, username);
                ledger.events.push(event);
            }
            (first..first + number).collect()
        };
        // The same event twice in one request.
        if of.is_none() && self.dice.chance(50) {
            left.push(left[0]);
        }
        // Half of the clients never give up.
        let tries = if self.dice.chance(500) { 8 } else { self.dice.range(1..4) };
        let credentials = self.credentials(username, Scope::Write);
        let form = self.dice.range(0..3);
        for tried in 0..tries {
            let request = self.request(&left, of, form, credentials.clone());
            let patience = self.dice.range(500..25_000);
            let about = left.clone();
            let reply =
                self.site.send(format!("{name}.{tried}"), request, Scope::Write, about, patience).await;
            let again = match reply {
                None => true,
                Some((status, body)) => {
                    self.note_told_ids(&left, &body, username);
                    let mut said = said(status, &body, left.len()).into_iter();
                    left.retain(|_| !said.next().is_some_and(Said::is_acknowledged));
                    !matches!(status, Some(401 | 403)) && !left.is_empty()
                }
            };
            if !again || !self.site.world.faults.on() {
                return;
            }
            wait(self.dice.range(200..*self.dice.pick(&[5_000, 60_000]))).await;
        }
    }

    /// Gives an event an id that Weir made for an earlier one of the same user, once in a while: most often soon, so that
    /// both are in one batch.
    fn reuse_a_told_id(
        &self,
        event: &mut Sent,
        told: &mut Vec<(&'static str, String)>,
        username: &'static str,
    ) {
        let Form::Valid { event_id, .. } = &mut event.form else { return };
        let Some(given) = event_id.as_ref().filter(|_| self.dice.chance(300)).cloned() else { return };
        let Some(at) = told.iter().rposition(|(whose, _)| *whose == username) else { return };
        let (_, id) = told.remove(at);
        event.text = event.text.replacen(&given, &id, 1);
        *event_id = Some(id);
    }

    /// Notes the ids that Weir made for stored events, as the answer tells them.
    fn note_told_ids(&self, about: &[usize], body: &Value, username: &'static str) {
        let Some(outcomes) = body["outcomes"].as_array() else { return };
        let mut ledger = self.site.ledger.lock().unwrap();
        for (event, outcome) in about.iter().zip(outcomes) {
            let made = matches!(ledger.events[*event].form, Form::Valid { event_id: None, .. });
            if let (true, "stored", Some(id)) =
                (made, outcome["status"].as_str().unwrap_or_default(), outcome["event_id"].as_str())
            {
                ledger.told_ids.push((username, id.to_owned()));
            }
        }
    }

    fn request(
        &self,
        about: &[usize],
        of: Option<usize>,
        form: u64,
        credentials: Option<(String, String)>,
    ) -> Request {
        let ledger = self.site.ledger.lock().unwrap();
        let texts: Vec<&str> = about.iter().map(|event| ledger.events[*event].text.as_str()).collect();
        let (path, text, ndjson) = match (of, form) {
            (Some(of), _) => (TYPES[of].1, texts[0].to_owned(), false),
            (None, 0) if texts.len() == 1 => ("/events", texts[0].to_owned(), false),
            (None, 0 | 1) => ("/events", format!("[{}]", texts.join(" ,\n")), false),
            _ => ("/events", texts.join("\n"), true),
        };
        drop(ledger);
        let gzip = self.dice.chance(150) && self.site.api.may_be_large();
        let body = if gzip {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            gzip.write_all(text.as_bytes()).unwrap();
            gzip.finish().unwrap()
        } else {
            text.into_bytes()
        };
        Request {
            method: "POST",
            path: path.to_owned(),
            query: String::new(),
            gzip,
            ndjson,
            body,
            credentials,
        }
    }

    async fn read(&self, name: String, username: &'static str) {
        let (event_type, route, count_by, _) = *self.dice.pick(&TYPES);
        let (path, query) = match self.dice.range(0..6) {
            0 => ("/counts".to_owned(), String::new()),
            1 => (format!("/counts/{event_type}"), String::new()),
            2 => (format!("{route}/count"), String::new()),
            3 => ("/rejected".to_owned(), format!("limit={}", self.dice.range(1..51))),
            4 => (format!("/counts/{event_type}/hours"), String::new()),
            _ => (format!("{route}/count"), format!("{count_by}=a")),
        };
        let credentials = self.credentials(username, Scope::Read);
        let request =
            Request { method: "GET", path, query, gzip: false, ndjson: false, body: Vec::new(), credentials };
        self.site.send(name, request, Scope::Read, Vec::new(), 30_000).await;
    }
}

/// Sends one event that must pass, when nothing goes wrong any more.
pub(crate) async fn send_fresh(site: &Arc<Site>, dice: &Dice) {
    let now = site.world.clock.millis();
    let (event, credentials) = {
        let mut ledger = site.ledger.lock().unwrap();
        let number = ledger.events.len();
        let key = ledger.keys.iter().find(|key| key.label == "main" && key.dead.is_none()).unwrap();
        let credentials = (key.username.clone(), key.secret.clone());
        let event = loop {
            let event = events::make(dice, number, &credentials.0, now, None, false);
            if matches!(event.form, Form::Valid { .. }) {
                break event;
            }
        };
        ledger.events.push(event);
        (number, credentials)
    };
    let body = site.ledger.lock().unwrap().events[event].text.clone().into_bytes();
    let (path, query) = ("/events".to_owned(), String::new());
    let request = Request {
        method: "POST",
        path,
        query,
        gzip: false,
        ndjson: false,
        body,
        credentials: Some(credentials),
    };
    let reply = site.send("fresh".to_owned(), request, Scope::Write, vec![event], 30_000).await;
    if !matches!(reply, Some((Some(200), _))) {
        site.ledger.lock().unwrap().fault("a fresh event passes", format!("{reply:?}"));
    }
}
