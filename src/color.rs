//! When output is coloured: on terminals, and never if `NO_COLOR` is set (<https://no-color.org>), unless an option
//! overrides this.

use std::env;

use clap::ColorChoice;

/// Returns whether to colour output to a terminal, or to something else.
pub(crate) fn wanted(choice: ColorChoice, is_terminal: bool) -> bool {
    decided(choice, is_terminal, env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()))
}

fn decided(choice: ColorChoice, is_terminal: bool, no_color: bool) -> bool {
    match choice {
        ColorChoice::Always => true,
        ColorChoice::Never => false,
        ColorChoice::Auto => is_terminal && !no_color,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_colours_on_terminals_unless_the_user_says_otherwise() {
        let auto = |is_terminal, no_color| decided(ColorChoice::Auto, is_terminal, no_color);
        assert!(auto(true, false) && !auto(false, false) && !auto(true, true));
        assert!(decided(ColorChoice::Always, false, true) && !decided(ColorChoice::Never, true, false));
    }
}
