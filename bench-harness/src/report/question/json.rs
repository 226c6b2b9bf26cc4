//! The verdicts as JSON.

use std::collections::BTreeMap;

use serde::Serialize;

use super::Findings;
use super::answer;
use crate::question::About;
use crate::report::statistics::Estimate;

#[derive(Serialize)]
struct Answer<'a> {
    date: &'a str,
    claims_sha256: &'a str,
    is_whole: bool,
    answer: Vec<String>,
    claims: Vec<Claim<'a>>,
}

#[derive(Serialize)]
struct Claim<'a> {
    number: usize,
    says: &'a str,
    quote: Option<&'a str>,
    /// Of flup, and of the models of today.
    verdicts: BTreeMap<&'static str, &'static str>,
    tests: Vec<Test<'a>>,
}

#[derive(Serialize)]
struct Test<'a> {
    says: &'a str,
    decides: Option<&'static str>,
    verdict: &'static str,
    claimed: String,
    /// A ratio.
    effect: Option<Estimate>,
    /// Of a number of processes that was to be best: the best other one.
    best_other: Option<usize>,
}

pub(super) fn of(findings: &Findings<'_>) -> serde_json::Result<String> {
    let claims = findings.claims.iter().map(|judged| Claim {
        number: judged.claim.number,
        says: &judged.claim.says,
        quote: judged.claim.quote.as_deref(),
        verdicts: judged.verdicts.iter().map(|(about, of)| (about.name(), answer::verdict(*of))).collect(),
        tests: judged
            .outcomes
            .iter()
            .map(|outcome| Test {
                says: &outcome.test.says,
                decides: outcome.test.decides.map(About::name),
                verdict: answer::verdict(outcome.verdict),
                claimed: answer::claimed(outcome.test),
                effect: outcome.effect.map(|effect| effect.ratio),
                best_other: outcome.effect.and_then(|effect| effect.at),
            })
            .collect(),
    });
    let answer = Answer {
        date: &findings.record.date,
        claims_sha256: &findings.record.claims,
        is_whole: findings.record.is_whole,
        answer: findings.answer(),
        claims: claims.collect(),
    };
    serde_json::to_string_pretty(&answer).map(|json| json + "\n")
}
