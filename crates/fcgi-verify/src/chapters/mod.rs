//! The suite, one file per chapter.

use std::sync::LazyLock;

use crate::case::{Case, Stop, Verdict};

mod abort;
mod closing;
mod garbage;
mod inactive_ids;
mod keep_conn;
mod lifecycle;
mod limits;
mod management;
mod many_connections;
mod neighbours;
mod pairs;
mod records;
mod roles;
mod slow;

/// What a case's function returns.
pub(crate) type Run = Result<Verdict, Stop>;

/// The chapters in the order in which they run: gentle ones first.
const CHAPTERS: [(&str, &[Case]); 14] = [
    ("records", records::CASES),
    ("pairs", pairs::CASES),
    ("management", management::CASES),
    ("lifecycle", lifecycle::CASES),
    ("keep-conn", keep_conn::CASES),
    ("roles", roles::CASES),
    ("abort", abort::CASES),
    ("limits", limits::CASES),
    ("inactive-ids", inactive_ids::CASES),
    ("closing", closing::CASES),
    ("slow", slow::CASES),
    ("garbage", garbage::CASES),
    ("many-connections", many_connections::CASES),
    ("neighbours", neighbours::CASES),
];

/// Every case, in the order in which they run.
pub fn cases() -> &'static [Case] {
    static CASES: LazyLock<Vec<Case>> = LazyLock::new(|| {
        CHAPTERS
            .iter()
            .flat_map(|(chapter, cases)| cases.iter().map(|case| Case { chapter, ..*case }))
            .collect()
    });
    &CASES
}

/// The names of the chapters.
pub fn chapters() -> impl Iterator<Item = &'static str> {
    CHAPTERS.iter().map(|(chapter, _)| *chapter)
}
