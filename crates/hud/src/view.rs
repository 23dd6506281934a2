//! What the person looks at, and what their keys mean. Owns selection, scrolling and the steps of
//! a cancellation; draws nothing and asks nobody.

use co_model::StageStatus;
use crossterm::event::{KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use ratatui::layout::Size;

use crate::draw::panes;
use crate::{Action, Frame, LogWindow, Source, StageKind};

/// Columns a long line moves per key press.
const PAN_STEP: usize = 16;

/// The newest frame together with the person's way of looking at it.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "independent switches, each with its own key")]
pub struct View {
    pub(crate) frame: Frame,
    pub(crate) log: LogWindow,
    pub(crate) size: Size,
    pub(crate) colour: bool,
    /// The id of the stage whose log is shown; `None` shows the run's.
    pub(crate) selected: Option<String>,
    pub(crate) follow: bool,
    /// The number below which the log is shown while `follow` is off.
    pub(crate) log_end: u64,
    /// Columns left out on the left of the log.
    pub(crate) pan: usize,
    pub(crate) help: bool,
    /// Whether the HUD stays open when the run is over.
    pub(crate) stay: bool,
    pub(crate) cancel: CancelStep,
    /// One line for the footer, until the next key.
    pub(crate) notice: Option<&'static str>,
    /// Whether the person has left; the run goes on.
    pub(crate) quit: bool,
    /// Whether the screen is to be drawn afresh, because something else wrote on it.
    pub(crate) repaint: bool,
}

/// How far the person has gone with cancelling the run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CancelStep {
    /// Nothing asked.
    Idle,
    /// Asked; the next `c` confirms.
    Asked,
    /// Cancelled; the next `c` ends the processes at once.
    Sent,
    /// Ended at once; there is no more to do.
    Forced,
}

impl View {
    /// Begins with the run's own log, following it.
    pub fn new(frame: Frame, size: Size, colour: bool) -> Self {
        Self {
            frame,
            log: LogWindow::default(),
            size,
            colour,
            selected: None,
            follow: true,
            log_end: 0,
            pan: 0,
            help: false,
            stay: false,
            cancel: CancelStep::Idle,
            notice: None,
            quit: false,
            repaint: false,
        }
    }

    /// Takes over the newest state of the source.
    pub fn refresh(&mut self, source: &mut dyn Source) {
        self.frame = source.frame();
        if self.selected.is_some() && self.selected_index().is_none() {
            self.selected = None;
            self.follow = true;
        }
        let rows = self.log_rows();
        let end = (!self.follow).then_some(self.log_end);
        self.log = source.log(self.selected.as_deref(), end, rows);
        // Where the source could not show the asked lines, the place is where it did.
        self.log_end = self.log.first.saturating_add(count(self.log.lines.len()));
    }

    /// Whether the HUD may close by itself when the run is over.
    pub(crate) fn may_leave(&self) -> bool {
        self.frame.is_at_rest() && self.follow && !self.stay && !self.help
    }

    /// The selected stage's place in the frame.
    pub(crate) fn selected_index(&self) -> Option<usize> {
        let id = self.selected.as_deref()?;
        self.frame.stages.iter().position(|stage| stage.id == id)
    }

    /// The stage the list is kept around: the selected one, else the first at work (rather than the
    /// nested pipeline it belongs to), else the first that failed, else the newest that began.
    pub(crate) fn focus(&self) -> usize {
        let stages = &self.frame.stages;
        let at_work = |status| matches!(status, StageStatus::Running | StageStatus::Waiting);
        self.selected_index()
            .or_else(|| {
                stages.iter().position(|stage| at_work(stage.status) && stage.kind != StageKind::Pipeline)
            })
            .or_else(|| stages.iter().position(|stage| at_work(stage.status)))
            .or_else(|| stages.iter().position(|stage| stage.status == StageStatus::Failed))
            .or_else(|| stages.iter().rposition(|stage| stage.status != StageStatus::Pending))
            .unwrap_or(0)
    }

    fn log_rows(&self) -> usize {
        usize::from(panes(self, self.size.into()).log.height)
    }

    fn select(&mut self, index: usize) {
        if let Some(stage) = self.frame.stages.get(index) {
            self.selected = Some(stage.id.clone());
            self.show_newest();
        }
    }

    fn select_next(&mut self) {
        let next = match self.selected_index() {
            Some(index) => (index + 1).min(self.frame.stages.len().saturating_sub(1)),
            None => self.focus(),
        };
        self.select(next);
    }

    fn select_previous(&mut self) {
        let previous = self.selected_index().map_or_else(|| self.focus(), |index| index.saturating_sub(1));
        self.select(previous);
    }

    fn show_newest(&mut self) {
        self.follow = true;
        self.pan = 0;
    }

    fn scroll_up(&mut self, lines: usize) {
        // The window is never shorter than the pane while older lines exist.
        let lowest = count(self.log.lines.len());
        self.log_end = self.log_end.saturating_sub(count(lines)).max(lowest.min(self.log.total));
        self.follow = false;
    }

    fn scroll_down(&mut self, lines: usize) {
        self.log_end = self.log_end.saturating_add(count(lines));
        self.follow = self.log_end >= self.log.total;
    }

    fn cancel(&mut self) -> Option<Action> {
        if self.frame.is_at_rest() {
            self.notice = Some("the run is over");
            return None;
        }
        let (next, action) = match self.cancel {
            CancelStep::Idle => (CancelStep::Asked, None),
            CancelStep::Asked => (CancelStep::Sent, Some(Action::Cancel)),
            CancelStep::Sent => (CancelStep::Forced, Some(Action::CancelNow)),
            CancelStep::Forced => (CancelStep::Forced, None),
        };
        self.cancel = next;
        action
    }

    /// A *no* needs no reading; a *yes* covers only what was wholly on the screen.
    fn answer(&mut self, yes: bool) -> Option<Action> {
        let Some(question) = &self.frame.question else {
            self.notice = Some("no question is open");
            return None;
        };
        if yes && (self.help || !panes(self, self.size.into()).question_is_whole) {
            self.notice = Some("the whole question must be on the screen: enlarge the window");
            return None;
        }
        Some(Action::Answer { question: question.id.clone(), yes })
    }
}

fn count(lines: usize) -> u64 {
    u64::try_from(lines).unwrap_or(u64::MAX)
}

/// Applies a key to the view and returns what it asks of the run.
///
/// Pure apart from the view: what was asked depends only on the frame that was on the screen, so an
/// answer cannot reach a question that came later.
pub fn key(view: &mut View, key: KeyEvent) -> Option<Action> {
    if key.kind != KeyEventKind::Press {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    let is_cancel = matches!(key.code, KeyCode::Char('c' | 'C'));
    view.notice = None;
    if !is_cancel && view.cancel == CancelStep::Asked {
        view.cancel = CancelStep::Idle;
    }
    if key.modifiers.intersects(KeyModifiers::ALT | KeyModifiers::SUPER) {
        return None;
    }
    let page = view.log_rows().max(1);
    match key.code {
        _ if is_cancel => return view.cancel(),
        KeyCode::Char('l') if control => view.repaint = true,
        _ if control => {}
        KeyCode::Char('y') => return view.answer(true),
        KeyCode::Char('n') => return view.answer(false),
        KeyCode::Char('q') => view.quit = true,
        KeyCode::Char('?' | 'h') => view.help = !view.help,
        KeyCode::Char('s') => view.stay = !view.stay,
        KeyCode::Char('f') if view.follow => view.scroll_up(0),
        KeyCode::Char('f') | KeyCode::End => view.show_newest(),
        KeyCode::Char('j') | KeyCode::Tab => view.select_next(),
        KeyCode::Char('k') | KeyCode::BackTab => view.select_previous(),
        KeyCode::Up => view.scroll_up(1),
        KeyCode::Down => view.scroll_down(1),
        KeyCode::PageUp => view.scroll_up(page),
        KeyCode::PageDown => view.scroll_down(page),
        KeyCode::Home => view.scroll_up(usize::MAX),
        KeyCode::Left => view.pan = view.pan.saturating_sub(PAN_STEP),
        KeyCode::Right => view.pan = view.pan.saturating_add(PAN_STEP).min(8192),
        KeyCode::Esc if view.help => view.help = false,
        KeyCode::Esc => {
            view.selected = None;
            view.show_newest();
        }
        _ => {}
    }
    None
}
