//! What goes on, one after the other: serving, sealing, replaying, and forgetting.

use std::{collections::BTreeMap, fs, ops::ControlFlow, path::PathBuf, sync::Arc, thread, time::Duration};

use fan_out::FanOut;
use weir_core::forgotten::{ForgetRequest, Which};
use weir_core::{
    Catalog, Clock, Day, Event, EventId, EventType, ManualClock, Record, RecordHead, SeededRandom, Stamp,
    Username,
    dedup::IdentityDigest,
    ports::{Appended, RawObjects, Stream},
    sealing::{self, SealedRows, Sealing},
};
use weir_embedded::{Deliveries, Embedded, Flush, ForgetError, OpenError, SealedFolder};

use super::{ForgettingBug, parquet::PlainRows};
use crate::dice::Dice;

/// How often a folder is tried that another engine has, a minute in all.
const MOST_ATTEMPTS: u32 = 60_000;
const BETWEEN_ATTEMPTS: Duration = Duration::from_millis(1);

const NEVER: Flush = Flush { every: Duration::from_hours(1), size: u64::MAX };
const CLICK: &str = r#"{"type": "object", "properties": {"who": {"type": "string"}}, "x-weir": {"route": "/a/click", "count_by": "who"}}"#;
const VIEW: &str =
    r#"{"type": "object", "properties": {"who": {"type": "string"}}, "x-weir": {"route": "/a/view"}}"#;

/// An event as it was sent.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    pub(super) number: u64,
    pub(super) user: Username,
    pub(super) event_type: EventType,
    pub(super) who: u64,
    pub(super) day: u64,
    /// The id that its client gave it.
    given: bool,
}

impl Sent {
    /// The bytes that no other event has.
    pub(super) fn mark(&self) -> String {
        format!("MARK{}MARK", self.number)
    }

    pub(super) fn who(&self) -> String {
        format!("p{}", self.who)
    }
}

/// Tries until the engine before has let go of the folder, which it does once its threads have ended.
fn once_free<T, E>(
    mut attempt: impl FnMut() -> Result<T, E>,
    is_in_use: impl Fn(&E) -> bool,
) -> Result<T, E> {
    for _ in 0..MOST_ATTEMPTS {
        match attempt() {
            Err(error) if is_in_use(&error) => thread::sleep(BETWEEN_ATTEMPTS),
            outcome => return outcome,
        }
    }
    panic!("the folder is not let go of");
}

fn is_in_use(error: &ForgetError) -> bool {
    matches!(error, ForgetError::Open(OpenError::InUse(_)))
}

pub(super) struct World {
    folder: tempfile::TempDir,
    dice: Arc<Dice>,
    clock: Arc<ManualClock>,
    /// That of sealing is ahead, so that JSON expires and the server forgets no ids.
    later: ManualClock,
    random: SeededRandom,
    catalog: Catalog,
    pub(super) bug: Option<ForgettingBug>,
    /// All that was sent under an id of its client.
    sent: Vec<Sent>,
    /// What is to be there, by id.
    pub(super) kept: BTreeMap<String, Sent>,
    pub(super) forgotten: BTreeMap<String, Sent>,
    pub(super) ids: Vec<IdentityDigest>,
    digests: BTreeMap<String, IdentityDigest>,
    /// An operator's copy of raw.
    copy: BTreeMap<PathBuf, Vec<u8>>,
    /// Whether raw has had batches from before a forgetting since the last one.
    pub(super) is_put_back: bool,
    pub(super) broken: Vec<(&'static str, String)>,
}

fn first_day() -> Day {
    "2026-11-20".parse().unwrap()
}

impl World {
    pub(super) fn new(dice: Arc<Dice>, bug: Option<ForgettingBug>) -> Self {
        let now = first_day().first_hour().start().plus_millis(6 * 86_400_000);
        let random = SeededRandom::new(dice.next());
        Self {
            folder: tempfile::tempdir().unwrap(),
            dice,
            clock: Arc::new(ManualClock::at(now)),
            later: ManualClock::at(now),
            random,
            catalog: Catalog::read([("click.json", CLICK), ("view.json", VIEW)]).unwrap(),
            bug,
            sent: Vec::new(),
            kept: BTreeMap::new(),
            forgotten: BTreeMap::new(),
            ids: Vec::new(),
            digests: BTreeMap::new(),
            copy: BTreeMap::new(),
            is_put_back: false,
            broken: Vec::new(),
        }
    }

    pub(super) fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    pub(super) fn broke(&mut self, check: &'static str, details: impl Into<String>) {
        self.broken.push((check, details.into()));
    }

    pub(super) fn has(&self, bug: ForgettingBug) -> bool {
        self.bug == Some(bug)
    }

    fn rows(&self) -> PlainRows {
        let (books, _, lake) = weir_embedded::open_books(&self.data()).unwrap();
        PlainRows { data: self.data(), books, lake, keeps_all: self.has(ForgettingBug::SealedRowsKept) }
    }

    /// Opens the folder as the server does, which finishes what a forgetting left.
    fn open(&mut self) -> (Embedded, Deliveries) {
        let data = self.data();
        if weir_embedded::needs_rows_to_finish(&data) {
            let turn = SealedFolder::of(&data).turn().unwrap().unwrap();
            once_free(|| weir_embedded::finish_forgetting(&data, (&turn, &self.rows())), is_in_use).unwrap();
        }
        let opened = once_free(
            || Embedded::open_with_catalog(&data, NEVER, self.clock.clone(), &self.catalog),
            |error| matches!(error, OpenError::InUse(_)),
        );
        let (engine, deliveries, _) = opened.unwrap();
        (engine, deliveries)
    }

    fn fan_out(engine: &Embedded) -> FanOut {
        let (raw, lake, quarantine) = engine.folders();
        let shared = Arc::new(engine.clone());
        FanOut::new(Arc::new(raw), Arc::new(lake), Arc::new(quarantine), shared.clone()).without(shared)
    }

    fn record(&self, sent: &Sent) -> Record {
        let at = first_day().first_hour().start().plus_millis(sent.day * 86_400_000);
        let id = sent.given.then(|| format!("e-{}", sent.number));
        let own = id.as_ref().map_or(String::new(), |id| format!(r#""event_id":"{id}","#));
        let (who, note, at) = (sent.who(), sent.mark(), at.millis());
        let text = format!(r#"{{{own}"who":"{who}","note":"{note}","occurred_at":{at}}}"#);
        let id = id.map(|id| id.parse::<EventId>().unwrap());
        let stamp = Stamp::new(sent.user.clone(), id, self.clock.now(), &self.random);
        let key = (sent.event_type.as_str() == "click").then(|| sent.who().parse().unwrap());
        Record::accepted(&Event::read(&text).unwrap(), &sent.event_type, key, stamp)
    }

    /// A server takes some events, new ones and ones that are sent again, and files them, or dies before.
    pub(super) async fn serve(&mut self) {
        let (engine, deliveries) = self.open();
        for _ in 0..self.dice.range(1..5) {
            let again = !self.sent.is_empty() && self.dice.chance(300);
            let sent = if again {
                self.dice.pick(&self.sent).clone()
            } else {
                Sent {
                    number: self.dice.next() % 1_000_000_000,
                    user: (*self.dice.pick(&["ann", "bob"])).parse().unwrap(),
                    event_type: (*self.dice.pick(&["click", "view"])).parse().unwrap(),
                    who: self.dice.range(0..3),
                    day: self.dice.range(0..4),
                    given: self.dice.chance(700),
                }
            };
            self.clock.advance(1 + self.dice.range(0..1000));
            let record = self.record(&sent);
            let head = RecordHead::read(record.line()).unwrap();
            let (id, digest) = (head.event_id.to_string(), head.identity().digest());
            let appended = engine.append(vec![record]).await;
            match &appended[0] {
                Appended::Duplicate { .. } if again => {}
                Appended::Counted if again && self.forgotten.contains_key(&id) => {
                    self.broke("forgotten events never come back", format!("{id} was sent again"));
                }
                Appended::Counted if !again => {
                    if sent.given {
                        self.sent.push(sent.clone());
                        self.digests.insert(id.clone(), digest);
                    }
                    self.kept.insert(id, sent);
                }
                other => self.broke("no other event is lost", format!("{id} ({again}) is {other:?}")),
            }
        }
        if self.dice.chance(700) {
            self.file(engine, deliveries, 200).await;
        }
    }

    /// Files what waits; dies now and then, before a batch is marked as filed.
    async fn file(&mut self, engine: Embedded, mut deliveries: Deliveries, deadly: u64) {
        let fan_out = Self::fan_out(&engine);
        engine.stop().await.unwrap();
        while let Some(batch) = deliveries.next().await {
            fan_out.file(&batch).await.unwrap();
            if self.dice.chance(deadly) {
                return;
            }
            engine.filed(&batch).await.unwrap();
        }
        if self.dice.chance(300) {
            self.copy.extend(super::check::files_below(&self.data().join("raw")).into_iter().map(|path| {
                let bytes = fs::read(&path).unwrap();
                (path, bytes)
            }));
        }
    }

    pub(super) async fn file_all(&mut self) {
        let (engine, deliveries) = self.open();
        self.file(engine, deliveries, 0).await;
    }

    pub(super) async fn seal(&mut self) {
        self.file_all().await;
        let (folder, work) = (SealedFolder::of(&self.data()), self.rows());
        let _turn = folder.turn().unwrap().unwrap();
        let sealing = Sealing { days: &folder, work: &work, clock: &self.later, accept_differences: false };
        let until = first_day().next().next().next().next().minus(self.dice.range(0..4));
        sealing::tidy(&folder, self.later.now()).await.unwrap();
        if let Err(error) = sealing::seal(&sealing, until, &mut |_| ()).await {
            self.broken.push(("sealing goes on", error.to_string()));
        }
        if self.dice.chance(500) {
            self.later.advance(25 * 3_600_000);
            let now = self.later.now();
            sealing::expire_json(&folder, &work, until.minus(1), now, now).await.unwrap();
        }
    }

    /// Files all batches of raw again.
    pub(super) async fn replay(&mut self) {
        let (engine, _deliveries) = self.open();
        let fan_out = Self::fan_out(&engine);
        for batch in engine.folders().0.list(None, 10_000).await.unwrap() {
            fan_out.file(&batch).await.unwrap();
        }
    }

    /// Puts old batches back, from before events were forgotten, and files them again.
    pub(super) async fn put_back(&mut self) {
        for (path, bytes) in &self.copy {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, bytes).unwrap();
            self.is_put_back = true;
        }
        self.replay().await;
    }

    /// Forgets some events, dies meanwhile now and then, and goes on; then all is checked.
    pub(super) async fn forget(&mut self) {
        self.file_all().await;
        let which = if self.dice.chance(100) {
            Which::All
        } else {
            let values = vec![format!("p{}", self.dice.range(0..3))];
            Which::Where { field: "who".to_owned(), values }
        };
        let of_type = self.dice.chance(300).then(|| (*self.dice.pick(&["click", "view"])).parse().unwrap());
        let username: Username = (*self.dice.pick(&["ann", "bob"])).parse().unwrap();
        let request = ForgetRequest { username, event_type: of_type, which };
        let data = self.data();
        let plants = super::check::Plants::before(self);
        loop {
            let mut left = if self.dice.chance(400) { self.dice.range(0..14) } else { u64::MAX };
            let forgotten = {
                let turn = SealedFolder::of(&data).turn().unwrap().unwrap();
                let rows = self.rows();
                let mut until_death = |_: &str| {
                    left = left.saturating_sub(1);
                    if left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
                };
                let with = (&turn, &rows as &dyn SealedRows);
                once_free(
                    || weir_embedded::forget(&data, &request, &self.random, with, &mut until_death),
                    is_in_use,
                )
            };
            match forgotten {
                Ok(_) => break,
                Err(ForgetError::NotFiled) => self.file_all().await,
                Err(ForgetError::Stopped) => {
                    super::check::Plants::after_a_death(self);
                    if self.dice.chance(500) {
                        self.file_all().await;
                    }
                }
                Err(error) => return self.broke("forgetting goes on", error.to_string()),
            }
        }
        let means = |sent: &Sent| {
            let is_it = match &request.which {
                Which::All => true,
                Which::Where { values, .. } => values.contains(&sent.who()),
            };
            is_it
                && sent.user == request.username
                && request.event_type.as_ref().is_none_or(|wanted| *wanted == sent.event_type)
        };
        let (gone, kept) = std::mem::take(&mut self.kept).into_iter().partition(|(_, sent)| means(sent));
        self.kept = kept;
        let gone: BTreeMap<String, Sent> = gone;
        self.ids.extend(gone.keys().filter_map(|id| self.digests.get(id)));
        self.forgotten.extend(gone);
        self.is_put_back = false;
        plants.after(self);
        self.check().await;
    }
}
