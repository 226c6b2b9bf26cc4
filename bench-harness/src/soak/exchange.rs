//! Requests of one connection and what becomes of each of them.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use super::ledger::Kind;
use crate::client::{Client, Reply, ReplyBuilder};

/// What became of a request.
#[derive(Debug)]
pub(super) enum Ending {
    Answered,
    Refused,
    Failed(Kind, String),
}

/// Reads the replies to all `ids`, sent on `client`. `fault` says what is wrong with a reply.
pub(super) fn endings(
    client: &mut Client,
    ids: impl IntoIterator<Item = u16>,
    fault: impl Fn(u16, &Reply) -> Option<String>,
) -> Vec<Ending> {
    let mut open: BTreeMap<u16, (ReplyBuilder, bool)> =
        ids.into_iter().map(|id| (id, (ReplyBuilder::default(), false))).collect();
    let mut endings = Vec::new();
    while !open.is_empty() {
        let record = match client.record() {
            Ok(Some(record)) => record,
            Ok(None) => return broken_off(endings, &open, "closed by the server"),
            Err(error) if is_closing(&error) => return broken_off(endings, &open, &error.to_string()),
            Err(error) => return failed(endings, &open, &error),
        };
        let Some((builder, begun)) = open.get_mut(&record.id) else {
            let words =
                format!("a record of type {} for request {}, which has ended", record.kind, record.id);
            return failed(endings, &open, &io::Error::other(words));
        };
        *begun = true;
        let id = record.id;
        match builder.add(record) {
            Ok(None) => {}
            Ok(Some(reply)) => {
                open.remove(&id);
                endings.push(judge(id, &reply, &fault));
            }
            Err(error) => return failed(endings, &open, &error),
        }
    }
    endings
}

fn judge(id: u16, reply: &Reply, fault: impl Fn(u16, &Reply) -> Option<String>) -> Ending {
    if reply.status == 503 || matches!(reply.protocol_status, 1 | 2) {
        return Ending::Refused;
    }
    match fault(id, reply) {
        Some(words) => Ending::Failed(Kind::Wrong, words),
        None => Ending::Answered,
    }
}

/// Whether an error says that the other side has closed.
pub(super) fn is_closing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset | ErrorKind::BrokenPipe)
}

fn broken_off(
    mut endings: Vec<Ending>,
    open: &BTreeMap<u16, (ReplyBuilder, bool)>,
    words: &str,
) -> Vec<Ending> {
    endings.extend(open.values().map(|(_, begun)| {
        let kind = if *begun { Kind::Lost } else { Kind::Unanswered };
        Ending::Failed(kind, words.to_owned())
    }));
    endings
}

fn failed(
    mut endings: Vec<Ending>,
    open: &BTreeMap<u16, (ReplyBuilder, bool)>,
    error: &io::Error,
) -> Vec<Ending> {
    let late = matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    let kind = if late { Kind::TimedOut } else { Kind::Wrong };
    endings.extend(open.values().map(|_| Ending::Failed(kind, error.to_string())));
    endings
}
