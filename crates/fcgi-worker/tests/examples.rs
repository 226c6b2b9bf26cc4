//! The examples do what their first lines say.

use std::env;
use std::io::{Read, Write};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixStream};
use std::process::{self, Child, Command};
use std::thread;
use std::time::Duration;

/// An example that runs, on an abstract name: nothing is left behind.
struct Server {
    process: Child,
    name: String,
}

/// What came on STDOUT and on STDERR.
#[derive(Debug, Default)]
struct Answer {
    stdout: String,
    stderr: String,
}

impl Server {
    fn start(example: &str, args: &[&str]) -> Self {
        let name = format!("fcgi-worker-{example}-{}", process::id());
        // Cargo builds examples for `cargo test`, but not where one test program alone is asked for.
        let built = Command::new(env!("CARGO")).args(["build", "--quiet", "--example", example]).status();
        assert!(built.unwrap().success());
        let program = env::current_exe().unwrap().parent().unwrap().with_file_name("examples").join(example);
        let process = Command::new(program)
            .arg(format!("--listen=unix:@{name}"))
            .arg("--processes=1")
            .args(args)
            .spawn()
            .unwrap();
        Self { process, name }
    }

    fn connect(&self) -> UnixStream {
        let address = SocketAddr::from_abstract_name(&self.name).unwrap();
        for _ in 0..1_000 {
            if let Ok(stream) = UnixStream::connect_addr(&address) {
                return stream;
            }
            thread::sleep(Duration::from_millis(10));
        }
        panic!("nobody listens");
    }

    /// A request that ends its connection (spec 5.1: no FCGI_KEEP_CONN).
    fn ask(&self, method: &str, path: &str, body: &str) -> Answer {
        let mut params = Vec::new();
        let length = body.len().to_string();
        for (name, value) in [("REQUEST_METHOD", method), ("SCRIPT_NAME", path), ("CONTENT_LENGTH", &length)]
        {
            params.extend([name.len() as u8, value.len() as u8]);
            params.extend([name.as_bytes(), value.as_bytes()].concat());
        }
        let mut request = vec![1, 1, 0, 1, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        // An empty record ends a stream (spec 3.3): of an empty body that is all there is.
        let body = Some((5, body.as_bytes())).filter(|(_, body)| !body.is_empty());
        for (kind, content) in [(4, &params[..]), (4, b"")].into_iter().chain(body).chain([(5, &b""[..])]) {
            request.extend([1, kind, 0, 1, 0, content.len() as u8, 0, 0]);
            request.extend(content);
        }
        let mut connection = self.connect();
        connection.write_all(&request).unwrap();
        let mut reply = Vec::new();
        connection.read_to_end(&mut reply).unwrap();
        read_records(&reply)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.process.id().to_string()).status();
        let _ = self.process.wait();
    }
}

fn read_records(mut reply: &[u8]) -> Answer {
    let mut answer = Answer::default();
    while let [1, kind, _, _, high, low, padding, _, rest @ ..] = reply {
        let (content, after) = rest.split_at(usize::from(u16::from_be_bytes([*high, *low])));
        let text = String::from_utf8_lossy(content);
        match kind {
            6 => answer.stdout += &text,
            7 => answer.stderr += &text,
            _ => {}
        }
        reply = &after[usize::from(*padding)..];
    }
    answer
}

#[test]
fn hello_says_hello() {
    let server = Server::start("hello", &[]);
    assert_eq!(server.ask("GET", "/", "").stdout, "Content-Type: text/plain\r\n\r\nHello, world\n");
}

#[test]
fn the_guest_book_reads_a_form_keeps_state_and_answers_errors() {
    let server = Server::start("guest_book", &["--title", "A & B"]);
    let page = server.ask("GET", "/", "").stdout;
    assert!(page.contains("<h1>A &amp; B</h1>") && page.contains("0 have signed."), "{page}");
    let signed = server.ask("POST", "/", "name=J%C3%B6rg+%3Cb%3E&other=1").stdout;
    assert!(signed.starts_with("Status: 303 "), "{signed}");
    let page = server.ask("GET", "/", "").stdout;
    assert!(page.contains("1 have signed, the last of them Jörg &lt;b>."), "{page}");
    assert!(server.ask("POST", "/", "name=+").stdout.starts_with("Status: 400 "));
    assert!(server.ask("GET", "/nowhere", "").stdout.starts_with("Status: 404 "));
    assert!(server.ask("DELETE", "/", "").stdout.starts_with("Status: 405 "));
    let broken = server.ask("GET", "/broken", "");
    assert!(broken.stdout.starts_with("Status: 500 "), "{broken:?}");
    assert_eq!(broken.stderr, "the title is no number: invalid digit found in string\n");
    // It goes on, with its state.
    assert!(server.ask("GET", "/", "").stdout.contains("1 have signed"));
}
