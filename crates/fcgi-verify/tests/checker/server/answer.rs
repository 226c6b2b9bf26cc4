//! What a request is answered: the workload, as far as the checker's cases ask for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::bug::{Bottleneck, Bug, FEW};
use super::{Shared, pairs};

impl Shared {
    /// Answers a request that is complete, once there is a thread for it.
    pub(super) fn answer(&self, id: u16) {
        if !self.has(Bug::FewThreads) && !self.has(Bug::FewThreadsForTheGone) {
            return self.answer_in_turn(id);
        }
        let Bottleneck { answering, answered, .. } = &*self.bottleneck;
        *answered.wait_while(answering.lock().unwrap(), |count| *count == FEW).unwrap() += 1;
        self.answer_in_turn(id);
        *answering.lock().unwrap() -= 1;
        answered.notify_one();
    }

    fn answer_in_turn(&self, id: u16) {
        let (pairs, mut body, aborted) = {
            let requests = self.requests.lock().unwrap();
            let Some(request) = requests.get(&id) else { return };
            let pairs = if self.has(Bug::PairsPerRecord) {
                request.pairs_of_records.clone()
            } else {
                pairs(&request.params, self.has(Bug::LengthsOfOneByte))
            };
            assert!(request.role == 1 || self.has(Bug::EveryRole));
            (pairs, request.body.clone(), Arc::clone(&request.aborted))
        };
        let find = |name: &[u8]| {
            let found = pairs.iter().find(|(known, _)| known == name);
            found.map_or(String::new(), |(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        let length = find(b"CONTENT_LENGTH").parse::<usize>().unwrap_or(0);
        if !self.has(Bug::ContentLengthIgnored) {
            body.truncate(length);
        }
        let mut path = find(b"SCRIPT_NAME") + &find(b"PATH_INFO");
        if path.is_empty() {
            path = find(b"REQUEST_URI").split('?').next().unwrap_or_default().to_owned();
        }
        let query = find(b"QUERY_STRING");
        let number = |name: &str| {
            let found = query.split('&').find_map(|part| part.strip_prefix(name)?.strip_prefix('='));
            found.and_then(|value| value.parse::<u64>().ok()).unwrap_or(0)
        };
        let mut status = 0;
        let text = match &path[..] {
            "/hello" => b"Hello, world\n".to_vec(),
            "/echo" if body.len() < length => return self.finish(id, 400, b"", 0),
            "/echo" => body,
            "/wait" => {
                pause(number("ms"), &aborted);
                format!("waited {} ms\n", number("ms")).into_bytes()
            }
            "/bytes" => {
                const DIGITS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
                let count = number("n") as usize;
                let mut text = DIGITS.repeat(count / DIGITS.len() + 1);
                text.truncate(count);
                text
            }
            "/params" => {
                let mut sorted = pairs.clone();
                sorted.sort();
                sorted.iter().flat_map(|(name, value)| [&name[..], b"=", value, b"\n"].concat()).collect()
            }
            "/cpu" => b"spent\n".to_vec(),
            "/stream" => {
                let mut text = Vec::new();
                for chunk in 0..number("chunks") {
                    pause(number("ms"), &aborted);
                    text.extend(format!("chunk {chunk}\n").into_bytes());
                }
                text
            }
            "/status" => return self.finish(id, number("code") as u16, b"", 0),
            "/exit" => {
                status = number("status") as u32;
                Vec::new()
            }
            _ => return self.finish(id, 404, b"", 0),
        };
        let is_head = find(b"REQUEST_METHOD") == "HEAD" && !self.has(Bug::HeadHasBody);
        self.finish(id, 200, if is_head { b"" } else { &text }, status);
    }

    fn finish(&self, id: u16, status: u16, body: &[u8], app_status: u32) {
        let head = format!("Status: {status} x\r\nContent-Type: text/plain\r\n\r\n");
        for part in [head.as_bytes(), body].concat().chunks(65_528) {
            if !self.send(6, id, part) {
                break;
            }
        }
        if !self.has(Bug::StdoutNotEnded) {
            self.send(6, id, b"");
        }
        if self.has(Bug::StdoutAfterItsEnd) {
            self.send(6, id, b"more");
        }
        self.end(id, app_status, 0);
    }
}

fn pause(ms: u64, aborted: &AtomicBool) {
    let until = Instant::now() + Duration::from_millis(ms);
    while Instant::now() < until && !aborted.load(Ordering::SeqCst) {
        thread::sleep(Duration::from_millis(2).min(until - Instant::now().min(until)));
    }
}
