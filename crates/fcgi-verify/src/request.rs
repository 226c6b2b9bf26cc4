//! A request, assembled from literals and sent whole or stream by stream.

use crate::wire::{self, KEEP_CONN, PARAMS, Pair, RESPONDER, STDIN};

/// One request as a web server would send it.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) id: u16,
    role: u16,
    flags: u8,
    params: Vec<Pair>,
    body: Vec<u8>,
}

impl Request {
    /// A GET of `target`, with the parameters that CGI/1.1 asks for.
    pub(crate) fn get(target: &str) -> Self {
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let request = Request { id: 1, role: RESPONDER, flags: 0, params: Vec::new(), body: Vec::new() };
        request
            .param("GATEWAY_INTERFACE", "CGI/1.1")
            .param("SERVER_SOFTWARE", "fcgi-verify")
            .param("SERVER_PROTOCOL", "HTTP/1.1")
            .param("SERVER_NAME", "localhost")
            .param("SERVER_PORT", "80")
            .param("REMOTE_ADDR", "127.0.0.1")
            .param("REQUEST_METHOD", "GET")
            .param("SCRIPT_NAME", path)
            .param("REQUEST_URI", target)
            .param("QUERY_STRING", query)
    }

    pub(crate) fn id(mut self, id: u16) -> Self {
        self.id = id;
        self
    }

    pub(crate) fn role(mut self, role: u16) -> Self {
        self.role = role;
        self
    }

    /// With `FCGI_KEEP_CONN`.
    pub(crate) fn keep(self) -> Self {
        self.flags(KEEP_CONN)
    }

    pub(crate) fn flags(mut self, flags: u8) -> Self {
        self.flags = flags;
        self
    }

    /// Sets a parameter, in place if it is there already.
    pub(crate) fn param(mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) -> Self {
        let (name, value) = (name.as_ref().to_vec(), value.as_ref().to_vec());
        match self.params.iter_mut().find(|(known, _)| *known == name) {
            Some(known) => known.1 = value,
            None => self.params.push((name, value)),
        }
        self
    }

    /// Makes it a POST of this body.
    pub(crate) fn body(self, body: impl AsRef<[u8]>) -> Self {
        let body = body.as_ref().to_vec();
        let request = self
            .param("REQUEST_METHOD", "POST")
            .param("CONTENT_TYPE", "application/octet-stream")
            .param("CONTENT_LENGTH", body.len().to_string());
        Request { body, ..request }
    }

    /// The parameters, in the order in which they are sent.
    pub(crate) fn params(&self) -> &[Pair] {
        &self.params
    }

    /// What the workload's `/params` answers: sorted by name, one line each.
    pub(crate) fn params_as_text(&self) -> Vec<u8> {
        let mut sorted: Vec<_> = self.params.iter().collect();
        sorted.sort();
        sorted.iter().flat_map(|(name, value)| [&name[..], b"=", value, b"\n"].concat()).collect()
    }

    /// The parameters as name-value pairs.
    pub(crate) fn pairs(&self) -> Vec<u8> {
        self.params.iter().flat_map(|(name, value)| wire::pair(name, value)).collect()
    }

    /// The name-value pairs in two parts, cut on the border of a pair. A server that expects whole pairs in a record
    /// is judged in the chapter on pairs; everywhere else it shall not matter.
    pub(crate) fn pairs_in_halves(&self) -> [Vec<u8>; 2] {
        let (first, second) = self.params.split_at(self.params.len() / 2);
        [first, second].map(|half| half.iter().flat_map(|(name, value)| wire::pair(name, value)).collect())
    }

    /// What the STDIN stream carries.
    pub(crate) fn content(&self) -> &[u8] {
        &self.body
    }

    pub(crate) fn begin_bytes(&self) -> Vec<u8> {
        wire::begin_request(self.id, self.role, self.flags)
    }

    /// The whole PARAMS stream.
    pub(crate) fn params_bytes(&self) -> Vec<u8> {
        wire::stream(PARAMS, self.id, &self.pairs(), 65_535)
    }

    /// The whole STDIN stream.
    pub(crate) fn stdin_bytes(&self) -> Vec<u8> {
        wire::stream(STDIN, self.id, &self.body, 32_768)
    }

    /// The whole request.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        [self.begin_bytes(), self.params_bytes(), self.stdin_bytes()].concat()
    }

    /// The whole request with these records as its PARAMS stream.
    pub(crate) fn bytes_with_params(&self, params: &[u8]) -> Vec<u8> {
        [&self.begin_bytes()[..], params, &self.stdin_bytes()].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_begin_params_and_stdin() {
        let request =
            Request { id: 2, role: 1, flags: 0, params: vec![(b"A".into(), b"b".into())], body: b"x".into() };
        assert_eq!(
            request.bytes(),
            [
                &[1, 1, 0, 2, 0, 8, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0][..],
                &[1, 4, 0, 2, 0, 4, 0, 0, 1, 1, b'A', b'b', 1, 4, 0, 2, 0, 0, 0, 0],
                &[1, 5, 0, 2, 0, 1, 0, 0, b'x', 1, 5, 0, 2, 0, 0, 0, 0],
            ]
            .concat()
        );
    }

    #[test]
    fn the_halves_of_the_pairs_are_whole_pairs() {
        let request = Request::get("/a?b");
        let halves = request.pairs_in_halves();
        assert!(halves.iter().all(|half| wire::read_pairs(half).is_ok_and(|pairs| !pairs.is_empty())));
        assert_eq!(halves.concat(), request.pairs());
    }

    #[test]
    fn a_parameter_is_set_once() {
        let request = Request::get("/a?b").param("REQUEST_METHOD", "PUT");
        let methods: Vec<_> = request.params().iter().filter(|(name, _)| name == b"REQUEST_METHOD").collect();
        assert_eq!(methods, [&(b"REQUEST_METHOD".to_vec(), b"PUT".to_vec())]);
    }
}
