//! Compresses what the collector serves to browsers, so that nothing has to be compressed when it is asked for.
//!
//! What `/docs` needs comes out of the archive of Swagger UI, compressed as it is there: a gzip file is the archive's
//! deflated bytes between a head and a tail.

use std::{
    env,
    error::Error,
    fs,
    io::{Cursor, Read, Write},
    path::Path,
};

use flate2::{Compression, write::GzEncoder};
use utoipa_swagger_ui_vendored::SWAGGER_UI_VENDORED;
use zip::{CompressionMethod, ZipArchive};

type Archive = ZipArchive<Cursor<&'static [u8]>>;

/// What is served, and of which files it is made: several are one after another. The licence wants to go with the rest.
const SERVED: [(&str, &[&str]); 3] = [
    ("swagger-ui-bundle.js.gz", &["dist/swagger-ui-bundle.js"]),
    ("swagger-ui.css.gz", &["dist/swagger-ui.css"]),
    ("LICENSE.gz", &["NOTICE", "LICENSE"]),
];

/// Scripts of ours, and under which names they are served.
const OURS: [(&str, &str); 2] =
    [("src/pages/docs/start.js", "start.js.gz"), ("src/pages/script/weir.js", "weir.js.gz")];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo::rerun-if-changed=build.rs");
    let out = env::var_os("OUT_DIR").ok_or("cargo sets OUT_DIR")?;
    let mut archive = ZipArchive::new(Cursor::new(SWAGGER_UI_VENDORED))?;
    for (served, files) in SERVED {
        let mut bytes = Vec::new();
        for file in files {
            bytes.extend(gzip(&mut archive, file)?);
        }
        fs::write(Path::new(&out).join(served), bytes)?;
    }
    for (source, served) in OURS {
        println!("cargo::rerun-if-changed={source}");
        let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
        gzip.write_all(bare(&fs::read_to_string(source)?).as_bytes())?;
        fs::write(Path::new(&out).join(served), gzip.finish()?)?;
    }
    Ok(())
}

/// A script without what a browser does not need: indentation, and lines that are comments.
fn bare(script: &str) -> String {
    let lines = script.lines().map(str::trim_start);
    lines.filter(|line| !line.is_empty() && !line.starts_with("//")).map(|line| format!("{line}\n")).collect()
}

/// A file of the archive as a gzip member (RFC 1952).
fn gzip(archive: &mut Archive, wanted: &str) -> Result<Vec<u8>, Box<dyn Error>> {
    // The archive's one folder is named after the version.
    let is_wanted = |index: &usize| {
        let name = archive.name_for_index(*index).and_then(Result::ok);
        name.is_some_and(|name| name.split_once('/').is_some_and(|(_, rest)| rest == wanted))
    };
    let index = (0..archive.len()).find(is_wanted).ok_or_else(|| format!("the archive has no {wanted}"))?;
    let mut file = archive.by_index_raw(index)?;
    let length = u32::try_from(file.size())?;
    let mut member = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255];
    match file.compression() {
        CompressionMethod::DEFLATE => {}
        // One last block of deflate that is not compressed (RFC 1951, section 3.2.4).
        CompressionMethod::STORE => {
            let length = u16::try_from(length)?;
            member.push(1);
            member.extend(length.to_le_bytes());
            member.extend((!length).to_le_bytes());
        }
        other => return Err(format!("{wanted} is compressed with {other}").into()),
    }
    file.read_to_end(&mut member)?;
    member.extend(file.crc32().to_le_bytes());
    member.extend(length.to_le_bytes());
    Ok(member)
}
