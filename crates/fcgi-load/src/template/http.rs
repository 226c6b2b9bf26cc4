//! The head of a request in HTTP/1.1.

use crate::options::OptionsError;
use crate::request::RequestSpec;

const USER_AGENT: &str = concat!("fcgi-load/", env!("CARGO_PKG_VERSION"));

/// Fields by which a sender says where its message ends and what becomes of the connection: they follow from the body and
/// from the mode.
const FRAMING: [&str; 8] = [
    "connection",
    "content-length",
    "content-type",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// The head of this request, up to and with its empty line.
pub(crate) fn head(request: &RequestSpec, keep: bool) -> Result<Vec<u8>, OptionsError> {
    let value = |name: &str| request.value(name.as_bytes()).filter(|value| !value.is_empty());
    let method =
        value("REQUEST_METHOD").filter(|method| is_token(method)).ok_or_else(|| bad("REQUEST_METHOD"))?;
    if method == b"CONNECT" {
        // What follows it is a tunnel, and no reply.
        return Err(bad("REQUEST_METHOD"));
    }
    let is_target = |target: &&[u8]| !target.iter().any(|&byte| byte <= b' ' || byte == 0x7f);
    let target = value("REQUEST_URI").filter(is_target).ok_or_else(|| bad("REQUEST_URI"))?;

    let mut head = Vec::new();
    for piece in [method, b" ", target, b" HTTP/1.1\r\n"] {
        head.extend_from_slice(piece);
    }
    field(&mut head, "HTTP_HOST", b"Host", value("HTTP_HOST").unwrap_or(b"localhost"))?;
    field(&mut head, "", b"User-Agent", USER_AGENT.as_bytes())?;
    for (name, value) in &request.params {
        let Some(rest) = name.strip_prefix(b"HTTP_") else { continue };
        if matches!(rest, b"HOST" | b"USER_AGENT") {
            continue;
        }
        let parameter = String::from_utf8_lossy(name);
        let name = field_name(rest);
        if FRAMING.iter().any(|field| name.eq_ignore_ascii_case(field.as_bytes())) {
            return Err(bad(&parameter));
        }
        field(&mut head, &parameter, &name, value)?;
    }
    // RFC 9110, 8.6: where content is expected, none is said to be none.
    if !request.body.is_empty() || matches!(method, b"POST" | b"PUT" | b"PATCH") {
        if let Some(kind) = value("CONTENT_TYPE") {
            field(&mut head, "CONTENT_TYPE", b"Content-Type", kind)?;
        }
        field(&mut head, "", b"Content-Length", request.body.len().to_string().as_bytes())?;
    }
    if !keep {
        field(&mut head, "", b"Connection", b"close")?;
    }
    head.extend_from_slice(b"\r\n");
    Ok(head)
}

/// Appends a field that is made of this parameter.
fn field(head: &mut Vec<u8>, parameter: &str, name: &[u8], value: &[u8]) -> Result<(), OptionsError> {
    // RFC 9110, 5.5: visible bytes, spaces and tabs.
    let is_value = value.iter().all(|&byte| byte == b'\t' || (byte >= b' ' && byte != 0x7f));
    if !is_token(name) || !is_value {
        return Err(bad(parameter));
    }
    for piece in [name, b": ", value, b"\r\n"] {
        head.extend_from_slice(piece);
    }
    Ok(())
}

/// RFC 3875, 4.1.18, backwards: `ACCEPT_LANGUAGE` stands for `Accept-Language`.
fn field_name(meta: &[u8]) -> Vec<u8> {
    let mut begins = true;
    let letter = |&byte: &u8| {
        let letter = match byte {
            b'_' => b'-',
            _ if begins => byte.to_ascii_uppercase(),
            _ => byte.to_ascii_lowercase(),
        };
        begins = byte == b'_';
        letter
    };
    meta.iter().map(letter).collect()
}

/// RFC 9110, 5.6.2.
fn is_token(text: &[u8]) -> bool {
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(byte);
    !text.is_empty() && text.iter().all(is_part)
}

fn bad(parameter: &str) -> OptionsError {
    OptionsError::HttpParameter(parameter.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Expect;

    fn text(request: &RequestSpec, keep: bool) -> String {
        String::from_utf8(head(request, keep).unwrap()).unwrap()
    }

    #[test]
    fn a_get_is_these_lines() {
        let expected = format!(
            "GET /hello?a=b HTTP/1.1\r\n\
             Host: localhost\r\n\
             User-Agent: fcgi-load/{}\r\n\
             Accept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n\
             Accept-Language: en\r\n",
            env!("CARGO_PKG_VERSION")
        );
        let request = RequestSpec::get("/hello?a=b").param("HTTP_ACCEPT_LANGUAGE", "en");
        assert_eq!(text(&request, true), format!("{expected}\r\n"));
        assert_eq!(text(&request, false), format!("{expected}Connection: close\r\n\r\n"));
    }

    #[test]
    fn content_is_said_to_be_of_its_type_and_length() {
        let request = RequestSpec::post("/echo", "12345").param("CONTENT_LENGTH", "7");
        let end = "Content-Type: application/octet-stream\r\nContent-Length: 5\r\n\r\n";
        assert!(text(&request, true).ends_with(end), "{}", text(&request, true));
        let request = RequestSpec::post("/echo", "").param("CONTENT_TYPE", "text/plain");
        let end = "Content-Type: text/plain\r\nContent-Length: 0\r\n\r\n";
        assert!(text(&request, true).ends_with(end), "{}", text(&request, true));
        assert!(!text(&RequestSpec::get("/"), true).contains("Content-"));
    }

    #[test]
    fn there_is_one_host_whatever_it_is() {
        let request = RequestSpec::get("/").param("HTTP_HOST", "example.org:8080");
        assert_eq!(text(&request, true).matches("Host: ").count(), 1);
        assert!(text(&request, true).contains("\r\nHost: example.org:8080\r\n"));
        let pairs = [("REQUEST_METHOD", "GET"), ("REQUEST_URI", "*")];
        let params = pairs.map(|(name, value)| (name.into(), value.into())).into();
        let request = RequestSpec { params, body: Vec::new(), expect: Expect::default() };
        assert!(text(&request, true).starts_with("GET * HTTP/1.1\r\nHost: localhost\r\n"));
    }

    #[test]
    fn what_would_be_another_request_is_refused_by_the_name_of_its_parameter() {
        for (name, value) in [
            ("REQUEST_METHOD", ""),
            ("REQUEST_METHOD", "GE T"),
            ("REQUEST_METHOD", "CONNECT"),
            ("REQUEST_URI", ""),
            ("REQUEST_URI", "/a b"),
            ("REQUEST_URI", "/\r\nX: y"),
            ("HTTP_HOST", "a\r\nX: y"),
            ("HTTP_X", "a\nb"),
            ("HTTP_X", "\0"),
            ("HTTP_X Y", "z"),
            ("HTTP_", "z"),
            ("HTTP_CONNECTION", "close"),
            ("HTTP_CONTENT_LENGTH", "5"),
            ("HTTP_TRANSFER_ENCODING", "chunked"),
            ("HTTP_UPGRADE", "h2c"),
        ] {
            let request = RequestSpec::get("/").param(name, value);
            assert_eq!(head(&request, true), Err(bad(name)), "{name}={value}");
        }
        let request = RequestSpec::post("/", "x").param("CONTENT_TYPE", "a\r\nb");
        assert_eq!(head(&request, true), Err(bad("CONTENT_TYPE")));
    }
}
