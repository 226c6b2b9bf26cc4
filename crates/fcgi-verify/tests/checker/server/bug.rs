//! The bugs that the server can have, and what connections share for those of them that concern all.

use std::sync::{Condvar, Mutex};
use std::time::Duration;

/// What is wrong with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Bug {
    /// Padding counts as content.
    PaddingIsContent,
    /// Every PARAMS record is read as whole pairs.
    PairsPerRecord,
    /// Every length of a pair is read as one byte.
    LengthsOfOneByte,
    /// END_REQUEST is sent twice.
    EndTwice,
    /// STDOUT has no empty record.
    StdoutNotEnded,
    /// STDOUT goes on after its empty record.
    StdoutAfterItsEnd,
    /// The body of END_REQUEST has four bytes.
    ShortEnd,
    /// appStatus is always 0.
    AppStatusLost,
    /// ABORT_REQUEST is ignored.
    AbortIgnored,
    /// ABORT_REQUEST is answered, and the request ends as well.
    AbortAnswered,
    /// The connection is closed after every request.
    AlwaysCloses,
    /// The connection is never closed.
    NeverCloses,
    /// The id's high byte is lost in the answer.
    IdOfOneByte,
    /// Unknown management types are dropped.
    UnknownTypeDropped,
    /// UNKNOWN_TYPE names another type.
    UnknownTypeWrong,
    /// Unknown names are answered with empty values.
    UnknownNamesAnswered,
    /// GET_VALUES closes the connection.
    GetValuesCloses,
    /// GET_VALUES within a request is dropped.
    GetValuesDroppedWithinRequests,
    /// Every role is played.
    EveryRole,
    /// A record for an inactive id closes the connection.
    InactiveCloses,
    /// STDIN for an inactive id is kept for the next request with it.
    InactiveKept,
    /// CONTENT_LENGTH does not bound the body.
    ContentLengthIgnored,
    /// The answer is of version 0.
    VersionZero,
    /// All requests of a connection share one body.
    OneBody,
    /// A read is taken for whole records.
    ReadsAreRecords,
    /// The answer begins with the first PARAMS record.
    AnswersWithinParams,
    /// Bytes of a wrong version end the server.
    DiesOfGarbage,
    /// FCGI_GET_VALUES ends the server.
    DiesOfGetValues,
    /// Requests of one connection are run one after the other.
    OneAfterTheOther,
    /// HEAD is answered with a body.
    HeadHasBody,
    /// The end of the peer's side ends all requests.
    EndOfInputAborts,
    /// As long as one connection sends, no other is read.
    BusyStarvesOthers,
    /// There are few threads for requests, and an answer that is not read keeps one.
    FewThreads,
    /// There are few threads for requests, and one that waits does not learn that its peer has left.
    FewThreadsForTheGone,
    /// Whoever writes has a lock that all connections share.
    OneLockForAll,
    /// From this connection on, counted from 0, all are accepted and none is read.
    SilentFrom(usize),
}

/// What all connections of a server with such a bug share.
#[derive(Default)]
pub(super) struct Bottleneck {
    pub(super) turn: Mutex<()>,
    pub(super) sending: Mutex<()>,
    /// Requests that have a thread.
    pub(super) answering: Mutex<usize>,
    pub(super) answered: Condvar,
}

/// How many requests have a thread at a time where there are few.
pub(super) const FEW: usize = 32;
/// How long a connection is silent before another is read, where a busy one starves them.
pub(super) const SILENCE: Duration = Duration::from_millis(500);
