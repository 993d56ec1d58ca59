//! Real disks that are small: a file system in memory that only the test and its server see, where the system lets
//! the test mount one (`unshare`, or root), or a limit on how large the server's files may get, which works everywhere.

use std::{
    fs,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use crate::harness::Weir;

/// What keeps a data folder small.
pub(super) enum Place {
    /// A process that holds the namespace in which the folder is a file system of its own.
    Mount { holder: Child, ballast: PathBuf },
    /// How large each file may get.
    Limit,
}

impl Place {
    /// Moves the folder of a server, which is stopped, to a disk of so many MiB, of which so many are taken at first.
    pub(super) fn mount(weir: &mut Weir, mib: usize, taken: usize) -> Option<Self> {
        let data = weir.data_of_weir();
        let aside = data.with_file_name("aside");
        fs::rename(&data, &aside).unwrap();
        fs::create_dir(&data).unwrap();
        let script = format!(
            "mount -t tmpfs -o size={mib}m,mode=700 weir '{0}' && cp -a '{1}/.' '{0}/' && echo mounted && read end",
            data.display(),
            aside.display()
        );
        let mut holder = Command::new("unshare")
            .args(["--user", "--map-root-user", "--mount", "sh", "-c", &script])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .ok()?;
        let mut said = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut said).unwrap();
        if said.trim() != "mounted" {
            holder.wait().unwrap();
            fs::remove_dir(&data).unwrap();
            fs::rename(&aside, &data).unwrap();
            return None;
        }
        let process = holder.id().to_string();
        let from_here = PathBuf::from(format!("/proc/{process}/root{}", data.display()));
        weir.run_by =
            ["nsenter", "--target", &process, "--user", "--mount", "--preserve-credentials", "--wd=/", "--"]
                .map(str::to_owned)
                .into();
        let ballast = from_here.join("ballast");
        fs::write(&ballast, vec![0; taken << 20]).unwrap();
        weir.data_from_here = Some(from_here);
        Some(Self::Mount { holder, ballast })
    }

    /// Lets the server, which is stopped, write no file beyond so many KiB.
    pub(super) fn limit(weir: &mut Weir, kib: u64) -> Self {
        // A write beyond it fails then, and does not end the process.
        let script = format!("trap '' XFSZ; ulimit -S -f {}; exec \"$@\"", kib * 2);
        weir.run_by = ["sh", "-c", &script, "sh"].map(str::to_owned).into();
        Self::Limit
    }

    /// The smallest disk that this machine allows: the mount, or the limit.
    pub(super) fn small(weir: &mut Weir, mib: usize, taken: usize) -> Self {
        match Self::mount(weir, mib, taken) {
            Some(mount) => mount,
            None => Self::limit(weir, (mib - taken) as u64 * 1024 / 4),
        }
    }

    /// Fills what is left.
    pub(super) fn fill(&self, weir: &Weir) {
        if let Self::Mount { .. } = self {
            let mut file = fs::File::create(weir.data().join("filler")).unwrap();
            let piece = vec![1; 4096];
            while std::io::Write::write_all(&mut file, &piece).is_ok() {}
        }
    }

    /// Makes the mount, where there is one, read-only or writable again.
    pub(super) fn read_only(weir: &Weir, read_only: bool) {
        let how = if read_only { "remount,ro" } else { "remount,rw" };
        let mut enter = weir.run_by.iter();
        let mut command = Command::new(enter.next().unwrap());
        let data = weir.data_of_weir();
        assert!(command.args(enter).args(["mount", "-o", how]).arg(data).status().unwrap().success());
    }

    /// Makes room while the server runs, and for the next ones.
    pub(super) fn make_room(&self, weir: &mut Weir) {
        match self {
            Self::Mount { ballast, .. } => {
                let _ = fs::remove_file(ballast.with_file_name("filler"));
                fs::remove_file(ballast).unwrap();
            }
            Self::Limit => {
                use rustix::process::{Pid, Resource, Rlimit, prlimit};
                let process = Pid::from_raw(weir.process_id().try_into().unwrap());
                prlimit(process, Resource::Fsize, Rlimit { current: None, maximum: None }).unwrap();
                weir.run_by.clear();
            }
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Self::Mount { holder, .. } = self {
            let _ = holder.kill();
            let _ = holder.wait();
        }
    }
}
