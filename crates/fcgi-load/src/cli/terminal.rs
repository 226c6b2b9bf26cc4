//! What a terminal can show.

use std::env::var_os;
use std::io::IsTerminal;

/// Whether the terminal understands more than lines of text. There is none such where `TERM` is `dumb`.
pub(crate) fn is_capable(stream: &impl IsTerminal) -> bool {
    stream.is_terminal() && var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Whether to colour what goes there: <https://no-color.org> asks for none where `NO_COLOR` is set and not empty.
pub(crate) fn is_coloured(stream: &impl IsTerminal) -> bool {
    is_capable(stream) && var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
