//! `--json`: one document with everything.

use fcgi_verify::{Outcome, Target};
use serde_json::{Value, json};

use super::run::{Ran, Run};

/// The document. Of a run that was stopped it holds what is known, and why it was stopped.
pub(crate) fn document(run: &Run) -> serde_json::Result<String> {
    let document = json!({
        "target": run.target.as_ref().map(target),
        "passed": run.passed(),
        "stopped": run.stopped,
        "counts": {
            "passed": count(run, |outcome| matches!(outcome, Outcome::Passed)),
            "failed": count(run, |outcome| matches!(outcome, Outcome::Failed(_))),
            "reported": count(run, |outcome| matches!(outcome, Outcome::Reported(_))),
            "not_applicable": count(run, |outcome| matches!(outcome, Outcome::NotApplicable(_))),
            "not_run": run.not_run().len(),
        },
        "cases": run.ran.iter().map(case).collect::<serde_json::Result<Vec<_>>>()?,
        "not_run": run.not_run().iter().map(|case| case.path()).collect::<Vec<_>>(),
    });
    serde_json::to_string_pretty(&document)
}

fn target(target: &Target) -> Value {
    json!({
        "address": target.address.to_string(),
        "workload": target.workload,
        "multiplexing": target.multiplexing,
        "connections": target.connections,
        "fcgi_max_conns": target.capacity.max_conns,
        "fcgi_max_reqs": target.capacity.max_reqs,
        "fcgi_mpxs_conns": target.capacity.mpxs_conns,
        "seed": target.seed,
    })
}

fn case(ran: &Ran) -> serde_json::Result<Value> {
    let Ran { case, report, ended_server } = ran;
    let mut value = serde_json::to_value(&report.outcome)?;
    if let Value::Object(fields) = &mut value {
        fields.insert("name".to_owned(), json!(case.name));
        fields.insert("chapter".to_owned(), json!(case.chapter));
        fields.insert("section".to_owned(), json!(case.section));
        fields.insert("level".to_owned(), json!(case.level));
        fields.insert("asks".to_owned(), json!(case.asks));
        fields.insert("seconds".to_owned(), json!(report.elapsed.as_secs_f64()));
        fields.insert("ended_server".to_owned(), json!(ended_server));
        if ran.failure().is_some() {
            fields.insert("transcript".to_owned(), json!(report.transcript));
        }
    }
    Ok(value)
}

fn count(run: &Run, is: impl Fn(&Outcome) -> bool) -> usize {
    run.ran.iter().filter(|ran| is(&ran.report.outcome)).count()
}
