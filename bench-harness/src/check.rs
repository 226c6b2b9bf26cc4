//! Whether a pool answers correctly, asked before it is measured: a fast wrong answer must not win.

use std::io;

use fcgi_load::Address;
use thiserror::Error;

use crate::client::{Client, Reply, Request};
use crate::workload::{self, Case};

/// What a pool answered wrongly.
#[derive(Debug, Error)]
#[error("{request}: {fault}")]
pub struct CheckError {
    /// The request that found it.
    pub request: String,
    /// What was expected and what came.
    pub fault: String,
}

/// Asks for every path of the workload: all on one kept connection, then each on one that the worker is to close.
pub fn check(address: &Address) -> Result<(), CheckError> {
    let cases = workload::cases();
    let mut kept = Client::connect(address).map_err(|error| failed("connect", &error))?;
    for case in &cases {
        let name = format!("{} {} on a kept connection", case.method, case.uri);
        let reply = kept.request(&request(case)).map_err(|error| failed(&name, &error))?;
        judge(&name, case, &reply)?;
    }
    drop(kept);
    for case in &cases {
        let name = format!("{} {} with FCGI_KEEP_CONN = 0", case.method, case.uri);
        let answer = || {
            let mut client = Client::connect(address)?;
            let reply = client.request(&request(case).closing())?;
            Ok((reply, client.record()?))
        };
        let (reply, rest) = answer().map_err(|error: io::Error| failed(&name, &error))?;
        judge(&name, case, &reply)?;
        if rest.is_some() {
            return Err(CheckError { request: name, fault: "a close expected, a record came".to_owned() });
        }
    }
    Ok(())
}

/// The request of a case.
pub fn request(case: &Case) -> Request {
    match &case.body {
        Some((content_type, body)) => Request::post(case.uri, content_type, body.clone()),
        None => Request::new(case.method, case.uri),
    }
}

/// Compares a reply to what the case expects.
pub fn judge(name: &str, case: &Case, reply: &Reply) -> Result<(), CheckError> {
    let answer = &case.answer;
    let fault = answer.fault(reply.status, reply.header("Content-Type"), &reply.body).or_else(|| {
        let expected = (answer.app_status, 0);
        let came = (reply.app_status, reply.protocol_status);
        (came != expected).then(|| {
            format!("application and protocol status {expected:?} expected in END_REQUEST, {came:?} came")
        })
    });
    match fault {
        Some(fault) => Err(CheckError { request: name.to_owned(), fault }),
        None => Ok(()),
    }
}

fn failed(request: &str, error: &io::Error) -> CheckError {
    CheckError { request: request.to_owned(), fault: error.to_string() }
}
