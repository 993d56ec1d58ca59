//! Bugs that are planted on purpose, to see that the checks find them: between a function and an engine (`ports`), or
//! between the SDK and AWS (`calls`), or in what the simulation does in place of AWS; never in Weir itself.

mod calls;
mod lake;
mod ports;

pub(crate) use lake::lake;
pub(crate) use ports::{latest, live, quarantine, raw, receipts, rejected, stream};

/// A planted bug.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Events are acknowledged whether or not they were stored.
    AcknowledgedUnstored,
    /// After a partial failure, all entries are sent again.
    WholeBatchAgain,
    /// A partial failure is taken for a success.
    PartialFailureIgnored,
    /// The answers to entries are read in the wrong order.
    AnswersMixedUp,
    /// An id that is claimed is taken for one whose event is stored.
    ClaimTakenForStored,
    /// An id is marked as stored when it is claimed.
    MarkedWhenClaimed,
    /// Ids are not marked as stored.
    NotMarked,
    /// An id can be claimed that another request has claimed.
    ClaimedTwice,
    /// A claim never ends.
    ClaimedForever,
    /// Claims go by the machine's clock, whatever the services say.
    WallClockTrusted,
    /// The first claim of a process goes by the machine's clock, and only further ones by what the services say.
    FirstClaimUntimed,
    /// Rejected events are not kept.
    RejectedNotKept,
    /// Live counts are raised again where the answer was lost.
    RaisedAgain,
    /// Live counts are raised before the events are stored.
    CountedBeforeStored,
    /// Live counts are not raised for more than one event.
    CountedOnce,
    /// Counts of another user are read.
    CountsOfAnother,
    /// Rejected events of another user are read.
    RejectedOfAnother,
    /// The receipts of another user's events are read.
    ReceiptOfAnother,
    /// An event whose batch is not filed yet has the receipt of a filed one.
    ReceiptTooEarly,
    /// Receipts know the ids that Weir made, and not those of clients.
    ReceiptOfMadeOnly,
    /// One event in 64 has no receipt.
    ReceiptOfSomeMissing,
    /// Objects in the lake have random names.
    RandomNames,
    /// Objects in the lake are named by what batches have in common.
    NamesShared,
    /// An object is written in two steps, and left alone where there is one.
    FirstWriteWins,
    /// Partitions are made by the time of filing.
    PartitionedByFiling,
    /// Partitions are made by the time of arrival.
    PartitionedByArrival,
    /// Partitions are made by the client's time, however far off it is.
    PartitionedByOccurrence,
    /// A batch is noted as filed before it is.
    NotedBeforeFiled,
    /// Counts are settled without a marker.
    NoMarker,
    /// The marker and the counts are two calls.
    MarkerApart,
    /// A conflict of transactions is taken for a batch that is settled already.
    ConflictTakenForDone,
    /// Only the first object of a notification is filed.
    FirstRecordOnly,
    /// What the function says has failed is deleted all the same.
    FailuresIgnored,
    /// Messages are deleted before they are handled.
    DeletedFirst,
    /// A line that cannot be filed fails its batch.
    BadLineFails,
    /// A line that cannot be filed ends the batch.
    BadLineEnds,
    /// What cannot be filed is dropped.
    BadLineDropped,
    /// Only the first gzip member of a batch is read.
    FirstMemberOnly,
    /// An object that breaks off is taken for whole.
    TornTakenForWhole,
    /// The fan-out drops lines by user and id alone: an id that Weir made, and a client reused, loses an event.
    ToldIdTakenForRepeat,
    /// The authorizer's answers are kept by the user's name alone.
    CachedByUsername,
    /// A grant is believed for as long as the function lives.
    BelievedForever,
    /// The user is taken from the event.
    UserFromEvent,
    /// Fields that the schema does not name are dropped.
    FieldsDropped,
    /// Of a damaged batch, the lines before the damage are filed.
    DamageFiledInPart,
    /// Messages that Lambda has throttled are taken for handled.
    ThrottledTakenForDone,
    /// A batch for which there was no time is taken for filed.
    OutOfTimeTakenForDone,
    /// A user's bucket that belongs to a stranger fails the batch.
    StrangersBucketFails,
    /// The collector believes API Gateway's cache although the key has ended.
    OwnEndIgnored,
    /// A latest value is written without a condition.
    LatestUnconditional,
    /// Latest values are compared by the time of arrival.
    LatestByArrival,
    /// An event is acknowledged although its latest value was not raised.
    LatestNotRaised,
    /// A repeat raises no latest value, as the event was stored before.
    RepeatRaisesNothing,
    /// A repeat raises itself in place of the record that was stored.
    RepeatRaisesItself,
}

/// All of them: the check that finds it, and the seed from which on it is looked for.
pub(crate) const ALL: [(Bug, &str, u64); 54] = [
    (Bug::AcknowledgedUnstored, "acknowledged is stored", 1),
    (Bug::WholeBatchAgain, "stored once", 1),
    (Bug::PartialFailureIgnored, "acknowledged is stored", 1),
    (Bug::AnswersMixedUp, "acknowledged is stored", 1),
    (Bug::ClaimTakenForStored, "acknowledged is stored", 1),
    (Bug::MarkedWhenClaimed, "acknowledged is stored", 1),
    (Bug::NotMarked, "stored once", 1),
    (Bug::ClaimedTwice, "stored once", 1),
    (Bug::ClaimedForever, "failures have a cause", 1),
    (Bug::WallClockTrusted, "stored once", 1),
    (Bug::FirstClaimUntimed, "failures have a cause", 1),
    (Bug::RejectedNotKept, "acknowledged is stored", 1),
    (Bug::RaisedAgain, "live counts", 1),
    (Bug::CountedBeforeStored, "live counts", 1),
    (Bug::CountedOnce, "live counts", 1),
    (Bug::CountsOfAnother, "reads", 1),
    (Bug::RejectedOfAnother, "reads", 1),
    (Bug::ReceiptOfAnother, "receipts", 1),
    (Bug::ReceiptTooEarly, "receipts", 1),
    (Bug::ReceiptOfMadeOnly, "receipts", 1),
    (Bug::ReceiptOfSomeMissing, "receipts", 1),
    (Bug::RandomNames, "lake is what was delivered", 1),
    (Bug::NamesShared, "lake is what was delivered", 1),
    (Bug::FirstWriteWins, "lake is what was delivered", 1),
    (Bug::PartitionedByFiling, "lake's places", 1),
    (Bug::PartitionedByArrival, "lake's places", 1),
    (Bug::PartitionedByOccurrence, "lake's places", 1),
    (Bug::NotedBeforeFiled, "lake is what was delivered", 1),
    (Bug::NoMarker, "settled counts", 1),
    (Bug::MarkerApart, "settled counts", 1),
    (Bug::ConflictTakenForDone, "settled counts", 1),
    (Bug::FirstRecordOnly, "lake is what was delivered", 1),
    (Bug::FailuresIgnored, "lake is what was delivered", 1),
    (Bug::DeletedFirst, "lake is what was delivered", 1),
    (Bug::BadLineFails, "everything drains", 1),
    (Bug::BadLineEnds, "lake is what was delivered", 1),
    (Bug::BadLineDropped, "quarantine", 1),
    (Bug::FirstMemberOnly, "lake is what was delivered", 1),
    (Bug::TornTakenForWhole, "lake is what was delivered", 1),
    (Bug::ToldIdTakenForRepeat, "acknowledged is stored", 1),
    (Bug::CachedByUsername, "credentials", 1),
    (Bug::BelievedForever, "credentials", 1),
    (Bug::UserFromEvent, "stored is as sent", 1),
    (Bug::FieldsDropped, "stored is as sent", 1),
    (Bug::DamageFiledInPart, "everything drains", 1),
    (Bug::ThrottledTakenForDone, "lake is what was delivered", 1),
    (Bug::OutOfTimeTakenForDone, "lake is what was delivered", 1),
    (Bug::StrangersBucketFails, "everything drains", 1),
    (Bug::OwnEndIgnored, "credentials", 1),
    (Bug::LatestUnconditional, "latest values", 1),
    (Bug::LatestByArrival, "latest values", 1),
    (Bug::LatestNotRaised, "latest values", 1),
    (Bug::RepeatRaisesNothing, "latest values", 1),
    (Bug::RepeatRaisesItself, "latest values", 1),
];

/// The bug of this name.
pub(crate) fn named(name: &str) -> Bug {
    let found = ALL.iter().find(|(bug, ..)| format!("{bug:?}") == name);
    found.unwrap_or_else(|| panic!("no planted bug is named {name}")).0
}
