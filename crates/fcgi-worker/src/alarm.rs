//! A descriptor that turns readable at a time: for loops whose own timeout is rounded up to milliseconds.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

/// A timer descriptor (timerfd_create(2)), to be watched with the others. It need not be read where it is watched for
/// edges.
#[derive(Debug)]
pub struct Alarm {
    timer: OwnedFd,
    time: Option<Instant>,
}

impl Alarm {
    /// Not set yet. Fails for lack of descriptors or memory.
    pub fn new() -> io::Result<Self> {
        let timer =
            timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC)?;
        Ok(Self { timer, time: None })
    }

    /// Sees to it that the descriptor turns readable at this time. Where none is given, an older one may stay: it costs
    /// less to be woken once more than to be asked each time.
    #[inline]
    pub fn set(&mut self, time: Option<Instant>) -> io::Result<()> {
        match time {
            Some(time) if self.time != Some(time) => self.start(time),
            _ => Ok(()),
        }
    }

    fn start(&mut self, time: Instant) -> io::Result<()> {
        self.time = Some(time);
        // A time of zero would disarm it.
        let left = time.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let it_value = Timespec::try_from(left).map_err(io::Error::other)?;
        let once = Itimerspec { it_interval: Timespec { tv_sec: 0, tv_nsec: 0 }, it_value };
        timerfd_settime(&self.timer, TimerfdTimerFlags::empty(), &once)?;
        Ok(())
    }
}

impl AsRawFd for Alarm {
    fn as_raw_fd(&self) -> RawFd {
        self.timer.as_raw_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_turns_readable_at_its_time_even_if_that_has_passed() {
        let mut alarm = Alarm::new().unwrap();
        let read = |alarm: &Alarm| rustix::io::read(&alarm.timer, &mut [0; 8]);
        assert!(read(&alarm).is_err());
        alarm.set(Some(Instant::now() + Duration::from_secs(3600))).unwrap();
        assert!(read(&alarm).is_err());
        let now = Instant::now();
        alarm.set(Some(now)).unwrap();
        alarm.set(None).unwrap();
        while read(&alarm).is_err() {}
        assert!(Instant::now() > now);
    }
}
