//! Prepares the words of a command line for clap.
//!
//! - `weir --data DIR user list` means `weir user list --data DIR`. Options before a command are those of `weir` without one,
//!   which serves; the command takes those that it knows, and refuses the others by itself.
//! - SQL can begin with a comment, `-- so`, which is no option.

use std::ffi::OsString;

use clap::{Arg, Command};

/// Puts options that stand before a command after it.
pub(super) fn after_their_command(words: Vec<OsString>, weir: &Command) -> Vec<OsString> {
    let mut rest = words.iter().skip(1).cloned().peekable();
    let (mut path, mut options, mut command) = (Vec::new(), Vec::new(), weir);
    while let Some(word) = rest.peek() {
        if let Some(found) = command.find_subcommand(word) {
            command = found;
            path.extend(rest.next());
        } else if let Some(option) = option(word, weir).filter(|_| command.has_subcommands()) {
            let is_whole = word.to_string_lossy().contains('=') || !option.get_action().takes_values();
            options.extend(rest.next());
            options.extend(rest.next_if(|_| !is_whole));
        } else {
            break;
        }
    }
    if path.is_empty() || path[0] == "help" {
        return words;
    }
    words.iter().take(1).cloned().chain(path).chain(options).chain(rest).collect()
}

/// Puts a space before SQL that begins with a comment, so that it is not taken for an option.
pub(super) fn sql_is_no_option(words: Vec<OsString>) -> Vec<OsString> {
    if words.get(1).is_none_or(|command| command != "query") {
        return words;
    }
    let marked = |word: OsString| {
        if !word.to_str().is_some_and(is_comment) {
            return word;
        }
        let mut marked = OsString::from(" ");
        marked.push(word);
        marked
    };
    words.into_iter().map(marked).collect()
}

/// Returns whether a word is a comment and not an option. A value can have white space, and the name of an option cannot.
fn is_comment(word: &str) -> bool {
    let Some(behind) = word.strip_prefix("--").filter(|behind| !behind.is_empty()) else { return false };
    let name = behind.split('=').next().unwrap_or_default();
    let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '-';
    let is_name =
        name.starts_with(|first: char| first.is_ascii_alphanumeric()) && name.chars().all(is_of_name);
    !is_name || word.contains('\n')
}

/// Returns the long option of `weir` that a word names.
fn option<'a>(word: &OsString, weir: &'a Command) -> Option<&'a Arg> {
    let name = word.to_str()?.strip_prefix("--")?;
    let name = name.split('=').next()?;
    weir.get_arguments().find(|option| option.get_long() == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sql_that_begins_with_a_comment_is_no_option_and_an_option_is_no_sql() {
        let read = |words: &[&str]| sql_is_no_option(words.iter().map(OsString::from).collect());
        for (typed, sql) in [
            ("-- all of it\nSELECT 1", " -- all of it\nSELECT 1"),
            ("--all\nSELECT a=1", " --all\nSELECT a=1"),
            ("--=== report ===\nSELECT 1", " --=== report ===\nSELECT 1"),
            ("--a=b\nSELECT 1", " --a=b\nSELECT 1"),
            ("--\nSELECT 1", " --\nSELECT 1"),
            ("---", " ---"),
            ("--", "--"),
            ("--csv", "--csv"),
            ("--data=a folder", "--data=a folder"),
            ("SELECT 1", "SELECT 1"),
            ("-", "-"),
        ] {
            assert_eq!(
                read(&["weir", "query", typed, "--wait=0s"]),
                ["weir", "query", sql, "--wait=0s"],
                "{typed:?}"
            );
        }
        assert_eq!(read(&["weir", "send", "-- a"]), ["weir", "send", "-- a"]);
    }

    #[test]
    fn options_before_a_command_are_put_after_it_and_nothing_else_is_moved() {
        let weir = super::super::command();
        for (typed, read) in [
            ("weir --data x user list", "weir user list --data x"),
            ("weir --data=x user --engine aws add ann", "weir user add --data=x --engine aws ann"),
            ("weir --trust-forwarded-for serve --listen 80", "weir serve --trust-forwarded-for --listen 80"),
            ("weir --listen 80 query q", "weir query --listen 80 q"),
            ("weir query --data x q", "weir query --data x q"),
            ("weir --data x --listen 80", "weir --data x --listen 80"),
            ("weir --data x help user", "weir --data x help user"),
            ("weir --data user list", "weir --data user list"),
            ("weir --bogus user list", "weir --bogus user list"),
            ("weir send - --to user", "weir send - --to user"),
            ("weir user", "weir user"),
            ("weir", "weir"),
        ] {
            let words = typed.split(' ').map(OsString::from).collect();
            let read: Vec<OsString> = read.split(' ').map(OsString::from).collect();
            assert_eq!(after_their_command(words, &weir), read, "{typed}");
        }
    }
}
