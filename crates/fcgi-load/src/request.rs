//! What is asked of the server, and what it must answer.

/// One request, and what its reply must be.
///
/// ```
/// use fcgi_load::RequestSpec;
///
/// let request = RequestSpec::get("/hello?name=x").param("REMOTE_USER", "alice").expect_body("Hello\n");
/// assert_eq!(request.value(b"QUERY_STRING"), Some(&b"name=x"[..]));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestSpec {
    /// The name-value pairs sent as `FCGI_PARAMS`, in this order. [`Protocol::Http`](crate::Protocol::Http) says what
    /// becomes of them there.
    pub params: Vec<(Vec<u8>, Vec<u8>)>,
    /// The bytes sent as `FCGI_STDIN`, or as the content of an HTTP request.
    pub body: Vec<u8>,
    /// What the reply is checked against.
    pub expect: Expect,
}

/// What a good reply is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expect {
    /// The number in the CGI header `Status`, where a reply without that header counts as 200; or the status code of the
    /// HTTP response.
    pub status: u16,
    /// All that follows the CGI headers, or the content of the HTTP response without its chunks' framing, byte for byte.
    /// `None`: anything is good.
    pub body: Option<Vec<u8>>,
    /// The `appStatus` of `FCGI_END_REQUEST`. HTTP has no such thing, and nothing is compared there.
    pub app_status: u32,
    /// Whether the output must end with an empty `FCGI_STDOUT` record before `FCGI_END_REQUEST`, as section 3.3 has
    /// it. php-fpm, for one, leaves it out, and web servers put up with it. Without meaning in HTTP.
    pub stdout_end: bool,
}

impl Default for Expect {
    fn default() -> Self {
        Self { status: 200, body: None, app_status: 0, stdout_end: true }
    }
}

impl RequestSpec {
    /// A GET with 20 parameters: those that nginx's stock `fastcgi_params` sends, and three of a browser's headers.
    pub fn get(uri: &str) -> Self {
        Self::with_method("GET", uri, Vec::new())
    }

    /// A POST of `body` with the same parameters.
    pub fn post(uri: &str, body: impl Into<Vec<u8>>) -> Self {
        Self::with_method("POST", uri, body.into())
    }

    /// A request with any method. `CONTENT_TYPE` and `CONTENT_LENGTH` are empty where there is no body, as nginx
    /// sends them.
    pub fn with_method(method: &str, uri: &str, body: Vec<u8>) -> Self {
        let (path, query) = uri.split_once('?').unwrap_or((uri, ""));
        let (content_type, content_length) = match body.len() {
            0 => ("", String::new()),
            length => ("application/octet-stream", length.to_string()),
        };
        let pairs = [
            ("QUERY_STRING", query),
            ("REQUEST_METHOD", method),
            ("CONTENT_TYPE", content_type),
            ("CONTENT_LENGTH", &content_length),
            ("SCRIPT_NAME", path),
            ("REQUEST_URI", uri),
            ("DOCUMENT_URI", path),
            ("DOCUMENT_ROOT", "/usr/share/nginx/html"),
            ("SERVER_PROTOCOL", "HTTP/1.1"),
            ("REQUEST_SCHEME", "http"),
            ("GATEWAY_INTERFACE", "CGI/1.1"),
            ("SERVER_SOFTWARE", "nginx/1.22.1"),
            ("REMOTE_ADDR", "127.0.0.1"),
            ("REMOTE_PORT", "49152"),
            ("SERVER_ADDR", "127.0.0.1"),
            ("SERVER_PORT", "80"),
            ("SERVER_NAME", "localhost"),
            ("HTTP_HOST", "localhost"),
            ("HTTP_USER_AGENT", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
            ("HTTP_ACCEPT", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ];
        Self {
            params: pairs.map(|(name, value)| (name.into(), value.into())).into(),
            body,
            expect: Expect::default(),
        }
    }

    /// Sets a parameter: in place where the name is there already, else at the end.
    #[must_use]
    pub fn param(mut self, name: impl Into<Vec<u8>>, value: impl Into<Vec<u8>>) -> Self {
        let (name, value) = (name.into(), value.into());
        match self.params.iter_mut().find(|(known, _)| *known == name) {
            Some(pair) => pair.1 = value,
            None => self.params.push((name, value)),
        }
        self
    }

    /// Expects exactly this body.
    #[must_use]
    pub fn expect_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.expect.body = Some(body.into());
        self
    }

    /// Expects this CGI or HTTP status.
    #[must_use]
    pub fn expect_status(mut self, status: u16) -> Self {
        self.expect.status = status;
        self
    }

    /// Expects this `appStatus` (FastCGI only).
    #[must_use]
    pub fn expect_app_status(mut self, app_status: u32) -> Self {
        self.expect.app_status = app_status;
        self
    }

    /// The value of a parameter.
    pub fn value(&self, name: &[u8]) -> Option<&[u8]> {
        self.params.iter().find(|(known, _)| known == name).map(|(_, value)| &value[..])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_path_and_the_query_go_where_a_web_server_puts_them() {
        let request = RequestSpec::get("/cpu?us=5&x=?");
        assert_eq!(request.params.len(), 20);
        assert_eq!(request.value(b"SCRIPT_NAME"), Some(&b"/cpu"[..]));
        assert_eq!(request.value(b"DOCUMENT_URI"), Some(&b"/cpu"[..]));
        assert_eq!(request.value(b"QUERY_STRING"), Some(&b"us=5&x=?"[..]));
        assert_eq!(request.value(b"REQUEST_URI"), Some(&b"/cpu?us=5&x=?"[..]));
        assert_eq!(request.value(b"CONTENT_LENGTH"), Some(&b""[..]));
    }

    #[test]
    fn a_post_states_the_length_of_its_body() {
        let request = RequestSpec::post("/echo", "12345");
        assert_eq!(request.value(b"CONTENT_LENGTH"), Some(&b"5"[..]));
        assert_eq!(request.value(b"REQUEST_METHOD"), Some(&b"POST"[..]));
    }

    #[test]
    fn a_parameter_that_is_set_twice_is_sent_once() {
        let request = RequestSpec::get("/").param("SERVER_NAME", "other").param("X", "1").param("X", "2");
        assert_eq!(request.value(b"SERVER_NAME"), Some(&b"other"[..]));
        assert_eq!(request.params.iter().filter(|(name, _)| name == b"X").count(), 1);
        assert_eq!(request.value(b"X"), Some(&b"2"[..]));
    }
}
