//! What of the machine a child may touch: some folders, and no TCP. The kernel enforces it, by Landlock
//! (<https://docs.kernel.org/userspace-api/landlock.html>), so it holds even for a child that an attacker has taken over.
//!
//! A thread restricts itself, and starts the child, which inherits the restrictions. They end with the thread. Of root's
//! capabilities it keeps those to read files of other owners: with others, a child could read the memory of this process.

use std::path::Path;

/// The folders and files that a child may touch, besides the system's libraries. What does not exist is left out.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sandbox<'a> {
    /// The programs that it may run.
    pub(crate) runs: &'a [&'a Path],
    pub(crate) reads: &'a [&'a Path],
    /// Where it may make, read, change and remove files.
    pub(crate) writes: &'a [&'a Path],
}

impl Sandbox<'_> {
    /// Calls `start` on a thread that may touch only this, and returns what it returns.
    #[cfg(target_os = "linux")]
    pub(super) fn inside<T: Send>(&self, start: impl FnOnce() -> T + Send) -> std::io::Result<T> {
        std::thread::scope(|scope| {
            let started = scope.spawn(|| self.enter().map(|_| start()));
            started
                .join()
                .unwrap_or_else(|_| Err(std::io::Error::other("the thread that starts it panicked")))
        })
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn inside<T: Send>(&self, start: impl FnOnce() -> T + Send) -> std::io::Result<T> {
        Ok(start())
    }

    /// Returns whether the kernel enforces a sandbox. The oldest Linux that does is 5.13; TCP is denied since 6.7.
    #[cfg(target_os = "linux")]
    pub(crate) fn is_enforced() -> bool {
        let nothing = Sandbox { runs: &[], reads: &[], writes: &[] };
        std::thread::scope(|scope| scope.spawn(|| nothing.enter()).join())
            .is_ok_and(|entered| entered.unwrap_or(false))
    }

    #[cfg(not(target_os = "linux"))]
    pub(crate) fn is_enforced() -> bool {
        false
    }

    /// Restricts this thread for good. Returns whether the kernel enforces it: one that knows a part of it enforces that part.
    #[cfg(target_os = "linux")]
    fn enter(&self) -> std::io::Result<bool> {
        use landlock::{
            ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError,
            RulesetStatus, Scope, path_beneath_rules,
        };
        /// Where programs find their libraries, languages and zones.
        const LIBRARIES: [&str; 12] = [
            "/lib",
            "/lib32",
            "/lib64",
            "/usr/lib",
            "/usr/lib32",
            "/usr/lib64",
            "/usr/local/lib",
            "/usr/share/locale",
            "/usr/share/zoneinfo",
            "/etc/ld.so.cache",
            "/nix/store",
            "/gnu/store",
        ];
        /// What the kernel starts to load a program's libraries.
        const LOADERS: [&str; 6] = [
            "/lib64/ld-linux-x86-64.so.2",
            "/lib/ld-linux-aarch64.so.1",
            "/lib/ld-musl-x86_64.so.1",
            "/lib/ld-musl-aarch64.so.1",
            "/nix/store",
            "/gnu/store",
        ];
        /// Where programs find their limits of memory and cores, and the zone. In `/proc`, the kernel keeps the environment, the
        /// memory and the open files of processes outside the sandbox from it.
        const MACHINE: [&str; 4] = ["/proc", "/sys/fs/cgroup", "/sys/devices/system/cpu", "/etc/localtime"];
        const VERSION: ABI = ABI::V6;
        let (read, all) = (AccessFs::ReadFile | AccessFs::ReadDir, AccessFs::from_all(VERSION));
        drop_capabilities()?;
        let enter = || -> Result<RulesetStatus, RulesetError> {
            let rules = Ruleset::default()
                .handle_access(all)?
                .handle_access(AccessNet::from_all(VERSION))?
                .scope(Scope::from_all(VERSION))?
                .create()?
                .add_rules(path_beneath_rules(LIBRARIES, read))?
                .add_rules(path_beneath_rules(LOADERS, AccessFs::ReadFile | AccessFs::Execute))?
                .add_rules(path_beneath_rules(MACHINE, AccessFs::ReadFile))?
                .add_rules(path_beneath_rules(self.runs, AccessFs::ReadFile | AccessFs::Execute))?
                .add_rules(path_beneath_rules(self.reads, read))?
                .add_rules(path_beneath_rules(self.writes, all & !AccessFs::Execute))?;
            Ok(rules.restrict_self()?.ruleset)
        };
        enter().map(|status| status != RulesetStatus::NotEnforced).map_err(std::io::Error::other)
    }
}

/// Gives up all capabilities of this thread but those for files of other owners. As it gains no privileges, its children have no
/// others either.
#[cfg(target_os = "linux")]
fn drop_capabilities() -> std::io::Result<()> {
    use rustix::thread::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};
    let kept = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
    let kept = capabilities(None)?.permitted & kept;
    let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    Ok(set_capabilities(None, sets)?)
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::{fs, net::TcpListener, time::Duration};

    use super::*;
    use crate::child::{self, Environment, Failure, Program, Running};

    /// Runs a script of the shell in a sandbox with two folders, and returns what it printed.
    fn run(script: &str, [own, read]: [&Path; 2]) -> Result<String, Failure> {
        let shell = fs::canonicalize("/bin/sh").unwrap();
        let cat = fs::canonicalize("/bin/cat").unwrap();
        let sandbox = Sandbox { runs: &[&shell, &cat], reads: &[read], writes: &[own] };
        let command = [shell.to_str().unwrap(), "-c", script].map(str::to_owned);
        let program = Program {
            command: &command,
            directory: own,
            environment: Environment::Few,
            time_limit: Duration::from_mins(1),
            memory_limit: 1 << 30,
            output_limit: 1 << 20,
            file_limit: None,
            sandbox: Some(sandbox),
        };
        child::run(&program, &[], |_| Ok(()), &Running::default())
            .map(|printed| String::from_utf8(printed).unwrap())
    }

    #[test]
    fn a_child_in_a_sandbox_touches_its_folders_only_and_this_process_is_as_free_as_before() {
        let folder = tempfile::tempdir().unwrap();
        let [own, read, other] = ["own", "read", "other"].map(|name| folder.path().join(name));
        for path in [&own, &read, &other] {
            fs::create_dir(path).unwrap();
            fs::write(path.join("file"), "words").unwrap();
        }
        let run = |script: &str| run(script, [&own, &read]);
        assert_eq!(run("cat file; cat ../read/file; echo new > made; cat made").unwrap(), "wordswordsnew\n");
        // Without Landlock, nothing is promised, and the server says so when it starts.
        if !Sandbox::is_enforced() {
            eprintln!("this kernel has no Landlock");
            return;
        }
        for script in [
            "cat ../other/file",
            "cat /etc/passwd",
            "cat /proc/$PPID/environ",
            "echo x > ../read/made",
            "echo x > ../other/made",
            "echo x > ../read/file",
            "/usr/bin/env",
            "cd ../other && cat ./*",
        ] {
            let ended = run(script);
            let why = ["ermission denied", "cannot open", "No such file"];
            let said = |words: &str| why.iter().any(|why| words.contains(why));
            assert!(
                matches!(&ended, Err(Failure::Ended { said: words, .. }) if said(words)),
                "{script}: {ended:?}"
            );
        }
        assert_eq!(fs::read_to_string(read.join("file")).unwrap(), "words");
        assert_eq!(fs::read_to_string(other.join("file")).unwrap(), "words");
        assert!(TcpListener::bind("127.0.0.1:0").is_ok());
    }
}
