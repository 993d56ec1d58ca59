//! What happens in a run, as a list of operations: what people do and when, which clocks are wrong, which calls go wrong, and
//! how luck falls elsewhere. A list is drawn from a seed (`luck`), and it can be replayed, shrunk (`shrink`) and kept (`kept`).
//!
//! Each operation stands for itself: without it, its part of the world does what is most usual, and all others stay as they
//! were.

use std::fmt;

use crate::faults::Fault;

/// One operation. Its text is Rust, to be pasted into `kept.rs`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Op {
    /// A client sends events, and tries again.
    Write(Write),
    /// An event that a client sends.
    Event(Event),
    /// A client reads.
    Read(Read),
    /// The operator rotates or removes an access key.
    Change(Change),
    /// A stranger writes, `at` so many milliseconds after the start.
    Stranger { n: u32, at: u64, writes: Garbage },
    /// The clocks of a machine are wrong: by how many milliseconds the wall clock is ahead, before a second of the run and
    /// from then on; and for how many seconds the count of what time passes stands still at that moment.
    Clock { of: Machine, ahead: [i64; 2], jumps_at: u64, stands_still: u64 },
    /// A call to AWS goes wrong: the n-th that is made on behalf of `of`, from 0.
    Fault { of: Who, call: u32, is: Fault },
    /// Something is not as usual: the n-th time that it could be, from 0.
    Luck { of: Who, what: What, nth: u32, is: u64 },
}

/// A client's write, `at` so many milliseconds after the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Write {
    pub(crate) n: u32,
    pub(crate) at: u64,
    pub(crate) user: &'static str,
    pub(crate) to: To,
    /// The first event is there twice.
    pub(crate) twice: bool,
    pub(crate) gzip: bool,
    /// Each event has a filler.
    pub(crate) large: bool,
    pub(crate) key: Key,
    /// How often it is tried at the most.
    pub(crate) tries: u32,
}

/// Where events are sent, and in what form.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum To {
    /// To the route of the first event's type.
    Route,
    Object,
    Array,
    Lines,
}

/// An event of the write with this number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Event {
    pub(crate) of: u32,
    pub(crate) kind: &'static str,
    pub(crate) key: &'static str,
    pub(crate) is: Is,
    /// It names its type, though the route has it already.
    pub(crate) named: bool,
    pub(crate) id: Id,
    /// How many milliseconds ago it occurred, if it says so; less than 0, if that is still to come.
    pub(crate) ago: Option<i64>,
    /// Which of `events::ODD` it has.
    pub(crate) odd: Option<usize>,
}

/// Whether an event is valid, and why not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Is {
    Valid,
    OfAnotherKind,
    NamingAUser,
    OfNoType,
    Stamped,
    WithoutItsKey,
}

/// An event's id: none, one of its own, or one that Weir made for an earlier event (one of its own, if there is no such).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Id {
    Without,
    Own,
    Told,
}

/// A client's read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) n: u32,
    pub(crate) at: u64,
    pub(crate) user: &'static str,
    pub(crate) what: Page,
    pub(crate) kind: &'static str,
    pub(crate) key: Key,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Page {
    Counts,
    CountsOfType,
    Count,
    CountOfKey,
    Hours,
    Rejected { limit: u64 },
}

/// Which of the access keys a client uses: the one of this place among those that fit, all of the user's, or others'; or the
/// user's that was made with an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Key {
    Good(usize),
    Any(usize),
    Others(usize),
    Guest,
    Invented,
    Missing,
}

/// A change of a user's access key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) n: u32,
    pub(crate) at: u64,
    pub(crate) user: &'static str,
    pub(crate) label: &'static str,
    pub(crate) remove: bool,
    /// For how many milliseconds a rotated key is good.
    pub(crate) grace: u64,
}

/// What a stranger writes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Garbage {
    NoBatch,
    /// Lines that are no records.
    Words,
    NoType,
    NotUtf8,
    NoUsername,
    NoObject,
}

/// A machine with clocks of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Machine {
    Collector,
    FanOut,
    Authorizer,
}

/// Who or what something happens to. Requests have the number of their read or write, and that of the try.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Who {
    Run,
    Request(u32, u32),
    /// The request that must pass at the end.
    Fresh,
    /// The operator, before anything goes wrong, and by change.
    MakingUsers,
    Changing(u32),
    /// An invocation of the fan-out, by its poller.
    Filing(u32, u32),
    /// Firehose, each time that it looks whether something is due, and what it has from before the run.
    Delivery(u32),
    Backlog,
    /// The operator, each time that damaged batches are looked for.
    Repair(u32),
    Announcement(u32),
    /// The checks.
    Check,
}

impl fmt::Display for Who {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(number, tried) => write!(out, "request {number}.{tried}"),
            Self::Changing(number) => write!(out, "change {number}"),
            Self::Filing(poller, invocation) => write!(out, "filing {poller}.{invocation}"),
            other => write!(out, "{other:?}"),
        }
    }
}

/// What may be as usual, or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum What {
    /// The run: when it begins within an hour, how long people are at work, and how long things go wrong after that, in
    /// milliseconds; what seeds Weir's own randomness and the SDK's; whether there is a batch of very many partitions; and
    /// whether users have buckets of their own, and whose these are: ours, a stranger's, or none.
    Begins,
    Lasts,
    GoesOn,
    Randomness,
    ManyPartitions,
    BucketPerUser,
    BucketOwner,
    /// After how many milliseconds a user's key ends that is made with an end.
    GuestEnds,
    /// A call: how many milliseconds it takes to arrive and to return; and whether Firehose refuses an entry.
    Arrives,
    Returns,
    Refused,
    /// A request or an invocation dies at this boundary of its calls, from 1.
    Dies,
    /// A request: which environments serve it, and whether the authorizer's is a new one; whether the answer is lost; how many
    /// milliseconds the client waits for it, and then before the next try.
    Served,
    Authorized,
    AuthorizedAnew,
    AnswerLost,
    Patience,
    Pause,
    /// The queue: how many milliseconds until it is asked, for how many messages, which one it gives, and whether it gives it
    /// to another as well; and whether the deletion of a message that was handled is lost. Lambda: whether it throttles an
    /// invocation, and how many milliseconds are left for one that has too little time.
    Polled,
    Wanted,
    Picked,
    GivenTwice,
    DeletionLost,
    Throttled,
    Hurried,
    /// Firehose: how many milliseconds until it looks; in what order a batch is, without its last third; which record is
    /// delivered again (from 1), and whether in another batch; whether an object has two members, and how it is damaged.
    Looks,
    Shuffled,
    Repeated,
    RepeatedLater,
    TwoMembers,
    Damaged,
    /// A notification: it is held back, has its objects in another order, comes twice, or comes after so many milliseconds, and
    /// so many later.
    HeldBack,
    Mixed,
    Twice,
    After,
    Late,
}
