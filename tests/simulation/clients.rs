//! Clients: they send events in every form, lose patience, try again, use wrong and old credentials, and read counts.

use std::{
    io,
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
    events,
    gateway::{Api, Request},
    ledger::{Exchange, Form, KeyLife, Ledger, Said, Sent, said},
    operations::{Event, Id, Is, Key, Op, Page, Read, To, What, Who, Write},
    world::World,
};

/// What clients and the API have in common.
pub(crate) struct Site {
    pub(crate) world: Arc<World>,
    pub(crate) api: Arc<Api>,
    pub(crate) ledger: Arc<Mutex<Ledger>>,
    /// Requests that are being served, whether or not a client still waits for the answer.
    pub(crate) served: Mutex<JoinSet<()>>,
}

/// A client, who does one thing.
pub(crate) struct Client {
    pub(crate) site: Arc<Site>,
}

impl Site {
    /// Sends a request; what the client learns of it is nothing, if that takes too long or is lost.
    pub(crate) async fn send(
        self: &Arc<Self>,
        who: Who,
        request: Request,
        needs: Scope,
        about: Vec<usize>,
        patience: u64,
    ) -> Option<(Option<u16>, Value)> {
        let origin = self.world.origin(who, true);
        let (tell, told) = oneshot::channel();
        let site = self.clone();
        let before = checks::raised(&self.world, true);
        self.served.lock().unwrap().spawn(async move {
            let began = site.world.clock.millis();
            let (username, secret) = request.credentials.clone().unzip();
            let asked = (request.method == "GET").then(|| (request.path.clone(), request.query.clone()));
            let reply = site.api.serve(request, &origin).await;
            let said = said(reply.status, &reply.body, about.len());
            site.world.note(&format!("{}: {:?} {:?} {said:?}", origin.who, reply.verdict, reply.status));
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
        (!self.world.faults.chance(who, What::AnswerLost, 50)).then_some(reply)
    }
}

impl Client {
    /// Does what the operation says, when it says.
    pub(crate) async fn work(self, op: Op) {
        match op {
            Op::Write(write) => self.write(&write).await,
            Op::Read(read) => self.read(&read).await,
            other => panic!("no client does this: {other:?}"),
        }
    }

    /// Credentials of a user.
    fn credentials(&self, n: u32, username: &str, key: Key, scope: Scope) -> Option<(String, String)> {
        let ledger = self.site.ledger.lock().unwrap();
        let fit = |key: &KeyLife| key.username == username && key.scope.allows(scope) && key.dead.is_none();
        let of = |which: &dyn Fn(&KeyLife) -> bool, place: usize| {
            let found: Vec<&KeyLife> = ledger.keys.iter().filter(|key| which(key)).collect();
            (!found.is_empty()).then(|| found[place % found.len()].secret.clone())
        };
        let any = |key: &KeyLife| key.username == username;
        let secret = match key {
            Key::Good(place) => of(&fit, place).or_else(|| of(&any, place)).unwrap(),
            Key::Any(place) => of(&any, place).unwrap(),
            Key::Guest => of(&|key| any(key) && key.ends.is_some(), 0).unwrap(),
            Key::Others(place) => of(&|key| key.username != username, place).unwrap(),
            Key::Invented => format!("weir_{:032x}", Dice::new(u64::from(n), "invented").next()),
            Key::Missing => return None,
        };
        Some((username.to_owned(), secret))
    }

    /// The events of a write.
    fn events(&self, write: &Write) -> Vec<Event> {
        let of = |op: &Op| match op {
            Op::Event(event) if event.of == write.n => Some(*event),
            _ => None,
        };
        self.site.world.luck.people().iter().filter_map(of).collect()
    }

    async fn write(&self, write: &Write) {
        self.site.world.clock.until(write.at).await;
        let (username, route) = (write.user, write.to == To::Route);
        let large = write.large && self.site.api.may_be_large();
        let events = self.events(write);
        let Some(first) = events.first() else { return };
        let path = if route { events::of_type(first.kind).1 } else { "/events" };
        let now = self.site.world.clock.millis();
        let mut left: Vec<usize> = {
            let mut ledger = self.site.ledger.lock().unwrap();
            let before = ledger.events.len();
            for (nth, event) in events.iter().enumerate() {
                let mut sent = events::make(event, (before + nth, nth), username, now, route, large);
                if event.id == Id::Told {
                    reuse_a_told_id(&mut sent, &mut ledger.told_ids, username);
                }
                ledger.events.push(sent);
            }
            (before..ledger.events.len()).collect()
        };
        if write.twice {
            left.push(left[0]);
        }
        let credentials = self.credentials(write.n, username, write.key, Scope::Write);
        let luck = &self.site.world.luck;
        for tried in 0..write.tries {
            let who = Who::Request(write.n, tried);
            let request = self.request(&left, path, write, credentials.clone());
            let patience = luck.number(who, What::Patience, 25_000, |dice| dice.range(500..25_000));
            let about = left.clone();
            let reply = self.site.send(who, request, Scope::Write, about, patience).await;
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
            let pause = |dice: &Dice| dice.range(200..*dice.pick(&[5_000, 60_000]));
            wait(luck.number(who, What::Pause, 1_000, pause)).await;
        }
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
        path: &str,
        write: &Write,
        credentials: Option<(String, String)>,
    ) -> Request {
        let ledger = self.site.ledger.lock().unwrap();
        let texts: Vec<&str> = about.iter().map(|event| ledger.events[*event].text.as_str()).collect();
        let text = match write.to {
            To::Route => texts[0].to_owned(),
            To::Object if texts.len() == 1 => texts[0].to_owned(),
            To::Object | To::Array => format!("[{}]", texts.join(" ,\n")),
            To::Lines => texts.join("\n"),
        };
        drop(ledger);
        let gzip = write.gzip && self.site.api.may_be_large();
        let body = if gzip {
            let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
            io::Write::write_all(&mut gzip, text.as_bytes()).unwrap();
            gzip.finish().unwrap()
        } else {
            text.into_bytes()
        };
        Request {
            method: "POST",
            path: path.to_owned(),
            query: String::new(),
            gzip,
            ndjson: write.to == To::Lines,
            body,
            credentials,
        }
    }

    async fn read(&self, read: &Read) {
        self.site.world.clock.until(read.at).await;
        let (event_type, route, count_by, _) = events::of_type(read.kind);
        let (path, query) = match read.what {
            Page::Counts => ("/counts".to_owned(), String::new()),
            Page::CountsOfType => (format!("/counts/{event_type}"), String::new()),
            Page::Count => (format!("{route}/count"), String::new()),
            Page::CountOfKey => (format!("{route}/count"), format!("{count_by}=a")),
            Page::Hours => (format!("/counts/{event_type}/hours"), String::new()),
            Page::Rejected { limit } => ("/rejected".to_owned(), format!("limit={limit}")),
        };
        let credentials = self.credentials(read.n, read.user, read.key, Scope::Read);
        let request =
            Request { method: "GET", path, query, gzip: false, ndjson: false, body: Vec::new(), credentials };
        self.site.send(Who::Request(read.n, 0), request, Scope::Read, Vec::new(), 30_000).await;
    }
}

/// Gives an event an id that Weir made for an earlier one of the same user, the latest of which no other has: most often both
/// are in one batch.
fn reuse_a_told_id(event: &mut Sent, told: &mut Vec<(&'static str, String)>, username: &'static str) {
    let Form::Valid { event_id: Some(given), .. } = &mut event.form else { return };
    let Some(at) = told.iter().rposition(|(whose, _)| *whose == username) else { return };
    let (_, id) = told.remove(at);
    event.text = event.text.replacen(&*given, &id, 1);
    *given = id;
}

/// Sends one event that must pass, when nothing goes wrong any more.
pub(crate) async fn send_fresh(site: &Arc<Site>) {
    let now = site.world.clock.millis();
    let fresh = Event {
        of: 0,
        kind: "button_click",
        key: "a",
        is: Is::Valid,
        named: true,
        id: Id::Own,
        ago: None,
        odd: None,
    };
    let (event, credentials) = {
        let mut ledger = site.ledger.lock().unwrap();
        let number = ledger.events.len();
        let key = ledger.keys.iter().find(|key| key.label == "main" && key.dead.is_none()).unwrap();
        let credentials = (key.username.clone(), key.secret.clone());
        let event = events::make(&fresh, (number, 0), &credentials.0, now, false, false);
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
    let reply = site.send(Who::Fresh, request, Scope::Write, vec![event], 30_000).await;
    if !matches!(reply, Some((Some(200), _))) {
        site.ledger.lock().unwrap().fault("a fresh event passes", format!("{reply:?}"));
    }
}
