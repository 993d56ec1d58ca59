//! The commands in the help of `weir`, grouped by what they are for.

use clap::Command;

use crate::table;

/// The groups, with the names of their commands.
const GROUPS: [(&str, &[&str]); 4] = [
    ("Send events", &["send"]),
    ("Read events", &["query", "tail", "counts", "latest", "receipt", "publish", "map", "function"]),
    ("Run a server", &["serve", "seal", "user", "catalog", "health", "backup", "completions"]),
    ("Check and repair", &["audit", "replay", "forget", "restore"]),
];

/// The width of help where no terminal shows it.
const WIDTH: usize = 100;

/// Replaces clap's one list of commands in the help by groups.
pub(super) fn in_groups(weir: Command) -> Command {
    let text = text(&weir);
    let names: Vec<String> = weir.get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let hidden = |weir: Command, name: &String| weir.mut_subcommand(name, |command| command.hide(true));
    names.iter().fold(weir, hidden).override_usage("weir [OPTIONS] [COMMAND]").help_template(format!(
        "{{about-with-newline}}\n{{usage-heading}} {{usage}}\n\n{text}{{all-args}}{{after-help}}"
    ))
}

/// Formats the groups.
fn text(weir: &Command) -> String {
    let commands =
        || GROUPS.iter().flat_map(|(_, names)| names.iter()).filter_map(|name| weir.find_subcommand(name));
    let indent = 4 + commands().map(|command| command.get_name().len()).max().unwrap_or_default();
    let room = table::terminal_width().unwrap_or(WIDTH).saturating_sub(indent).max(20);
    let style = weir.get_styles();
    let mut text = String::new();
    for (group, names) in GROUPS {
        let (header, literal) = (style.get_header(), style.get_literal());
        text += &format!("{header}{group}:{header:#}\n");
        for command in names.iter().filter_map(|name| weir.find_subcommand(name)) {
            let about = command.get_about().map(ToString::to_string).unwrap_or_default();
            let lines = wrapped(&about, room).join(&format!("\n{}", " ".repeat(indent)));
            let blanks = " ".repeat(indent - 2 - command.get_name().len());
            text += &format!("  {literal}{}{literal:#}{blanks}{lines}\n", command.get_name());
        }
        text.push('\n');
    }
    text
}

/// Breaks a text into lines of at most this width, between words.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let last = lines.last_mut().filter(|line| line.is_empty() || line.len() + 1 + word.len() <= width);
        match last {
            Some(line) if line.is_empty() => line.push_str(word),
            Some(line) => *line += &format!(" {word}"),
            None => lines.push(word.to_owned()),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_command_is_in_one_group_and_long_lines_are_broken() {
        let weir = super::super::command();
        for command in weir.get_subcommands().map(Command::get_name) {
            let groups = GROUPS.iter().filter(|(_, names)| names.contains(&command));
            assert_eq!(groups.count(), 1, "{command}");
        }
        assert_eq!(wrapped("one two three", 7), ["one two", "three"]);
        assert_eq!(wrapped("incomprehensible x", 7), ["incomprehensible", "x"]);
        let shown = in_groups(weir).render_help().to_string();
        assert!(shown.contains("Read events:\n  query") && !shown.contains("\nCommands:"), "{shown}");
    }
}
