//! Draws a [`View`]. Pure: the same view on the same area gives the same cells. Every state is told
//! by a symbol or a word as well, so that nothing is lost without colour.

use co_model::{RunStatus, StageStatus};
use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::Widget;

use crate::frame::{run_status, stage_symbol};
use crate::text::{column, fit, output, skip, span, spelled, width, wrap};
use crate::view::{CancelStep, View};
use crate::{LogStream, StageKind, StageRow};

/// Where everything is drawn; a pane without room is empty.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Panes {
    header: Rect,
    stages: Rect,
    question: Rect,
    title: Rect,
    pub(crate) log: Rect,
    paths: Rect,
    footer: Rect,
    /// Whether the open question is on the screen to its last character.
    pub(crate) question_is_whole: bool,
}

/// Divides the screen. The header comes first, then the keys, then an open question, then the
/// stages, then the log.
pub(crate) fn panes(view: &View, area: Rect) -> Panes {
    let mut rest = area;
    let mut top = |rows: u16| {
        let rows = rows.min(rest.height);
        let pane = Rect { height: rows, ..rest };
        rest.y += rows;
        rest.height -= rows;
        pane
    };
    let header = top(if area.height >= 10 { 2 } else { 1 });
    let footer_rows = u16::from(area.height >= 2);
    let path_rows = if area.height >= 16 { 2 } else { 0 };
    let mut room = area.height - header.height - footer_rows - path_rows;

    let mut take = |rows: usize, most: u16| {
        let rows = u16::try_from(rows).unwrap_or(u16::MAX).min(most).min(room);
        room -= rows;
        rows
    };
    let (asked, question_is_whole) = question_lines(view, area.width, area.height);
    let everything = u16::MAX;
    let question_rows = take(asked.len(), everything);
    let question_is_whole = question_is_whole && usize::from(question_rows) == asked.len();
    let left = area.height - header.height - footer_rows - path_rows - question_rows;
    let stage_rows = take(stage_lines(view), (left / 2).max(3));
    let title_rows = take(1, everything);
    let log_rows = take(usize::MAX, everything);
    Panes {
        header,
        stages: top(stage_rows),
        question: top(question_rows),
        title: top(title_rows),
        log: top(log_rows),
        paths: top(path_rows),
        footer: top(footer_rows),
        question_is_whole,
    }
}

fn question_lines(view: &View, columns: u16, rows: u16) -> (Vec<String>, bool) {
    view.frame.question.as_ref().map_or((Vec::new(), true), |question| {
        wrap(&question.text, usize::from(columns.saturating_sub(2)), usize::from(rows))
    })
}

/// The rows the stage list would like to have.
fn stage_lines(view: &View) -> usize {
    (0..view.frame.stages.len()).map(|index| 1 + usize::from(shows_agent(view, index))).sum()
}

/// An agent's activity is shown while it works, and for the selected stage afterwards too.
fn shows_agent(view: &View, index: usize) -> bool {
    view.frame.stages.get(index).is_some_and(|stage| {
        let at_work = matches!(stage.status, StageStatus::Running | StageStatus::Waiting);
        stage.agent.is_some() && (at_work || view.selected.as_ref() == Some(&stage.id))
    })
}

/// What a piece of text means; a colour only where colours are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Tone {
    Plain,
    Strong,
    Quiet,
    Good,
    Bad,
    Active,
    Asking,
}

fn style(view: &View, tone: Tone) -> Style {
    let plain = Style::new();
    if !view.colour {
        return plain;
    }
    match tone {
        Tone::Plain => plain,
        Tone::Strong => plain.add_modifier(Modifier::BOLD),
        Tone::Quiet => plain.add_modifier(Modifier::DIM),
        Tone::Good => plain.fg(Color::Green),
        Tone::Bad => plain.fg(Color::Red),
        Tone::Active => plain.fg(Color::Cyan),
        Tone::Asking => plain.fg(Color::Yellow),
    }
}

const fn run_tone(status: RunStatus) -> Tone {
    match status {
        RunStatus::Queued => Tone::Quiet,
        RunStatus::InProgress => Tone::Active,
        RunStatus::Succeeded => Tone::Good,
        RunStatus::Failed => Tone::Bad,
        RunStatus::Interrupted | RunStatus::Cancelled => Tone::Asking,
    }
}

const fn stage_tone(status: StageStatus) -> Tone {
    match status {
        StageStatus::Pending | StageStatus::Skipped => Tone::Quiet,
        StageStatus::Running => Tone::Active,
        StageStatus::Succeeded => Tone::Good,
        StageStatus::Failed => Tone::Bad,
        StageStatus::Waiting | StageStatus::Cancelled => Tone::Asking,
    }
}

/// Draws the whole HUD onto a frame of any size.
pub fn draw(frame: &mut ratatui::Frame<'_>, view: &View) {
    let area = frame.area();
    let panes = panes(view, area);
    let cells = frame.buffer_mut();
    header(cells, panes.header, view);
    footer(cells, panes.footer, view);
    if view.help {
        let body = panes.stages.union(panes.question).union(panes.title).union(panes.log);
        rows(cells, body, HELP.iter().map(|&line| Line::raw(fit(line, usize::from(body.width)))));
        return;
    }
    stages(cells, panes.stages, view);
    question(cells, panes.question, view);
    log(cells, panes.title, panes.log, view);
    paths(cells, panes.paths, view);
}

/// Puts one line on each row of a pane, as far as it goes.
fn rows<'a>(cells: &mut Buffer, pane: Rect, lines: impl IntoIterator<Item = Line<'a>>) {
    for (row, line) in pane.rows().zip(lines) {
        line.render(row, cells);
    }
}

fn header(cells: &mut Buffer, pane: Rect, view: &View) {
    let frame = &view.frame;
    let columns = usize::from(pane.width);
    let (symbol, words) = run_status(frame.status);
    let status = format!("{symbol} {words}");
    let elapsed = span(frame.elapsed);
    let strong = style(view, Tone::Strong);
    let tone = style(view, run_tone(frame.status)).patch(strong);
    let beside_status = columns.saturating_sub(width(&status) + 2);
    let beside_both = beside_status.saturating_sub(width(&elapsed) + 1);
    // As the row gets narrower, the task goes first, then the clock, then the word for the symbol.
    let first = if beside_both >= 8 {
        let what = format!("task {} · {}", spelled(&frame.task), spelled(&frame.pipeline));
        let what = Span::styled(column(&what, beside_both), strong);
        Line::from(vec![Span::styled(status, tone), Span::raw("  "), what, Span::raw(format!(" {elapsed}"))])
    } else if beside_status >= width(&elapsed) {
        Line::from(vec![Span::styled(status, tone), Span::raw(format!("  {elapsed:>beside_status$}"))])
    } else if columns >= width(&status) {
        Line::styled(status, tone)
    } else {
        Line::styled(symbol, tone)
    };
    let mut run = format!("run {}", spelled(&frame.run));
    if let Some(detail) = &frame.status_detail {
        run = format!("{}  {run}", spelled(detail));
    }
    rows(cells, pane, [first, Line::styled(fit(&run, columns), style(view, Tone::Quiet))]);
}

fn stages(cells: &mut Buffer, pane: Rect, view: &View) {
    if view.frame.stages.is_empty() {
        return rows(cells, pane, [Line::styled("no stage yet", style(view, Tone::Quiet))]);
    }
    let height = usize::from(pane.height);
    let columns = usize::from(pane.width);
    let focus = view.focus();
    // Half a pane above the focus is enough to begin with: each stage takes at least one row.
    let begin = focus.saturating_sub(height);
    let title_columns = title_columns(&view.frame.stages, columns);
    let mut lines = Vec::new();
    let mut focus_row = 0;
    for (index, stage) in view.frame.stages.iter().enumerate().skip(begin).take(2 * height + 1) {
        if index == focus {
            focus_row = lines.len();
        }
        lines.push(stage_line(view, stage, columns, title_columns));
        if shows_agent(view, index) {
            lines.push(agent_line(view, stage, columns));
        }
    }
    let agent_rows = usize::from(shows_agent(view, focus));
    let first = (focus_row + agent_rows).saturating_sub(height / 2).min(lines.len().saturating_sub(height));
    rows(cells, pane, lines.into_iter().skip(first.min(focus_row)));
}

/// All titles get the room of the longest one, but never more than half of the row.
fn title_columns(stages: &[StageRow], columns: usize) -> usize {
    let longest =
        stages.iter().map(|stage| 2 * usize::from(stage.depth) + width(&spelled(&stage.title))).max();
    longest.unwrap_or(0).clamp(8, (columns / 2).max(8))
}

fn stage_line<'a>(view: &View, stage: &StageRow, columns: usize, title_columns: usize) -> Line<'a> {
    let is_selected = view.selected.as_ref() == Some(&stage.id);
    let tone = style(view, stage_tone(stage.status));
    let indent = " ".repeat(2 * usize::from(stage.depth.min(16)));
    let label = format!("{indent}{} {}", stage_symbol(stage.status), spelled(&stage.title));
    let marker = if is_selected { "›" } else { " " };
    let elapsed = stage.elapsed.map(span).unwrap_or_default();
    let room = columns.saturating_sub(1);
    if room < title_columns + 12 {
        let short = room.saturating_sub(width(&elapsed) + 1);
        let line =
            if short >= 8 { format!("{} {elapsed}", column(&label, short)) } else { fit(&label, room) };
        return Line::from(vec![Span::raw(marker), Span::styled(line, tone)]);
    }
    let mut rest = String::new();
    if stage.attempt > 1 {
        rest = format!("attempt {}  ", stage.attempt);
    }
    match &stage.summary {
        Some(summary) => rest.push_str(&spelled(summary.lines().next().unwrap_or_default())),
        None if stage.status == StageStatus::Pending => rest.push_str(kind_word(stage.kind)),
        None => {}
    }
    let rest = fit(&rest, room.saturating_sub(title_columns + 2 + 9 + 2));
    let title_tone = if is_selected { style(view, Tone::Strong) } else { Style::new() };
    let rest_tone = if stage.status == StageStatus::Failed { Tone::Bad } else { Tone::Quiet };
    Line::from(vec![
        Span::raw(marker),
        Span::styled(column(&label, title_columns + 2), tone.patch(title_tone)),
        Span::raw(format!("{elapsed:>9}  ")),
        Span::styled(rest, style(view, rest_tone)),
    ])
}

const fn kind_word(kind: StageKind) -> &'static str {
    match kind {
        StageKind::Command => "",
        StageKind::Agent => "agent",
        StageKind::Gate => "gate",
        StageKind::Pipeline => "pipeline",
        StageKind::Mcp => "mcp",
    }
}

fn agent_line<'a>(view: &View, stage: &StageRow, columns: usize) -> Line<'a> {
    let Some(agent) = &stage.agent else { return Line::default() };
    let indent = " ".repeat(2 * usize::from(stage.depth.min(16)));
    let last = output(agent.last.lines().next_back().unwrap_or_default());
    let thread = agent.thread.as_deref().map(|thread| format!("  thread {}", spelled(thread)));
    let text =
        format!("   {indent}└ {} tokens  {last}{}", thousands(agent.tokens), thread.unwrap_or_default());
    Line::styled(fit(&text, columns), style(view, Tone::Active))
}

/// Writes a number with a blank between thousands.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

fn question(cells: &mut Buffer, pane: Rect, view: &View) {
    let (lines, _) = question_lines(view, pane.width, pane.height);
    let lines = lines.into_iter().enumerate().map(|(index, line)| {
        let mark = if index == 0 { "? " } else { "  " };
        Line::styled(format!("{mark}{line}"), style(view, Tone::Asking))
    });
    rows(cells, pane, lines);
}

fn log(cells: &mut Buffer, title: Rect, pane: Rect, view: &View) {
    let columns = usize::from(title.width);
    let whose = view.selected_index().map_or_else(
        || "run log".to_owned(),
        |index| format!("log of {}", spelled(&view.frame.stages[index].title)),
    );
    let window = &view.log;
    let place = if view.follow {
        "following".to_owned()
    } else {
        let shown = u64::try_from(window.lines.len()).unwrap_or(u64::MAX);
        let first = window.first + u64::from(shown > 0);
        format!("lines {first}–{} of {}", window.first + shown, window.total)
    };
    let text = fit(&format!("── {whose} · {place} "), columns);
    let rule = "─".repeat(columns.saturating_sub(width(&text)));
    rows(cells, title, [Line::styled(format!("{text}{rule}"), style(view, Tone::Quiet))]);

    // The newest lines stay when the pane has become smaller since they were asked for.
    let surplus = window.lines.len().saturating_sub(usize::from(pane.height));
    let columns = usize::from(pane.width);
    let lines = window.lines.iter().skip(surplus).map(|line| {
        let tone = match line.stream {
            // Many programs report progress on stderr: it is no bad sign by itself.
            LogStream::Output | LogStream::Error => Tone::Plain,
            LogStream::Note => Tone::Quiet,
        };
        Line::styled(fit(&skip(&output(&line.text), view.pan), columns), style(view, tone))
    });
    rows(cells, pane, lines);
}

fn paths(cells: &mut Buffer, pane: Rect, view: &View) {
    let line = |label, path: &str| {
        Line::styled(
            fit(&format!("{label}{}", spelled(path)), usize::from(pane.width)),
            style(view, Tone::Quiet),
        )
    };
    rows(cells, pane, [line("manifest  ", &view.frame.manifest), line("log       ", &view.frame.log)]);
}

fn footer(cells: &mut Buffer, pane: Rect, view: &View) {
    let is_over = view.frame.is_at_rest();
    let (tone, text) = match (view.notice, view.cancel) {
        (Some(notice), _) => (Tone::Asking, notice.to_owned()),
        _ if is_over => (Tone::Strong, "the run is over · q leaves".to_owned()),
        (None, CancelStep::Asked) => {
            (Tone::Asking, "cancel the run? c confirms, any other key goes on".to_owned())
        }
        (None, CancelStep::Sent) => {
            (Tone::Asking, "cancelling · c again ends it at once · q quit".to_owned())
        }
        (None, CancelStep::Forced) => (Tone::Asking, "ending at once · q quit".to_owned()),
        (None, CancelStep::Idle) => (Tone::Quiet, keys(view)),
    };
    rows(cells, pane, [Line::styled(fit(&text, usize::from(pane.width)), style(view, tone))]);
}

fn keys(view: &View) -> String {
    let mut keys = Vec::new();
    if view.frame.question.is_some() {
        keys.push("y yes · n no");
    }
    keys.push(if view.help { "? back" } else { "q quit · c cancel · ? help" });
    keys.push(if view.follow { "f hold" } else { "f follow" });
    keys.push("j/k stage · ↑/↓ scroll");
    keys.push(if view.stay { "s staying" } else { "s stay" });
    keys.join(" · ")
}

const HELP: [&str; 12] = [
    "q              quit the HUD; the run goes on",
    "c              cancel the run; c again confirms, a third c ends it at once",
    "y  n           answer the open question",
    "j  k  Tab      select the next or previous stage and show its log",
    "Esc            back to the run's log",
    "f              follow the log, or hold it",
    "↑ ↓ PgUp PgDn  scroll the log",
    "Home  End      oldest and newest lines",
    "← →            move along long lines",
    "s              stay when the run is over",
    "Ctrl-L         draw the screen afresh",
    "?              close this help",
];
