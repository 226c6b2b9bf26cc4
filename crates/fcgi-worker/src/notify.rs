//! Tells a service manager how far this process is: systemd's `Type=notify` (sd_notify(3)).

use std::env;
use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// Sends assignments such as `READY=1`, one a line. Nothing is said where nobody asked (NOTIFY_SOCKET), and nothing
/// depends on it: whoever does not listen is not waited for.
pub(crate) fn notify(state: &str) {
    if let Some(address) = env::var_os("NOTIFY_SOCKET") {
        let _ = send(&address, state);
    }
}

/// READY=1 comes after it, once the reload is over. The time is how systemd tells it from one before.
pub(crate) fn reloading() {
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let microseconds = now.tv_sec * 1_000_000 + now.tv_nsec / 1_000;
    notify(&format!("RELOADING=1\nMONOTONIC_USEC={microseconds}"));
}

fn send(address: &OsStr, state: &str) -> io::Result<()> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(address)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_nonblocking(true)?;
    socket.send_to_addr(state.as_bytes(), &address).map(|_| ())
}
