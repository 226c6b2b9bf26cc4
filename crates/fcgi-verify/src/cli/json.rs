//! `--json`: one document with everything.

use anyhow::Result;
use fcgi_verify::{Outcome, Target};
use serde_json::{Value, json};

use super::Ran;

/// Prints the document.
pub(crate) fn print(target: &Target, ran: &[Ran], passed: bool) -> Result<()> {
    let document = json!({
        "target": {
            "address": target.address.to_string(),
            "workload": target.workload,
            "multiplexing": target.multiplexing,
            "connections": target.connections,
            "fcgi_max_conns": target.capacity.max_conns,
            "fcgi_max_reqs": target.capacity.max_reqs,
            "fcgi_mpxs_conns": target.capacity.mpxs_conns,
            "seed": target.seed,
        },
        "passed": passed,
        "counts": {
            "passed": count(ran, |outcome| matches!(outcome, Outcome::Passed)),
            "failed": count(ran, |outcome| matches!(outcome, Outcome::Failed(_))),
            "reported": count(ran, |outcome| matches!(outcome, Outcome::Reported(_))),
            "not_applicable": count(ran, |outcome| matches!(outcome, Outcome::NotApplicable(_))),
        },
        "cases": ran.iter().map(case).collect::<Result<Vec<_>>>()?,
    });
    say!("{}", serde_json::to_string_pretty(&document)?);
    Ok(())
}

fn case((case, report): &Ran) -> Result<Value> {
    let mut value = serde_json::to_value(&report.outcome)?;
    if let Value::Object(fields) = &mut value {
        fields.insert("name".to_owned(), json!(case.name));
        fields.insert("chapter".to_owned(), json!(case.chapter));
        fields.insert("section".to_owned(), json!(case.section));
        fields.insert("level".to_owned(), json!(case.level));
        fields.insert("asks".to_owned(), json!(case.asks));
        fields.insert("seconds".to_owned(), json!(report.elapsed.as_secs_f64()));
        if matches!(report.outcome, Outcome::Failed(_)) {
            fields.insert("transcript".to_owned(), json!(report.transcript));
        }
    }
    Ok(value)
}

fn count(ran: &[Ran], is: impl Fn(&Outcome) -> bool) -> usize {
    ran.iter().filter(|(_, report)| is(&report.outcome)).count()
}
