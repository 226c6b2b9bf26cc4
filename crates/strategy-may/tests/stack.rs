//! A coroutine's stack holds what a peer can ask for. Were it to overflow, the worker would be killed, and the
//! connection closed without an answer. In a debug build frames are larger than in any other.

use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

const PARAMS: usize = 1 << 20;
const BODY: usize = 16 << 20;

struct Worker {
    process: Child,
    path: String,
}

impl Worker {
    fn start() -> Self {
        // A name without a file: nothing is left behind.
        let path = format!("stack-of-may-{}", std::process::id());
        let process = Command::new(env!("CARGO_BIN_EXE_strategy-may"))
            .arg(format!("--listen=unix:@{path}"))
            .args(["--processes=1", "--max-params=1048576", "--max-body=16777216", "--max-held=33554432"])
            .spawn()
            .unwrap();
        Self { process, path }
    }

    fn connect(&self) -> UnixStream {
        let address = SocketAddr::from_abstract_name(&self.path).unwrap();
        for _ in 0..1_000 {
            if let Ok(stream) = UnixStream::connect_addr(&address) {
                return stream;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("nobody listens");
    }

    /// Sends a request that ends its connection, and returns all that comes on STDOUT.
    fn answer(&self, uri: &str, params: &[u8], body: &[u8]) -> Vec<u8> {
        let mut request = vec![1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        let path =
            [b"\x0b", &[u8::try_from(uri.len()).unwrap()][..], b"REQUEST_URI", uri.as_bytes()].concat();
        let length = body.len().to_string();
        let length =
            [b"\x0e", &[u8::try_from(length.len()).unwrap()][..], b"CONTENT_LENGTH", length.as_bytes()]
                .concat();
        for (kind, stream) in [(4, [&path, &length, params].concat()), (5, body.to_vec())] {
            for content in stream.chunks(65_535).chain([&[][..]]) {
                request.extend([1, kind, 0, 1]);
                request.extend(u16::try_from(content.len()).unwrap().to_be_bytes());
                request.extend([0, 0]);
                request.extend(content);
            }
        }
        let mut stream = self.connect();
        let mut reading = stream.try_clone().unwrap();
        let reader = thread::spawn(move || {
            let mut bytes = Vec::new();
            reading.read_to_end(&mut bytes).map(|_| bytes)
        });
        stream.write_all(&request).unwrap();
        let records = reader.join().unwrap().unwrap();
        let (mut rest, mut stdout) = (&records[..], Vec::new());
        while let [1, kind, _, _, high, low, padding, _, after @ ..] = rest {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            if *kind == 6 {
                stdout.extend_from_slice(&after[..length]);
            }
            rest = &after[length + usize::from(*padding)..];
        }
        stdout
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.process), Signal::TERM);
        let _ = self.process.wait();
    }
}

#[test]
fn the_largest_params_body_and_answer_fit_on_a_coroutines_stack() {
    let worker = Worker::start();
    // As many as there can be, in an order that has to be sorted.
    let pair = |number: usize| {
        let name = number.wrapping_mul(40_503) % 100_000;
        format!("\x05\x04{name:05}{:04}", number % 10_000).into_bytes()
    };
    let params: Vec<u8> = (0..(PARAMS - 100) / 11).flat_map(pair).collect();
    let listed = worker.answer("/params", &params, b"");
    assert!(listed.len() > params.len(), "{} bytes", listed.len());

    let body = vec![b'x'; BODY];
    assert!(worker.answer("/echo", b"", &body).ends_with(&body));
    let bytes = worker.answer("/bytes?n=100000000", b"", b"");
    assert!(bytes.len() > 100_000_000, "{} bytes", bytes.len());
    let refused = |stdout: &[u8], status: &str| stdout.starts_with(format!("Status: {status}").as_bytes());
    assert!(refused(&worker.answer("/params", &[&params[..], &params].concat(), b""), "431"));
    assert!(refused(&worker.answer("/echo", b"", &[&body[..], b"x"].concat()), "413"));
    assert!(worker.answer("/stream?chunks=1000", b"", b"").ends_with(b"chunk 999\n"));
}
