//! Compiles `catalog/` in: adding a file there is all that an event type needs.

use std::{env, fmt::Write, fs, path::PathBuf};

fn main() {
    let folder = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("set by cargo")).join("../../catalog");
    println!("cargo::rerun-if-changed={}", folder.display());
    let mut names: Vec<String> = fs::read_dir(&folder)
        .expect("the catalog folder")
        .map(|entry| {
            entry.expect("an entry of the catalog folder").file_name().into_string().expect("a UTF-8 name")
        })
        .filter(|name| name.ends_with(".json"))
        .collect();
    names.sort();
    let mut list = String::from("&[\n");
    for name in names {
        let path = folder.join(&name).canonicalize().expect("a file of the catalog folder");
        println!("cargo::rerun-if-changed={}", path.display());
        writeln!(list, "    ({name:?}, include_str!({:?})),", path.display().to_string())
            .expect("writing to memory");
    }
    list.push(']');
    let out = PathBuf::from(env::var("OUT_DIR").expect("set by cargo")).join("catalog.rs");
    fs::write(out, list).expect("writing to OUT_DIR");
}
