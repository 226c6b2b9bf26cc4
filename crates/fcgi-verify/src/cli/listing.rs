//! `--list`.

use std::io::{self, Write};

use fcgi_verify::Case;
use serde_json::json;

/// Every case with its level, section and what it asks.
pub(crate) fn print(out: &mut dyn Write, cases: &[&Case], as_json: bool) -> io::Result<()> {
    if as_json {
        let list: Vec<_> = cases
            .iter()
            .map(|case| {
                json!({
                    "name": case.name, "chapter": case.chapter, "section": case.section, "level": case.level,
                    "asks": case.asks, "quick": case.quick, "needs": needs(case),
                })
            })
            .collect();
        return writeln!(out, "{}", serde_json::to_string_pretty(&list)?);
    }
    for case in cases {
        writeln!(out, "{} ({}, section {})", case.path(), case.level, case.section)?;
        writeln!(out, "    {}", case.asks)?;
        let needs = needs(case);
        if !needs.is_empty() {
            writeln!(out, "    needs: {}", needs.join(", "))?;
        }
    }
    writeln!(out, "{} cases", cases.len())
}

/// What the case needs, in words.
fn needs(case: &Case) -> Vec<String> {
    let needs = &case.needs;
    let mut words: Vec<String> = [
        (needs.workload, "the workload"),
        (needs.multiplexing, "multiplexing"),
        (needs.no_multiplexing, "no multiplexing"),
        (needs.abort_while_waiting, "reading while a request waits"),
        (needs.process, "the server's process"),
        (needs.tcp, "TCP"),
    ]
    .into_iter()
    .filter(|(needed, _)| *needed)
    .map(|(_, word)| word.to_owned())
    .collect();
    if needs.concurrent_connections > 1 {
        words.push(format!("{} connections at once", needs.concurrent_connections));
    }
    words
}
