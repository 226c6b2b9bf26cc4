//! A client beside the load, whose requests are slow: what it does to the others is what is measured.

use std::fmt;
use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use fcgi_load::Address;
use serde::{Deserialize, Serialize};
use socket2::SockRef;

/// How long a web server may leave it without a byte.
const PATIENCE: Duration = Duration::from_secs(10);
/// How soon it notices that it is to end.
const TICK: Duration = Duration::from_millis(20);
/// A client that reads slowly takes so many bytes, and then rests for so long: 6.4 MB/s at most.
const SIP: usize = 64 << 10;
const REST: Duration = Duration::from_millis(10);

/// What the client asks a web server for, one request after the other; written `/wait?ms=50`, or `slowly /bytes?n=16777216` of
/// one that reads the answer slowly. Its requests are not counted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Neighbour {
    uri: String,
    reads_slowly: bool,
}

impl Neighbour {
    /// Starts the client, which runs until it is ended.
    pub(super) fn begin(&self, web_server: &Address) -> Running {
        let stop = Arc::new(AtomicBool::new(false));
        let (neighbour, address, stopped) = (self.clone(), web_server.clone(), Arc::clone(&stop));
        let client = thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                neighbour.ask(&address, &stopped)?;
            }
            Ok(())
        });
        Running { stop, client: Some(client) }
    }

    /// One request on a connection of its own.
    fn ask(&self, address: &Address, stop: &AtomicBool) -> anyhow::Result<()> {
        let Address::Tcp(host) = address else { bail!("a slow neighbour needs a web server on TCP") };
        let mut stream = TcpStream::connect(host).context("the slow neighbour")?;
        if self.reads_slowly {
            // Or the kernel would read for it.
            SockRef::from(&stream).set_recv_buffer_size(SIP)?;
        }
        stream.set_read_timeout(Some(TICK))?;
        let request = format!("GET {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n", self.uri);
        stream.write_all(request.as_bytes())?;
        let (mut buffer, mut begin, mut last) = (vec![0; SIP], Vec::new(), Instant::now());
        while !stop.load(Ordering::Relaxed) {
            match stream.read(&mut buffer) {
                Ok(0) => return is_good(&begin),
                Ok(read) => {
                    last = Instant::now();
                    begin.extend(&buffer[..read.min(GOOD.len().saturating_sub(begin.len()))]);
                    if self.reads_slowly {
                        thread::sleep(REST);
                    }
                }
                Err(error) if is_pause(&error) && last.elapsed() < PATIENCE => {}
                Err(error) => return Err(error).context("the slow neighbour"),
            }
        }
        Ok(())
    }
}

/// How a good answer begins.
const GOOD: &[u8] = b"HTTP/1.1 200";

fn is_good(begin: &[u8]) -> anyhow::Result<()> {
    if begin != GOOD {
        bail!("the slow neighbour was answered {:?}", String::from_utf8_lossy(begin));
    }
    Ok(())
}

/// Nothing has come for a moment.
fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// A client that runs.
pub(super) struct Running {
    stop: Arc<AtomicBool>,
    client: Option<JoinHandle<anyhow::Result<()>>>,
}

impl Running {
    /// Ends it, wherever it is.
    ///
    /// # Errors
    ///
    /// It was not answered rightly.
    pub(super) fn end(mut self) -> anyhow::Result<()> {
        self.stop.store(true, Ordering::Relaxed);
        let client = self.client.take().context("it runs once")?;
        client.join().map_err(|_| anyhow::anyhow!("the slow neighbour panicked"))?
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(client) = self.client.take() {
            // What it would say is said of the load already.
            let _ = client.join();
        }
    }
}

impl fmt::Display for Neighbour {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slowly = if self.reads_slowly { "slowly " } else { "" };
        write!(f, "{slowly}{}", self.uri)
    }
}

impl FromStr for Neighbour {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (uri, reads_slowly) = match text.strip_prefix("slowly ") {
            Some(uri) => (uri, true),
            None => (text, false),
        };
        if !uri.starts_with('/') || uri.contains(|c: char| c.is_whitespace() || c.is_control()) {
            return Err(format!("{text:?} is no neighbour: write a path, or slowly and a path"));
        }
        Ok(Self { uri: uri.to_owned(), reads_slowly })
    }
}

impl TryFrom<String> for Neighbour {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Neighbour> for String {
    fn from(neighbour: Neighbour) -> Self {
        neighbour.to_string()
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    /// A server that gives each client this answer, and then nothing, or closes.
    fn server(answer: &'static [u8], closes: bool) -> Address {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            let mut held = Vec::new();
            while let Ok((mut client, _)) = listener.accept() {
                let _ = client.read(&mut [0; 1000]).and_then(|_| client.write_all(answer));
                if !closes {
                    held.push(client);
                }
            }
        });
        Address::Tcp(address.to_string())
    }

    fn run(text: &str, address: &Address) -> anyhow::Result<()> {
        let running = text.parse::<Neighbour>().unwrap().begin(address);
        thread::sleep(3 * TICK);
        running.end()
    }

    #[test]
    fn it_ends_amid_an_answer_and_says_where_one_was_wrong() {
        assert!(run("/wait?ms=50", &server(b"HTTP/1.1 200 OK\r\n\r\nwai", false)).is_ok());
        assert!(run("slowly /bytes?n=9", &server(b"HTTP/1.1 200 OK\r\n\r\nx", true)).is_ok());
        for answer in [&b"HTTP/1.1 502 Bad Gateway\r\n\r\n"[..], b"HTTP"] {
            let error = run("/wait?ms=50", &server(answer, true)).unwrap_err().to_string();
            assert!(error.contains("was answered"), "{error}");
        }
    }

    #[test]
    fn its_text_reads_back() {
        for text in ["/wait?ms=50", "slowly /bytes?n=16777216"] {
            assert_eq!(text.parse::<Neighbour>().unwrap().to_string(), text);
        }
        for text in ["", "bytes", "slowly", "slowly bytes", "/a b", "/a\r\nHost: x"] {
            assert!(text.parse::<Neighbour>().is_err(), "{text:?}");
        }
    }
}
