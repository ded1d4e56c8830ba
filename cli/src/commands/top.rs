//! A live look at a node: rates, queues with the oldest waiting age, runners, the latest failures, Redis. Each look is
//! one call of `stats`, whose cost does not grow with the number of jobs.

use std::{io, time::Duration};

use anyhow::Context as _;
use ratatui::{
    Frame, Terminal,
    backend::{Backend, TermionBackend},
    layout::{Constraint, Layout, Rect},
    style::{Color, Style, Stylize as _},
    termion::{event::Key, input::TermRead as _, raw::IntoRawMode as _, screen::IntoAlternateScreen},
    text::Line,
    widgets::{Block, Cell, Gauge, Paragraph, Row, Sparkline, Table},
};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::{
    args::Top,
    failure::Result,
    node::Node,
    show::{Show, age, first_line, json as print, millis, say, text},
};

pub(crate) async fn top(node: &Node, show: Show, top: &Top) -> Result {
    let first = node.call("stats", json!([])).await?;
    if show.json {
        print(&first);
        return Ok(());
    }
    if top.once || !show.live {
        plain(show, &first);
        return Ok(());
    }
    // What is taken here is given back when it is dropped, however the look ends.
    let screen = io::stdout().into_raw_mode().and_then(IntoAlternateScreen::into_alternate_screen);
    let screen = screen.context("the terminal cannot be taken over; `hero top --once` needs none")?;
    let mut terminal =
        Terminal::new(TermionBackend::new(screen)).context("the terminal cannot be drawn on")?;
    look(&mut terminal, node, first, Duration::from_millis(top.every_ms.into())).await
}

/// Draws until somebody presses q; a node that is away is said, and asked again.
async fn look<B: Backend>(
    terminal: &mut Terminal<B>,
    node: &Node,
    mut stats: Value,
    every: Duration,
) -> Result {
    let mut keys = keys();
    let mut clock = tokio::time::interval(every);
    clock.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut trouble = None;
    let url = node.url();
    loop {
        terminal
            .draw(|frame| draw(frame, &url, &stats, trouble.as_deref()))
            .context("the terminal cannot be drawn on")?;
        tokio::select! {
            key = keys.recv() => match key {
                Some(Key::Char('q') | Key::Esc | Key::Ctrl('c')) | None => return Ok(()),
                Some(_) => {}
            },
            _ = clock.tick() => match node.call("stats", json!([])).await {
                Ok(now) => (stats, trouble) = (now, None),
                Err(failure) => trouble = Some(failure.to_string()),
            },
        }
    }
}

/// The keys that are pressed. Reading them blocks, so a thread of its own does; it ends with the process.
fn keys() -> mpsc::Receiver<Key> {
    let (sender, keys) = mpsc::channel(8);
    std::thread::spawn(move || {
        for key in io::stdin().keys().map_while(io::Result::ok) {
            if sender.blocking_send(key).is_err() {
                return;
            }
        }
    });
    keys
}

fn draw(frame: &mut Frame<'_>, url: &str, stats: &Value, trouble: Option<&str>) {
    let lanes = stats["lanes"].as_array().map_or(0, Vec::len);
    // Beside the lanes stand four lines of runners and Redis.
    let tall = u16::try_from(lanes).unwrap_or(u16::MAX).saturating_add(3).clamp(6, 12);
    let [head, counts, rates, middle, failures, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(7),
        Constraint::Length(tall),
        Constraint::Min(4),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    frame.render_widget(Line::from(format!("hero top  {url}")).bold(), head);
    frame.render_widget(Line::from(counts_line(stats)), counts);
    draw_rates(frame, rates, stats);
    let [left, right] =
        Layout::horizontal([Constraint::Percentage(60), Constraint::Percentage(40)]).areas(middle);
    draw_lanes(frame, left, stats);
    draw_store(frame, right, stats);
    draw_failures(frame, failures, stats);
    let line = match trouble {
        Some(words) => Line::from(words.to_owned()).style(Style::new().fg(Color::Red)),
        None => Line::from("q ends").dim(),
    };
    frame.render_widget(line, foot);
}

fn counts_line(stats: &Value) -> String {
    let of =
        |name: &str| stats["jobs"][name].as_u64().map_or_else(|| "-".to_owned(), |count| count.to_string());
    format!(
        "queued {}  running {}  waiting {}  delayed {}  in error {}  kept {}",
        of("queued"),
        of("started"),
        of("waiting"),
        of("delayed"),
        of("failed"),
        of("kept")
    )
}

fn draw_rates(frame: &mut Frame<'_>, area: Rect, stats: &Value) {
    let halves: [Rect; 2] = Layout::horizontal([Constraint::Percentage(50); 2]).areas(area);
    for (half, name, words, colour) in
        [(halves[0], "created", "in", Color::Blue), (halves[1], "ended", "out", Color::Green)]
    {
        let wide = usize::from(half.width.saturating_sub(2));
        let rates = flow(stats, name);
        let last = rates.last().copied().unwrap_or_default();
        // A tenth of a job a second is one unit, so that slow nodes are seen to live.
        let bars: Vec<u64> =
            rates.iter().skip(rates.len().saturating_sub(wide)).map(|rate| (rate * 10.0) as u64).collect();
        let block = Block::bordered().title(format!(" {last:.1} jobs/s {words} "));
        frame
            .render_widget(Sparkline::default().block(block).data(bars).style(Style::new().fg(colour)), half);
    }
}

fn flow(stats: &Value, name: &str) -> Vec<f64> {
    stats["flow"].as_array().into_iter().flatten().filter_map(|sample| sample[name].as_f64()).collect()
}

fn draw_lanes(frame: &mut Frame<'_>, area: Rect, stats: &Value) {
    let rows = stats["lanes"].as_array().into_iter().flatten().map(|lane| {
        let unserved = lane["runners"] == 0 && lane["waiting"] != 0;
        let row = Row::new(lane_cells(lane).map(Cell::from));
        if unserved { row.style(Style::new().fg(Color::Red)) } else { row }
    });
    let widths = [
        Constraint::Length(8),
        Constraint::Min(8),
        Constraint::Length(9),
        Constraint::Length(10),
        Constraint::Length(8),
    ];
    let header = Row::new(["TYPE", "CIRCLE", "WAITING", "OLDEST", "RUNNERS"]).style(Style::new().dim());
    frame.render_widget(
        Table::new(rows, widths).header(header).block(Block::bordered().title(" queues ")),
        area,
    );
}

fn lane_cells(lane: &Value) -> [String; 5] {
    [
        text(lane, "script_type").unwrap_or_default().to_owned(),
        text(lane, "circle").map_or_else(|| "-".to_owned(), |key| key.chars().take(12).collect()),
        lane["waiting"].to_string(),
        lane["oldest_ms"].as_u64().map_or_else(|| "-".to_owned(), millis),
        lane["runners"].to_string(),
    ]
}

fn draw_store(frame: &mut Frame<'_>, area: Rect, stats: &Value) {
    let block = Block::bordered().title(" runners and Redis ");
    let inner = block.inner(area);
    frame.render_widget(block, area);
    let [runners, slots, memory, persistence] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(0),
    ])
    .areas(inner);
    frame.render_widget(Line::from(runners_line(stats)), runners);
    let of = |name: &str| stats["runners"][name].as_u64().unwrap_or_default();
    gauge(
        frame,
        slots,
        of("busy"),
        of("slots"),
        format!("{} of {} slots busy", of("busy"), of("slots")),
        1.1,
    );
    let store = &stats["store"];
    if store.is_null() {
        return;
    }
    let used = store["used_bytes"].as_u64().unwrap_or_default();
    let budget = store["max_bytes"].as_u64().or(store["machine_bytes"].as_u64()).unwrap_or_default();
    gauge(frame, memory, used, budget, memory_words(store), 0.8);
    let saved = if store["is_saved"] == true { Color::Green } else { Color::Red };
    let words = Paragraph::new(store_words(store)).style(Style::new().fg(saved));
    frame.render_widget(words, persistence);
}

fn gauge(frame: &mut Frame<'_>, area: Rect, used: u64, of: u64, words: String, high: f64) {
    let ratio = if of == 0 { 0.0 } else { (used as f64 / of as f64).clamp(0.0, 1.0) };
    let colour = if ratio > high { Color::Red } else { Color::Blue };
    frame
        .render_widget(Gauge::default().ratio(ratio).label(words).gauge_style(Style::new().fg(colour)), area);
}

fn runners_line(stats: &Value) -> String {
    let of = |name: &str| stats["runners"][name].as_u64().unwrap_or_default();
    format!("{} alive, {} draining, {} lost", of("alive"), of("draining"), of("lost"))
}

fn memory_words(store: &Value) -> String {
    let mib = |name: &str| store[name].as_u64().map(|bytes| format!("{} MiB", bytes >> 20));
    let used = mib("used_bytes").unwrap_or_default();
    match mib("max_bytes") {
        Some(most) => format!("{used} of {most}"),
        None => format!("{used}, no limit"),
    }
}

fn store_words(store: &Value) -> String {
    let health = if store["is_saved"] == true { "written well" } else { "NOT WRITTEN" };
    let persistence = text(store, "persistence").unwrap_or_default();
    format!("Redis {}, persistence: {persistence}, {health}", text(store, "version").unwrap_or_default())
}

fn draw_failures(frame: &mut Frame<'_>, area: Rect, stats: &Value) {
    let rows = stats["failures"].as_array().into_iter().flatten().map(|it| Row::new(failure_cells(it)));
    let widths =
        [Constraint::Length(37), Constraint::Length(20), Constraint::Length(14), Constraint::Min(10)];
    let header = Row::new(["JOB", "WHY", "ENDED", "ERROR"]).style(Style::new().dim());
    let block = Block::bordered().title(" latest failures ");
    frame.render_widget(Table::new(rows, widths).header(header).block(block), area);
}

fn failure_cells(it: &Value) -> [String; 4] {
    let of = |name| text(it, name).unwrap_or_default();
    [
        of("job_id").to_owned(),
        of("error_kind").to_owned(),
        age(text(it, "finished_at")),
        // What a job has written must not move the cursor.
        first_line(of("error"), 200),
    ]
}

/// The same in words, where no terminal is there to be drawn on.
fn plain(show: Show, stats: &Value) {
    let rate =
        |name| flow(stats, name).last().map_or_else(|| "-".to_owned(), |rate| format!("{rate:.1} jobs/s"));
    show.facts(&[
        ("jobs", Some(counts_line(stats))),
        ("in", Some(rate("created"))),
        ("out", Some(rate("ended"))),
        ("runners", Some(runners_line(stats))),
        ("memory", stats["store"].is_object().then(|| memory_words(&stats["store"]))),
        ("store", stats["store"].is_object().then(|| store_words(&stats["store"]))),
    ]);
    say("");
    let rows =
        stats["lanes"].as_array().into_iter().flatten().map(|lane| lane_cells(lane).to_vec()).collect();
    show.table(&["TYPE", "CIRCLE", "WAITING", "OLDEST", "RUNNERS"], rows, "no queues");
    let rows: Vec<_> =
        stats["failures"].as_array().into_iter().flatten().map(|it| failure_cells(it).to_vec()).collect();
    if !rows.is_empty() {
        say("");
        show.table(&["JOB", "WHY", "ENDED", "ERROR"], rows, "");
    }
}

#[cfg(test)]
mod tests {
    use ratatui::{Terminal, backend::TestBackend};
    use serde_json::json;

    use super::draw;

    #[test]
    fn a_look_shows_what_matters_on_a_small_terminal_and_on_a_large_one() {
        let stats = json!({
            "jobs": {"kept": 9, "queued": 3, "delayed": 0, "waiting": 1, "started": 2, "failed": 1},
            "lanes": [{"script_type": "Python", "circle": null, "waiting": 3, "oldest_ms": 65_000, "runners": 0}],
            "runners": {"alive": 1, "draining": 0, "lost": 0, "slots": 8, "busy": 2},
            "flow": [{"at": "", "created": 12.5, "ended": 7.0}],
            "failures": [{"job_id": "j", "error_kind": "timeout", "error": "out\u{1b}[2J of time", "finished_at": null}],
            "store": {"version": "7.0", "used_bytes": 3 << 20, "max_bytes": 8 << 20, "machine_bytes": 0,
                      "persistence": "log", "is_saved": true, "warnings": []},
        });
        for (width, height) in [(40, 12), (120, 40)] {
            let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
            terminal.draw(|frame| draw(frame, "http://here", &stats, Some("away"))).unwrap();
            let shown = terminal.backend().to_string();
            assert!(shown.contains("queued 3"), "{shown}");
            if width == 120 {
                for words in [
                    "12.5 jobs/s in",
                    "7.0 jobs/s out",
                    "1m05s",
                    "3 MiB of 8 MiB",
                    "2 of 8 slots",
                    "timeout",
                    "away",
                ] {
                    assert!(shown.contains(words), "{words}: {shown}");
                }
                assert!(!shown.contains('\u{1b}'));
            }
        }
        let mut terminal = Terminal::new(TestBackend::new(80, 24)).unwrap();
        terminal.draw(|frame| draw(frame, "", &json!({}), None)).unwrap();
    }
}
