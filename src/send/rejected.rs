//! The file of rejected lines: one JSON object a line, with the line's number, every reason and the line as it was.

use std::{
    fs::File,
    io::{self, BufWriter, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Context, Result};
use base64::{Engine, prelude::BASE64_STANDARD};
use serde_json::json;

use super::sender::Rejection;

/// The destination of rejected lines. The file is created with the first of them.
#[derive(Debug)]
pub(super) struct RejectedFile {
    path: PathBuf,
    /// Whether the user typed the path: then a link, such as `/dev/stderr`, is followed.
    typed: bool,
    file: Option<File>,
    /// The file's length.
    length: u64,
}

impl RejectedFile {
    /// Starts anew, or appends to the part that an interrupted run recorded.
    pub(super) fn new(path: PathBuf, typed: bool, length: u64) -> Self {
        Self { path, typed, file: None, length }
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn length(&self) -> u64 {
        self.length
    }

    pub(super) fn append(&mut self, rejections: &[Rejection]) -> Result<()> {
        if rejections.is_empty() {
            return Ok(());
        }
        let mut text = Vec::new();
        for rejection in rejections {
            text.extend(line(rejection));
        }
        let is_link = !self.typed && self.path.is_symlink();
        self.write(&text).with_context(|| {
            let path = self.path.display();
            if is_link {
                format!("{path} is a link, which is not followed: name a file with --rejected")
            } else {
                format!("cannot write {path}")
            }
        })
    }

    fn write(&mut self, text: &[u8]) -> io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => {
                let mut options = File::options();
                options.create(true).truncate(false).write(true);
                #[cfg(unix)]
                if !self.typed {
                    let no_link = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
                    std::os::unix::fs::OpenOptionsExt::custom_flags(&mut options, no_link);
                }
                let mut file = options.open(&self.path)?;
                // Bytes past that length were written after progress was last recorded. A device has no length.
                let is_file = file.metadata()?.is_file();
                if is_file {
                    file.set_len(self.length)?;
                    file.seek(SeekFrom::Start(self.length))?;
                }
                none.insert(file)
            }
        };
        let mut out = BufWriter::new(file);
        out.write_all(text)?;
        out.flush()?;
        self.length += text.len() as u64;
        Ok(())
    }
}

fn line(rejection: &Rejection) -> Vec<u8> {
    let Rejection { number, errors, original, cut } = rejection;
    let mut line = json!({"line": number, "errors": errors});
    // The same members as in the record of a rejected event.
    match std::str::from_utf8(original) {
        Ok(text) => line["body"] = text.into(),
        Err(_) => line["body_base64"] = BASE64_STANDARD.encode(original).into(),
    }
    if *cut {
        line["truncated"] = true.into();
    }
    (line.to_string() + "\n").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rejection(number: u64, original: &[u8]) -> Rejection {
        Rejection { number, errors: json!([]), original: original.to_vec(), cut: number == 3 }
    }

    #[cfg(unix)]
    #[test]
    fn a_link_is_followed_only_where_its_path_was_typed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, target) = (folder.path().join("r"), folder.path().join("target"));
        std::fs::write(&target, "precious").unwrap();
        std::os::unix::fs::symlink(&target, &path).unwrap();
        let error = RejectedFile::new(path.clone(), false, 0).append(&[rejection(1, b"x")]).unwrap_err();
        assert!(error.to_string().contains("is a link, which is not followed"), "{error}");
        assert_eq!(std::fs::read_to_string(&target).unwrap(), "precious");
        RejectedFile::new(path, true, 0).append(&[rejection(1, b"x")]).unwrap();
        assert!(std::fs::read_to_string(&target).unwrap().contains("\"line\":1"));
    }

    #[test]
    fn it_is_made_with_the_first_line_and_goes_on_where_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r");
        let mut file = RejectedFile::new(path.clone(), false, 0);
        file.append(&[]).unwrap();
        assert!(!path.exists());
        file.append(&[rejection(1, b"x\"")]).unwrap();
        let noted = file.length();
        file.append(&[rejection(2, b"lost")]).unwrap();
        let mut file = RejectedFile::new(path.clone(), false, noted);
        file.append(&[rejection(3, b"\xff")]).unwrap();
        assert_eq!(
            std::fs::read_to_string(&path).unwrap(),
            "{\"body\":\"x\\\"\",\"errors\":[],\"line\":1}\n\
             {\"body_base64\":\"/w==\",\"errors\":[],\"line\":3,\"truncated\":true}\n"
        );
        assert_eq!(file.length(), std::fs::metadata(&path).unwrap().len());
        // A new run starts anew.
        RejectedFile::new(path.clone(), false, 0).append(&[rejection(1, b"")]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap().lines().count(), 1);
    }
}
