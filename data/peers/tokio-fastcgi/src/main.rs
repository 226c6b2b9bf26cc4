//! tokio-fastcgi, as its documentation shows it: a task for each connection, its requests one after the other.

use std::io::{self, Read};
use std::os::fd::FromRawFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio_fastcgi::{Request, RequestResult, Requests};

fn main() -> io::Result<()> {
    let workers = std::env::var("PEER_WORKERS").ok().and_then(|workers| workers.parse().ok());
    let workers = workers.unwrap_or_else(|| thread::available_parallelism().map_or(1, usize::from));
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(workers).enable_all().build()?;
    runtime.block_on(serve())
}

/// Serves the socket on fd 0, whichever kind it is.
async fn serve() -> io::Result<()> {
    // SAFETY: the spawner gives a listening socket on fd 0, and nothing else here uses it.
    let listener = unsafe { std::os::unix::net::UnixListener::from_raw_fd(0) };
    listener.set_nonblocking(true)?;
    if listener.local_addr().is_ok() {
        let listener = UnixListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(drive_unix(stream));
        }
    }
    let listener = TcpListener::from_std(std::os::fd::OwnedFd::from(listener).into())?;
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(drive_tcp(stream));
    }
}

macro_rules! drive {
    ($name:ident, $stream:ty) => {
        async fn $name(stream: $stream) {
            let mut requests = Requests::from_split_socket(stream.into_split(), 255, 1);
            while let Ok(Some(request)) = requests.next().await {
                let _ = request.process(answer).await;
            }
        }
    };
}

drive!(drive_unix, UnixStream);
drive!(drive_tcp, TcpStream);

async fn answer<W: tokio::io::AsyncWrite + Unpin>(request: Arc<Request<W>>) -> RequestResult {
    let mut stdout = request.get_stdout();
    let written = match request.get_str_param("script_name") {
        Some("/hello") => {
            let hello = b"Content-Type: text/plain\r\nContent-Length: 13\r\n\r\nHello, world\n";
            stdout.write(hello).await
        }
        Some("/echo") => {
            let mut reply = b"Content-Type: application/octet-stream\r\n\r\n".to_vec();
            // The body is in memory: the request was not handed over before it had all come.
            let _ = request.get_stdin().read_to_end(&mut reply);
            stdout.write(&reply).await
        }
        Some("/wait") => {
            let ms = milliseconds(request.get_str_param("query_string"));
            tokio::time::sleep(Duration::from_millis(ms)).await;
            let waited = format!("Content-Type: text/plain\r\n\r\nwaited {ms} ms\n");
            stdout.write(waited.as_bytes()).await
        }
        _ => stdout.write(b"Status: 404 Not Found\r\nContent-Type: text/plain\r\n\r\nnot found\n").await,
    };
    // A peer that has gone is no concern of the application's.
    let _ = written;
    RequestResult::Complete(0)
}

/// What the query says, a second at most; 0 where it says nothing.
fn milliseconds(query: Option<&str>) -> u64 {
    let said = query.and_then(|query| query.strip_prefix("ms=")?.parse().ok());
    said.unwrap_or(0_u64).min(1000)
}
