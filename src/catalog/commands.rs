//! `weir catalog`: checks event types before a server has them, and lists them.

use std::{
    fmt::Display,
    fs,
    io::{self, ErrorKind, Write},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context, Result, bail};
use serde_json::Value;
use weir_core::{Catalog, catalog::Definition};

use super::{in_folder, read, with_stored};
use crate::{
    cli::{CatalogCommand, CatalogPlace, Format},
    counted::counted,
    data,
    query::rows::{Column, Kind, Printer},
    table,
    terminal::on_one_line,
};

/// The exit code if something was found.
const FOUND: u8 = 3;

/// Runs one of the commands.
pub(crate) fn run(command: &CatalogCommand) -> Result<ExitCode> {
    match command {
        CatalogCommand::Check(place) => check(place),
        CatalogCommand::Export { folder } => export(folder),
        CatalogCommand::List { format, place } => list(place, *format),
    }
}

/// Returns the data folder that is named, or `./data`; `None` if the options name no folder and `./data` does not exist.
fn data_folder(named: Option<&Path>) -> Result<Option<PathBuf>> {
    if let Some(named) = named {
        data::must_have_events(named)?;
        return Ok(Some(named.to_owned()));
    }
    let here = PathBuf::from("./data");
    Ok(data::must_have_events(&here).is_ok().then_some(here))
}

fn check(place: &CatalogPlace) -> Result<ExitCode> {
    let folder = place.catalog.folder();
    let data = data_folder(place.data.as_deref())?;
    let catalog = read(folder)?;
    let mut found: Vec<String> = Vec::new();
    let mut find = |what: &dyn Display| found.push(on_one_line(&what.to_string()));
    for remark in catalog.remarks() {
        find(&folder.map_or_else(|| remark.clone(), |folder| in_folder(folder, remark.clone())));
    }
    let compared = match &data {
        Some(data) => {
            let earlier = served_before(data, &catalog)?;
            catalog.breakages(&earlier).iter().for_each(|breakage| find(breakage));
            format!("compared with {}", data.display())
        }
        None => "compared with no stored events: name their folder with --data".to_owned(),
    };
    let types = counted(catalog.iter().count() as u64, "event type", "event types");
    let findings = counted(found.len() as u64, "finding", "findings");
    let mut out = io::stdout().lock();
    for what in &found {
        writeln!(out, "{what}")?;
    }
    writeln!(out, "{types}, {compared}: {findings}")?;
    Ok(if found.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(FOUND) })
}

/// Writes the built-in types into a folder, unless one of the files is there already.
fn export(folder: &Path) -> Result<ExitCode> {
    let cannot = || format!("cannot write into {}", folder.display());
    fs::create_dir_all(folder).with_context(cannot)?;
    let files = Catalog::built_in_files();
    let mut written = Vec::new();
    for (name, text) in files {
        let path = folder.join(name);
        let created = fs::File::create_new(&path);
        let is_there = created.as_ref().is_err_and(|error| error.kind() == ErrorKind::AlreadyExists);
        let done = created.and_then(|mut file| {
            written.push(path.clone());
            file.write_all(text.as_bytes())
        });
        if let Err(error) = done {
            // A part of the catalog would be one that lacks types.
            for path in &written {
                let _ = fs::remove_file(path);
            }
            if is_there {
                bail!("{} is there already: name another folder", path.display());
            }
            return Err(error).with_context(cannot);
        }
    }
    let types = counted(files.len() as u64, "event type is", "event types are");
    let folder = folder.display();
    crate::printed::line(format!(
        "{types} in {folder}: add yours, and start the server with --catalog {folder}"
    ));
    Ok(ExitCode::SUCCESS)
}

/// Returns the catalog that the folder was served with last, and earlier types of it that are back.
fn served_before(data: &Path, catalog: &Catalog) -> Result<Catalog> {
    let mut earlier = Catalog::default();
    for one in weir_embedded::stored_catalog(data)? {
        if one.is_served || catalog.get(&one.event_type).is_some() {
            earlier.add_earlier(&one.event_type, &one.text);
        }
    }
    Ok(earlier)
}

fn list(place: &CatalogPlace, format: Format) -> Result<ExitCode> {
    let named = place.catalog.folder().map(|folder| read(Some(folder))).transpose()?;
    let catalog = match data_folder(place.data.as_deref())? {
        Some(data) => with_stored(named, &data)?,
        None => named.map_or_else(|| read(None), Ok)?,
    };
    match print(&catalog, format) {
        Err(error) if error.kind() == ErrorKind::BrokenPipe => {}
        printed => printed.context("the types cannot be printed")?,
    }
    Ok(ExitCode::SUCCESS)
}

fn print(catalog: &Catalog, format: Format) -> io::Result<()> {
    let names = ["event_type", "route", "count_by", "latest_by", "required", "optional"];
    let columns = names.map(|name| Column { name: name.to_owned(), kind: Kind::Text });
    let printer = Printer::new(io::stdout().lock(), format, columns.into())?;
    let mut printer = printer.fitted(table::terminal_width());
    for definition in catalog.iter() {
        let (required, optional) = fields(definition);
        // An absent field is empty in a table, and null elsewhere.
        let maybe = |field: Option<&str>| match (field, format) {
            (None, Format::Table) => Some(String::new()),
            (field, _) => field.map(ToOwned::to_owned),
        };
        printer.row(vec![
            Some(definition.event_type().to_string()),
            Some(definition.route().to_string()),
            maybe(definition.count_by()),
            maybe(definition.latest_by()),
            Some(required),
            Some(optional),
        ])?;
    }
    printer.finish()
}

/// Returns the names of a type's required and of its other fields.
fn fields(definition: &Definition) -> (String, String) {
    let required = definition.schema().get("required").and_then(Value::as_array);
    let is_required = |name: &str| required.is_some_and(|names| names.iter().any(|it| it == name));
    let (required, optional): (Vec<&str>, Vec<&str>) =
        definition.fields().map(|(name, _)| name).partition(|name| is_required(name));
    (required.join(", "), optional.join(", "))
}
