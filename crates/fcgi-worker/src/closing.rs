//! The end of a listener of ours: whoever connects from now on is refused at once, and whoever has connected is served.
//!
//! A unix socket has no path any more, and so no newcomers (an abstract name goes with the last worker that accepts). A TCP
//! socket is ended for all processes that have it by shutdown(2), which resets those that wait. So it is made deaf to new
//! ones first, until none waits. One that comes in between tries again after a second, as TCP does, and is refused.
//!
//! All this before the workers are asked to finish: they stop accepting when nobody waits.

use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockFilter};

use crate::listener::Listener;

/// How long a peer may be between its first packet and its last, or between a path and its socket.
const CONNECTING: Duration = Duration::from_millis(10);

/// A listener that is to accept nobody else. Dropped, it is closed here; workers have it for those that wait.
pub(crate) struct Closing(Listener);

impl Closing {
    /// Begins. `None` where there is nothing left to do. A socket that was inherited is its spawner's, who may give it to the
    /// next process: it is only closed.
    pub(crate) fn begin(mut listener: Listener) -> Option<Self> {
        if !listener.is_ours() {
            return None;
        }
        // Who connects from now on is told at once.
        listener.unpublish();
        let is_tcp = listener.socket().local_addr().is_ok_and(|address| address.domain() != Domain::UNIX);
        if is_tcp {
            // Where it fails, a connection that comes in this moment is reset.
            let _ = listener.socket().attach_filter(&no_new_connections());
        }
        thread::sleep(CONNECTING);
        is_tcp.then_some(Self(listener))
    }

    /// Ends it, if none waits that this would reset; to be called until it returns `None`.
    pub(crate) fn go_on(self) -> Option<Self> {
        let mut listener = [PollFd::new(self.0.socket(), PollFlags::IN)];
        if poll(&mut listener, Some(&Timespec::default())).is_ok_and(|ready| ready > 0) {
            return Some(self);
        }
        // It fails where that was done before.
        let _ = self.0.socket().shutdown(Shutdown::Read);
        None
    }
}

/// Drops what asks for a connection (SYN without ACK, RFC 9293 3.5). A filter sees the TCP header, whose flags are byte 13.
fn no_new_connections() -> [SockFilter; 5] {
    let instruction = |code: u32, jt, jf, k| SockFilter::new(code as u16, jt, jf, k);
    [
        instruction(libc::BPF_LD | libc::BPF_B | libc::BPF_ABS, 0, 0, 13),
        instruction(libc::BPF_ALU | libc::BPF_AND | libc::BPF_K, 0, 0, 0x12),
        instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, 1, 0x02),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, 0),
        instruction(libc::BPF_RET | libc::BPF_K, 0, 0, u32::MAX),
    ]
}
