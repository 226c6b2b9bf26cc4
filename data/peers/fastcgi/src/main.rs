//! The fastcgi crate: a thread for each connection, its requests one after the other.

use std::io::{Read, Write};
use std::thread;
use std::time::Duration;

fn main() {
    // It serves the socket on fd 0.
    fastcgi::run(|mut request| {
        // A peer that has gone is no concern of the application's.
        let _ = match request.param("SCRIPT_NAME").as_deref() {
            Some("/hello") => request
                .stdout()
                .write_all(b"Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n"),
            Some("/echo") => {
                let mut reply = b"Content-Type: application/octet-stream\r\n\r\n".to_vec();
                let _ = request.stdin().read_to_end(&mut reply);
                request.stdout().write_all(&reply)
            }
            Some("/wait") => {
                let ms = milliseconds(request.param("QUERY_STRING").as_deref());
                thread::sleep(Duration::from_millis(ms));
                write!(request.stdout(), "Content-Type: text/plain\r\n\r\nwaited {ms} ms\n")
            }
            _ => request
                .stdout()
                .write_all(b"Status: 404 Not Found\r\nContent-Type: text/plain\r\n\r\nnot found\n"),
        };
    });
}

/// What the query says, a second at most; 0 where it says nothing.
fn milliseconds(query: Option<&str>) -> u64 {
    let said = query.and_then(|query| query.strip_prefix("ms=")?.parse().ok());
    said.unwrap_or(0_u64).min(1000)
}
