//! What one connection may hold, and what the application says of itself.

/// Bounds on what a peer can make one connection hold. Exceeding one costs a request, never the connection.
///
/// They count content. On top of it comes what growing buffers have to spare: at most 2 bytes of memory for one of
/// content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of PARAMS content of one request. Beyond: `Status: 431`.
    pub params_bytes: usize,
    /// Bytes of STDIN content of one request. Beyond: `Status: 413`.
    pub body_bytes: usize,
    /// Bytes of PARAMS and STDIN content of all requests of the connection together, those in the handler's hands
    /// included. Beyond: `Status: 503` for the request that wants more.
    pub connection_bytes: usize,
    /// Requests in flight on the connection. Beyond: `Status: 503` and OVERLOADED, or CANT_MPX_CONN where the
    /// application does not multiplex.
    pub requests: usize,
}

impl Default for Limits {
    /// 64 KiB of params (nginx sends at most 4 + 32 KiB of headers by default), 8 MiB of body (PHP's
    /// `post_max_size`), 32 MiB a connection, 128 requests in flight (HAProxy's configurations use 50).
    fn default() -> Self {
        Self { params_bytes: 64 << 10, body_bytes: 8 << 20, connection_bytes: 32 << 20, requests: 128 }
    }
}

/// The answers to FCGI_GET_VALUES (spec 4.1), for the whole application: every process behind one listener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Values {
    /// FCGI_MAX_CONNS: connections held at a time.
    pub connections: usize,
    /// FCGI_MAX_REQS: requests in flight at a time.
    pub requests: usize,
    /// FCGI_MPXS_CONNS: whether one connection may carry several requests at a time.
    pub multiplexes: bool,
}
