//! What a running process has used, as Linux counts it (proc(5)).

use std::{fs, io, time::Duration};

/// Of one process.
pub(crate) struct Process(pub(crate) u32);

impl Process {
    /// The memory that it holds at the moment, in bytes.
    pub(crate) fn resident(&self) -> io::Result<u64> {
        self.status("VmRSS:")
    }

    /// The most that it ever held, in bytes.
    pub(crate) fn peak(&self) -> io::Result<u64> {
        self.status("VmHWM:")
    }

    fn status(&self, name: &str) -> io::Result<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.0))?;
        let kib = status.lines().find_map(|line| line.strip_prefix(name));
        let kib = kib.and_then(|text| text.trim().trim_end_matches(" kB").parse::<u64>().ok());
        kib.map(|kib| kib * 1024).ok_or_else(|| io::Error::other(format!("no {name} of process {}", self.0)))
    }

    /// The CPU that it used, its own and the kernel's for it.
    pub(crate) fn cpu(&self) -> io::Result<Duration> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.0))?;
        // utime and stime are the 14th and 15th field.
        ticks(&stat, 11).ok_or_else(|| io::Error::other(format!("no CPU time of process {}", self.0)))
    }
}

/// Returns the CPU that ended children of this process have used, with theirs.
pub(crate) fn childrens_cpu() -> io::Result<Duration> {
    // cutime and cstime are the 16th and 17th field.
    ticks(fs::read_to_string("/proc/self/stat")?.as_str(), 13)
        .ok_or_else(|| io::Error::other("no CPU time of children"))
}

/// Returns how many bytes this process and its ended children have read, from the disk or from memory.
pub(crate) fn read_bytes() -> io::Result<u64> {
    let counted = fs::read_to_string("/proc/self/io")?;
    let read = counted.lines().find_map(|line| line.strip_prefix("rchar: ")?.parse().ok());
    read.ok_or_else(|| io::Error::other("no bytes that were read"))
}

/// Reads two fields of ticks in a row.
fn ticks(stat: &str, first: usize) -> Option<Duration> {
    // The second field is the program's name in brackets, and may have blanks.
    let fields: Vec<&str> = stat.rsplit_once(") ")?.1.split(' ').collect();
    let ticks = |index: usize| fields.get(index)?.parse::<u64>().ok();
    // A tick is 10 ms on every Linux, whatever the kernel's own clock does.
    Some(Duration::from_millis((ticks(first)? + ticks(first + 1)?) * 10))
}

/// The CPU that this thread has used, to the nanosecond; ticks say nothing of what takes milliseconds.
pub(crate) fn threads_cpu() -> Duration {
    let used = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    // Neither is negative.
    Duration::new(used.tv_sec.try_into().unwrap_or_default(), used.tv_nsec.try_into().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_memory_and_time() {
        let me = Process(std::process::id());
        let (resident, peak) = (me.resident().expect("on Linux"), me.peak().expect("on Linux"));
        assert!(resident > 100_000 && peak > 100_000, "{resident} {peak}");
        let before = me.cpu().expect("on Linux");
        let mut sum = 0_u64;
        // Bounded: some seconds on the slowest machine.
        for number in 0..2_000_000_000_u64 {
            sum = std::hint::black_box(sum ^ number);
            if number % 1_000_000 == 0 && me.cpu().expect("on Linux") > before {
                return;
            }
        }
        panic!("working uses no CPU");
    }
}
