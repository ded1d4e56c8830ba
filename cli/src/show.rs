//! How answers look: words and tables for people, colour on a terminal only, JSON when it was asked for.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "printing is what it is for")]

use std::io::{IsTerminal as _, Write as _};

use anstyle::{AnsiColor, Style};
use comfy_table::{ContentArrangement, Table, presets::NOTHING};
use jiff::Timestamp;
use serde_json::Value;

use crate::args::{Colour, Global};

/// How this run shows things.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Show {
    pub(crate) json: bool,
    coloured: bool,
    /// Whether a person looks on.
    pub(crate) live: bool,
}

impl Show {
    /// As the command line and the terminal have it.
    pub(crate) fn new(global: &Global) -> Self {
        let terminal = std::io::stdout().is_terminal();
        let coloured = match global.color {
            Colour::Always => true,
            Colour::Never => false,
            Colour::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        let live = terminal && std::io::stderr().is_terminal() && !global.json;
        Self { json: global.json, coloured, live }
    }

    /// Words in a style.
    pub(crate) fn paint(self, style: Style, text: &str) -> String {
        if self.coloured { format!("{style}{text}{style:#}") } else { text.to_owned() }
    }

    /// A status in its colour.
    pub(crate) fn status(self, status: &str) -> String {
        let colour = match status {
            "Finished" | "alive" => AnsiColor::Green,
            "Error" | "lost" | "dead" | "gone" | "banned" => AnsiColor::Red,
            "Started" => AnsiColor::Cyan,
            _ => AnsiColor::Yellow,
        };
        self.paint(colour.on_default(), status)
    }

    /// A heading.
    pub(crate) fn bold(self, text: &str) -> String {
        self.paint(Style::new().bold(), text)
    }

    /// What matters less.
    pub(crate) fn dim(self, text: &str) -> String {
        self.paint(Style::new().dimmed(), text)
    }

    /// A table that fits the terminal; nothing: the words for that.
    pub(crate) fn table(self, header: &[&str], rows: Vec<Vec<String>>, nothing: &str) {
        if rows.is_empty() {
            eprintln!("{nothing}");
            return;
        }
        let mut table = Table::new();
        table.load_preset(NOTHING);
        if std::io::stdout().is_terminal() {
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        table.set_header(header.iter().map(|name| self.bold(name)));
        table.add_rows(rows);
        for column in table.column_iter_mut() {
            column.set_padding((0, 2));
        }
        for line in table.to_string().lines() {
            say(line.trim_end());
        }
    }

    /// Lines of a name and a value; those without a value are left out.
    pub(crate) fn facts(self, facts: &[(&str, Option<String>)]) {
        let width = facts.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
        for (name, value) in facts {
            if let Some(value) = value {
                let name = self.dim(&format!("{name:<width$}"));
                say(&format!("{name}  {}", value.replace('\n', &format!("\n{:width$}  ", ""))));
            }
        }
    }
}

/// A line on the output. Nobody who reads it any more is no fault.
pub(crate) fn say(line: &str) {
    write(&format!("{line}\n"));
}

/// Text on the output, as it is.
#[expect(
    clippy::disallowed_methods,
    reason = "whoever read the output has gone: there is nothing to flush or finish"
)]
pub(crate) fn write(text: &str) {
    let mut out = std::io::stdout().lock();
    if out.write_all(text.as_bytes()).and_then(|()| out.flush()).is_err() {
        std::process::exit(0);
    }
}

/// A line beside the output, for people.
pub(crate) fn note(line: &str) {
    eprintln!("{line}");
}

/// A value as JSON, indented.
pub(crate) fn json(value: &Value) {
    say(&format!("{value:#}"));
}

/// A member's text; null is none.
pub(crate) fn text<'a>(value: &'a Value, name: &str) -> Option<&'a str> {
    value[name].as_str()
}

/// How long ago a time was, or how long it is still until then.
pub(crate) fn age(time: Option<&str>) -> String {
    let Some(time) = time.and_then(|time| time.parse::<Timestamp>().ok()) else { return String::new() };
    let seconds = Timestamp::now().as_second() - time.as_second();
    if seconds < 0 { format!("in {}", span(-seconds)) } else { format!("{} ago", span(seconds)) }
}

/// From one time to another.
pub(crate) fn between(from: Option<&str>, to: Option<&str>) -> String {
    let time = |text: Option<&str>| text.and_then(|text| text.parse::<Timestamp>().ok());
    let (Some(from), Some(to)) = (time(from), time(to).or(Some(Timestamp::now()))) else {
        return String::new();
    };
    let ms = to.as_millisecond() - from.as_millisecond();
    if ms < 1_000 {
        format!("{ms} ms")
    } else if ms < 60_000 {
        format!("{:.1} s", ms as f64 / 1e3)
    } else {
        span(ms / 1_000)
    }
}

/// A time in milliseconds, for people.
pub(crate) fn millis(ms: u64) -> String {
    if ms < 1_000 { format!("{ms} ms") } else { span(i64::try_from(ms / 1_000).unwrap_or(i64::MAX)) }
}

fn span(seconds: i64) -> String {
    match seconds {
        ..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3_600..86_400 => format!("{}h{:02}m", seconds / 3_600, seconds % 3_600 / 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds % 86_400 / 3_600),
    }
}

/// The first line of a text, cut to a width.
pub(crate) fn first_line(text: &str, width: usize) -> String {
    let line: String =
        text.trim().lines().next().unwrap_or_default().chars().filter(|c| !c.is_control()).collect();
    if line.chars().count() <= width {
        return line;
    }
    line.chars().take(width.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use super::{between, first_line, span};

    #[test]
    fn spans_read_well() {
        let seen: Vec<String> = [5, 65, 3_725, 90_000].map(span).into();
        assert_eq!(seen, ["5s", "1m05s", "1h02m", "1d01h"]);
        let at = |second: u32| Some(format!("2026-11-21T12:00:{second:02}.250Z"));
        assert_eq!(between(at(1).as_deref(), at(1).as_deref()), "0 ms");
        assert_eq!(between(at(1).as_deref(), at(4).as_deref()), "3.0 s");
        assert_eq!(between(None, at(4).as_deref()), "");
    }

    #[test]
    fn a_line_is_cut_and_cannot_move_the_cursor() {
        assert_eq!(first_line("\n one\u{1b}[2Jtwo\n three", 40), "one[2Jtwo");
        assert_eq!(first_line("abcdef", 4), "abc…");
    }
}
