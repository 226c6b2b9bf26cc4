//! The result for a program: one object, whatever came of the run.

use std::collections::BTreeMap;
use std::time::SystemTime;

use fcgi_load::{Capacity, Mode, Options, Protocol, Report, RequestSpec, Until};
use serde::Serialize;

use super::clock::utc;
use super::notes::Notes;

/// What was asked of whom, by what and when, and what came of it.
#[derive(Debug, Serialize)]
pub(crate) struct Document<'a> {
    version: &'static str,
    start: String,
    end: String,
    exit_status: u8,
    /// Why there is no report.
    error: Option<String>,
    address: String,
    protocol: Protocol,
    mode: Mode,
    connections: usize,
    streams: usize,
    rate: Option<f64>,
    requests: Option<u64>,
    duration_s: Option<f64>,
    timeout_s: f64,
    retry_closed: bool,
    request: Request,
    capacity: Option<Capacity>,
    throughput: Option<f64>,
    achieved_rate: Option<f64>,
    achieved_by_offered: Option<f64>,
    generator_load: Option<f64>,
    warnings: &'a [String],
    report: Option<&'a Report>,
}

#[derive(Debug, Serialize)]
struct Request {
    method: String,
    uri: String,
    /// Bytes that are not UTF-8 are replaced. `None` in HTTP, as of all that it does not have.
    params: Option<BTreeMap<String, String>>,
    body_bytes: usize,
    expect: Expect,
}

#[derive(Debug, Serialize)]
struct Expect {
    status: u16,
    body_bytes: Option<usize>,
    app_status: Option<u32>,
    stdout_end: Option<bool>,
}

impl<'a> Document<'a> {
    pub(crate) fn new(
        options: &'a Options,
        until: Until,
        start: SystemTime,
        notes: &'a Notes,
        outcome: Result<&'a Report, String>,
        exit_status: u8,
    ) -> Self {
        let report = outcome.as_ref().ok().copied();
        let (requests, duration_s) = match until {
            Until::Requests(count) => (Some(count), None),
            Until::Duration(duration) => (None, Some(duration.as_secs_f64())),
        };
        Self {
            version: env!("CARGO_PKG_VERSION"),
            start: utc(start),
            end: utc(SystemTime::now()),
            exit_status,
            error: outcome.err(),
            address: options.address.to_string(),
            protocol: options.protocol,
            mode: options.mode,
            connections: options.connections,
            streams: options.streams_per_connection(),
            rate: options.rate,
            requests,
            duration_s,
            timeout_s: options.timeout.as_secs_f64(),
            retry_closed: options.retry_closed,
            // The command line gives one.
            request: Request::of(&options.requests[0].request, options.protocol),
            capacity: notes.capacity,
            throughput: report.map(Report::throughput),
            achieved_rate: report.map(Report::achieved_rate),
            achieved_by_offered: report.and_then(Report::achieved_by_offered),
            generator_load: report.and_then(Report::generator_load),
            warnings: &notes.warnings,
            report,
        }
    }
}

impl Request {
    fn of(request: &RequestSpec, protocol: Protocol) -> Self {
        let is_fastcgi = protocol == Protocol::FastCgi;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let value = |name: &[u8]| text(request.value(name).unwrap_or_default());
        let expect = &request.expect;
        Self {
            method: value(b"REQUEST_METHOD"),
            uri: value(b"REQUEST_URI"),
            params: is_fastcgi
                .then(|| request.params.iter().map(|(name, value)| (text(name), text(value))).collect()),
            body_bytes: request.body.len(),
            expect: Expect {
                status: expect.status,
                body_bytes: expect.body.as_ref().map(Vec::len),
                app_status: is_fastcgi.then_some(expect.app_status),
                stdout_end: is_fastcgi.then_some(expect.stdout_end),
            },
        }
    }
}
