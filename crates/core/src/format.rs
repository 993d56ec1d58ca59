//! The file formats of batches, of the lake's objects and of quarantine.

use std::fmt;

/// A file format. Its extension is the only sign of it in a file's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Format {
    /// Lines of JSON, compressed with gzip.
    #[default]
    JsonGz,
}

impl Format {
    const ALL: [Self; 1] = [Self::JsonGz];

    /// Returns the extension of its files, without the dot before it.
    #[must_use]
    pub const fn extension(self) -> &'static str {
        match self {
            Self::JsonGz => "json.gz",
        }
    }

    /// Returns the name of a file of this format.
    #[must_use]
    pub fn file(self, stem: impl fmt::Display) -> String {
        format!("{stem}.{}", self.extension())
    }

    /// Splits a file's name or path into its stem and its format; `None` if no format has its extension.
    #[must_use]
    pub fn of_file(name: &str) -> Option<(&str, Self)> {
        Self::ALL.into_iter().find_map(|format| {
            let stem = name.strip_suffix(format.extension())?.strip_suffix('.')?;
            Some((stem, format))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_files_format_is_its_extension() {
        for format in Format::ALL {
            assert_eq!(Format::of_file(&format.file("a.b")), Some(("a.b", format)));
        }
        for other in ["", "a", "a.json", "a.gz", "ajson.gz", "json.gz", "a.json.gz.tmp", "a.JSON.GZ"] {
            assert_eq!(Format::of_file(other), None, "{other}");
        }
    }
}
