//! What a connection reads replies by: one of two protocols, and what the connection asks of either.

use crate::address::Protocol;
use crate::reply::Records;
use crate::response::Responses;

/// The reader of one connection.
#[derive(Debug)]
pub(crate) enum Codec {
    FastCgi(Records),
    /// Apart: of the two it is the larger.
    Http(Box<Responses>),
}

impl Codec {
    pub(crate) fn new(protocol: Protocol) -> Self {
        match protocol {
            Protocol::FastCgi => Self::FastCgi(Records::default()),
            Protocol::Http => Self::Http(Box::default()),
        }
    }

    /// Whether the bytes so far end inside a record, or inside a response.
    pub(crate) fn is_mid_message(&self) -> bool {
        match self {
            Self::FastCgi(records) => records.is_mid_record(),
            Self::Http(responses) => responses.is_mid_response(),
        }
    }

    /// Whether a reply is under way that is over when the server closes the connection.
    pub(crate) fn ends_by_close(&self) -> bool {
        match self {
            Self::FastCgi(_) => false,
            Self::Http(responses) => responses.ends_by_close(),
        }
    }

    /// Ready for another connection.
    pub(crate) fn reset(&mut self) {
        match self {
            Self::FastCgi(records) => *records = Records::default(),
            Self::Http(responses) => responses.reset(),
        }
    }
}
