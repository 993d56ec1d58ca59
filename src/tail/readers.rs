//! Detects that the output's reader has gone: `weir tail | head -1` ends once `head` has its line, and not with the next
//! event, which may never arrive.

#[cfg(unix)]
pub(super) fn are_gone() -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};

    let stdout = std::io::stdout();
    let mut stdout = [PollFd::new(&stdout, PollFlags::empty())];
    let at_once = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut stdout, Some(&at_once)).is_ok()
        && stdout[0].revents().intersects(PollFlags::ERR | PollFlags::HUP)
}

#[cfg(not(unix))]
pub(super) fn are_gone() -> bool {
    false
}
