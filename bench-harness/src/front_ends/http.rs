//! A small HTTP/1.1 client: a connection for each request.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// How long a read or a write may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a web server answered.
#[derive(Debug)]
pub struct Response {
    /// The status.
    pub status: u16,
    headers: Vec<(String, String)>,
    /// What follows the header, chunks joined.
    pub body: Vec<u8>,
}

impl Response {
    /// A header's value.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &**value)
    }
}

/// One request to `HOST:PORT`, a body with its type, and the response, read to its end.
pub fn request(address: &str, method: &str, uri: &str, body: Option<(&str, &[u8])>) -> io::Result<Response> {
    request_within(address, method, uri, body, PATIENCE)
}

/// The same, where each step may take so long.
pub(crate) fn request_within(
    address: &str,
    method: &str,
    uri: &str,
    body: Option<(&str, &[u8])>,
    patience: Duration,
) -> io::Result<Response> {
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(patience))?;
    let mut head = format!("{method} {uri} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
    if let Some((content_type, body)) = body {
        head += &format!("Content-Type: {content_type}\r\nContent-Length: {}\r\n", body.len());
    }
    stream.write_all((head + "\r\n").as_bytes())?;
    if let Some((_, body)) = body {
        // A refusal may come, and the connection close, before all of it is sent: then that is the answer.
        let _ = stream.write_all(body);
    }
    read_response(BufReader::new(stream))
}

fn read_response(mut stream: impl BufRead) -> io::Result<Response> {
    let status_line = read_line(&mut stream)?;
    let status = status_line.split(' ').nth(1).and_then(|status| status.parse().ok());
    let status = status.ok_or_else(|| malformed(&status_line))?;
    let mut headers = Vec::new();
    loop {
        let line = read_line(&mut stream)?;
        if line.is_empty() {
            break;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| malformed(&line))?;
        headers.push((name.to_owned(), value.trim().to_owned()));
    }
    let mut response = Response { status, headers, body: Vec::new() };
    let length = response.header("Content-Length").and_then(|length| length.parse().ok());
    if response.header("Transfer-Encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")) {
        response.body = read_chunks(&mut stream)?;
    } else if let Some(length) = length {
        response.body = vec![0; length];
        stream.read_exact(&mut response.body)?;
    } else {
        stream.read_to_end(&mut response.body)?;
    }
    Ok(response)
}

fn read_chunks(stream: &mut impl BufRead) -> io::Result<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line = read_line(stream)?;
        let length = u64::from_str_radix(&line, 16).map_err(|_| malformed(&line))?;
        let start = body.len();
        stream.by_ref().take(length).read_to_end(&mut body)?;
        if (body.len() - start) as u64 != length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // The line end after a chunk; after the last one it ends the body.
        read_line(stream)?;
        if length == 0 {
            return Ok(body);
        }
    }
}

fn read_line(stream: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "closed amid a response"));
    }
    Ok(line.trim_end().to_owned())
}

fn malformed(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no HTTP: {line:?}"))
}
