//! The figures: collected as they come, printed as a table, written as JSON.

use std::{collections::BTreeMap, fmt::Write as _, fs, io::Write as _, path::Path};

use anyhow::Context;
use serde::Serialize;

/// What a figure must reach.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Target {
    /// At least this.
    AtLeast(f64),
    /// At most this.
    AtMost(f64),
}

/// One measured figure.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    /// Its stable name, such as `end_to_end.rate`.
    pub(crate) name: String,
    /// The value.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
    /// What it must reach; none: it is there to be read, or it is a floor.
    pub(crate) target: Option<Target>,
    /// Whether it reached that.
    pub(crate) reached: Option<bool>,
    /// The floor that it is compared with.
    pub(crate) floor: Option<String>,
    /// The figure divided by that floor.
    pub(crate) ratio: Option<f64>,
}

/// Processor time of one process in one measurement.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Cost {
    /// The measurement.
    pub(crate) of: String,
    /// Microseconds of processor time a job, by process.
    pub(crate) cpu_us_a_job: BTreeMap<&'static str, f64>,
    /// Redis' own time a job by command: calls a job and microseconds a job.
    pub(crate) redis_a_job: BTreeMap<String, (f64, f64)>,
}

/// Everything that a run found.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Report {
    /// The machine, the versions and the options.
    pub(crate) about: BTreeMap<&'static str, String>,
    /// In the order measured.
    pub(crate) figures: Vec<Figure>,
    /// Where the processor time went.
    pub(crate) costs: Vec<Cost>,
}

impl Report {
    /// A figure that is only read, or a floor.
    pub(crate) fn plain(&mut self, name: impl Into<String>, value: f64, unit: &'static str) {
        self.add(name, value, unit, None, None);
    }

    /// A figure with a target, a floor, or both.
    pub(crate) fn add(
        &mut self,
        name: impl Into<String>,
        value: f64,
        unit: &'static str,
        target: Option<Target>,
        floor: Option<&str>,
    ) {
        let reached = target.map(|target| match target {
            Target::AtLeast(least) => value >= least,
            Target::AtMost(most) => value <= most,
        });
        let ratio = floor.and_then(|floor| self.value(floor)).map(|floor| value / floor);
        let floor = ratio.and(floor).map(str::to_owned);
        let figure = Figure { name: name.into(), value, unit, target, reached, floor, ratio };
        say(&line(&figure));
        self.figures.push(figure);
    }

    /// The value of a figure measured before.
    pub(crate) fn value(&self, name: &str) -> Option<f64> {
        self.figures.iter().find(|figure| figure.name == name).map(|figure| figure.value)
    }

    /// The whole table.
    pub(crate) fn table(&self) -> String {
        let mut text = String::new();
        for (key, value) in &self.about {
            push(&mut text, &format!("{key:<12} {value}"));
        }
        push(&mut text, "");
        push(&mut text, &heading());
        for figure in &self.figures {
            push(&mut text, &line(figure));
        }
        for cost in &self.costs {
            push(&mut text, "");
            push(&mut text, &format!("processor time of {}, µs a job:", cost.of));
            for (process, cpu_us) in &cost.cpu_us_a_job {
                push(&mut text, &format!("  {process:<14} {cpu_us:>9.2}"));
            }
            // What is not part of a job (upkeep, the bench's own looks) is in the JSON.
            for (command, (calls, usec)) in cost.redis_a_job.iter().filter(|(_, (_, usec))| *usec >= 0.05) {
                push(&mut text, &format!("    redis {command:<20} {calls:>9.4} calls {usec:>9.3} µs"));
            }
        }
        text
    }

    /// Writes everything as JSON.
    pub(crate) fn write_json(&self, path: &Path) -> anyhow::Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        fs::write(path, text + "\n").with_context(|| format!("cannot write {}", path.display()))
    }
}

fn push(text: &mut String, line: &str) {
    writeln!(text, "{line}").expect("a String takes everything");
}

fn heading() -> String {
    format!("{:<44} {:>12} {:<8} {:>14} {:<5} {}", "figure", "value", "", "target", "", "ratio to floor")
}

fn line(figure: &Figure) -> String {
    let target = match figure.target {
        None => String::new(),
        Some(Target::AtLeast(least)) => format!(">= {}", number(least)),
        Some(Target::AtMost(most)) => format!("<= {}", number(most)),
    };
    let verdict = match figure.reached {
        None => "",
        Some(true) => "ok",
        Some(false) => "MISS",
    };
    let ratio = match (figure.ratio, &figure.floor) {
        (Some(ratio), Some(floor)) => format!("{ratio:.2} x {floor}"),
        _ => String::new(),
    };
    let text = format!(
        "{:<44} {:>12} {:<8} {target:>14} {verdict:<5} {ratio}",
        figure.name,
        number(figure.value),
        figure.unit
    );
    text.trim_end().to_owned()
}

/// A number with as many digits as help: 26,123 and 1.53 and 0.091.
fn number(value: f64) -> String {
    if value.abs() < 10.0 {
        return format!("{value:.3}");
    }
    if value.abs() < 1_000.0 {
        return format!("{value:.1}");
    }
    let digits = format!("{value:.0}");
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 && digit.is_ascii_digit() {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// Prints a line. Standard output is what this program is for; a closed pipe is no reason to fail.
pub(crate) fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::{Report, Target, number};

    #[test]
    fn numbers_read_well() {
        assert_eq!(number(26_123.4), "26,123");
        assert_eq!(number(1_000_000.0), "1,000,000");
        assert_eq!(number(15.31), "15.3");
        assert_eq!(number(0.0912), "0.091");
    }

    #[test]
    fn a_figure_knows_its_target_and_its_ratio() {
        let mut report = Report::default();
        report.plain("floor.x", 100.0, "/s");
        report.add("x", 50.0, "/s", Some(Target::AtLeast(60.0)), Some("floor.x"));
        let figure = &report.figures[1];
        assert_eq!((figure.reached, figure.ratio), (Some(false), Some(0.5)));
        assert!(report.table().contains("MISS"));
    }
}
