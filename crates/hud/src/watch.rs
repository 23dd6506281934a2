//! The loop: newest frame, draw, wait, keys. There is one way out, and it draws the newest frame.

use std::error::Error;
use std::io;
use std::mem::ManuallyDrop;
use std::time::{Duration, Instant};

use crossterm::event::Event;
use ratatui::Terminal;
use ratatui::backend::Backend;

use crate::screen::{Input, Keyboard, Screen, WaitFor, canvas};
use crate::{Frame, Source, View, draw, key};

/// The shortest time between two drawings that no key asked for; 25 a second look continuous.
const PACE: Duration = Duration::from_millis(40);

/// How the HUD looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// Whether colours and other styles are used; `NO_COLOR` says no.
    pub colour: bool,
}

/// Why the HUD could not go on; the run does not depend on it.
#[derive(Debug, thiserror::Error)]
pub enum HudError {
    /// The alternate screen could not be entered.
    #[error("cannot enter the terminal's alternate screen")]
    Enter(#[source] io::Error),
    /// The terminal did not take a frame.
    #[error("cannot draw on the terminal")]
    Draw(#[source] io::Error),
    /// The terminal did not give its keys.
    #[error("cannot read the terminal's keys")]
    Read(#[source] io::Error),
}

/// Shows a run until it is over or the person leaves, and returns the last frame that was drawn,
/// which is the newest.
///
/// Takes the terminal's alternate screen and its keys meanwhile and restores the terminal in every
/// case, also when a thread panics. When the run is over the HUD leaves at once, unless the person
/// holds the log, reads the help or asked to stay. Leaving earlier leaves the run alone.
///
/// # Errors
/// [`HudError`] when the terminal fails; the run can be watched without the HUD then.
pub fn run(source: &mut dyn Source, settings: Settings) -> Result<Frame, HudError> {
    let _screen = Screen::enter().map_err(HudError::Enter)?;
    // ratatui's destructor prints what went wrong on stderr, and that panics when the terminal is
    // gone. There is nothing to destroy: the screen shows the cursor again itself.
    let mut canvas = ManuallyDrop::new(canvas().map_err(HudError::Enter)?);
    let mut input = Keyboard::new().map_err(HudError::Read)?;
    watch(source, settings, &mut canvas, &mut input)
}

fn watch<B>(
    source: &mut dyn Source,
    settings: Settings,
    canvas: &mut Terminal<B>,
    input: &mut dyn Input,
) -> Result<Frame, HudError>
where
    B: Backend,
    B::Error: Error + Send + Sync + 'static,
{
    source.subscribe(input.waker());
    let mut view = View::new(source.frame(), canvas.size().map_err(draw_error)?, settings.colour);
    loop {
        show(source, &mut view, canvas, input)?;
        if view.quit || view.may_leave() {
            // A run that is over may still have got its last words while it was drawn.
            if input.take_rings() {
                show(source, &mut view, canvas, input)?;
            }
            return Ok(view.frame);
        }
        wait(source, &mut view, input)?;
    }
}

/// Takes the newest state and draws it.
fn show<B>(
    source: &mut dyn Source,
    view: &mut View,
    canvas: &mut Terminal<B>,
    input: &mut dyn Input,
) -> Result<(), HudError>
where
    B: Backend,
    B::Error: Error + Send + Sync + 'static,
{
    input.take_rings();
    view.size = canvas.size().map_err(draw_error)?;
    view.refresh(source);
    if std::mem::take(&mut view.repaint) {
        canvas.resize(view.size.into()).map_err(draw_error)?;
    }
    canvas.draw(|frame| draw(frame, view)).map_err(draw_error)?;
    Ok(())
}

fn draw_error(error: impl Error + Send + Sync + 'static) -> HudError {
    HudError::Draw(io::Error::other(error))
}

/// Waits until there is something to draw: keys at once, changes of the source at [`PACE`], and the
/// clock when neither comes.
fn wait(source: &mut dyn Source, view: &mut View, input: &mut dyn Input) -> Result<(), HudError> {
    let drawn = Instant::now();
    let mut until = WaitFor::Anything;
    let mut at_most = source.refresh_interval().max(PACE);
    loop {
        if take_keys(source, view, input)? {
            return Ok(());
        }
        let left = at_most.saturating_sub(drawn.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        input.wait(left, until);
        if until == WaitFor::Anything && drawn.elapsed() < at_most {
            until = WaitFor::Keys;
            at_most = PACE;
        }
    }
}

/// Applies everything that was typed since the last drawing; says whether there was anything.
fn take_keys(source: &mut dyn Source, view: &mut View, input: &mut dyn Input) -> Result<bool, HudError> {
    let mut any = false;
    while let Some(event) = input.next_event().map_err(HudError::Read)? {
        any = true;
        if let Event::Key(event) = event
            && let Some(action) = key(view, event)
        {
            source.act(action);
        }
        if view.quit {
            break;
        }
    }
    Ok(any)
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::VecDeque;
    use std::rc::Rc;
    use std::task::Waker;

    use co_model::{RunStatus, StageStatus};
    use crossterm::event::{KeyCode, KeyEvent};
    use ratatui::backend::TestBackend;

    use super::*;
    use crate::{Action, LogWindow, StageKind, StageRow};

    /// A run that goes on while the HUD waits, and a person at the keys.
    struct World {
        frame: Frame,
        /// Whether the run ends while its state is being drawn, not while the HUD waits.
        ends_while_drawn: bool,
        rung: bool,
        /// What happens at each wait: keys, or a change of the run.
        script: VecDeque<Happening>,
        keys: VecDeque<Event>,
        acted: Vec<Action>,
    }

    enum Happening {
        Key(char),
        Change(fn(&mut Frame)),
        Burst(u32, fn(&mut Frame)),
    }

    #[derive(Clone)]
    struct Shared(Rc<RefCell<World>>);

    impl Source for Shared {
        fn frame(&mut self) -> Frame {
            self.0.borrow().frame.clone()
        }

        fn log(&mut self, _: Option<&str>, _: Option<u64>, _: usize) -> LogWindow {
            let mut world = self.0.borrow_mut();
            // The log is asked for after the frame: here the run moves on between the two.
            if world.ends_while_drawn && world.frame.status_detail.is_none() {
                succeed(&mut world.frame);
                world.frame.status_detail = Some("the last word".to_owned());
                world.rung = true;
            }
            LogWindow::default()
        }

        fn act(&mut self, action: Action) {
            self.0.borrow_mut().acted.push(action);
        }

        fn subscribe(&mut self, _: Waker) {}
    }

    impl Input for Shared {
        fn waker(&self) -> Waker {
            Waker::noop().clone()
        }

        fn next_event(&mut self) -> io::Result<Option<Event>> {
            Ok(self.0.borrow_mut().keys.pop_front())
        }

        fn wait(&mut self, _: Duration, until: WaitFor) {
            let mut world = self.0.borrow_mut();
            if world.rung && until == WaitFor::Anything {
                return;
            }
            match world.script.pop_front() {
                Some(Happening::Key(typed)) => {
                    world.keys.push_back(Event::Key(KeyEvent::from(KeyCode::Char(typed))));
                }
                Some(Happening::Change(change)) => {
                    change(&mut world.frame);
                    world.rung = true;
                }
                Some(Happening::Burst(left, change)) => {
                    change(&mut world.frame);
                    world.rung = true;
                    if left > 1 {
                        world.script.push_front(Happening::Burst(left - 1, change));
                    }
                }
                // Nothing more happens: only the pace makes the HUD look again.
                None if until == WaitFor::Keys => {}
                None => panic!("the HUD waits for something that never comes"),
            }
        }

        fn take_rings(&mut self) -> bool {
            std::mem::take(&mut self.0.borrow_mut().rung)
        }
    }

    fn succeed(frame: &mut Frame) {
        frame.status = RunStatus::Succeeded;
        frame.stages[0].status = StageStatus::Succeeded;
    }

    fn world(script: impl IntoIterator<Item = Happening>) -> World {
        let stage = StageRow {
            id: "build".to_owned(),
            title: "build".to_owned(),
            kind: StageKind::Command,
            status: StageStatus::Running,
            elapsed: None,
            attempt: 1,
            summary: None,
            agent: None,
            depth: 0,
        };
        let frame = Frame {
            run: "r".to_owned(),
            task: "t".to_owned(),
            pipeline: "p".to_owned(),
            status: RunStatus::InProgress,
            status_detail: None,
            elapsed: Duration::ZERO,
            stages: vec![stage],
            question: None,
            manifest: "m".to_owned(),
            log: "l".to_owned(),
        };
        World {
            frame,
            ends_while_drawn: false,
            rung: false,
            script: script.into_iter().collect(),
            keys: VecDeque::new(),
            acted: Vec::new(),
        }
    }

    /// Runs the loop; returns what it returned, the last screen, and the world afterwards.
    fn watch_world(world: World) -> (Frame, String, Shared) {
        let shared = Shared(Rc::new(RefCell::new(world)));
        let mut canvas = Terminal::new(TestBackend::new(60, 12)).unwrap();
        let settings = Settings { colour: false };
        let last = watch(&mut shared.clone(), settings, &mut canvas, &mut shared.clone()).unwrap();
        (last, canvas.backend().to_string(), shared)
    }

    #[test]
    fn the_last_screen_is_the_newest_state_when_the_run_ends_between_two_drawings() {
        let (last, screen, world) = watch_world(world([Happening::Change(succeed)]));
        assert_eq!(last, world.0.borrow().frame);
        assert!(screen.contains("✓ succeeded") && screen.contains("✓ build"), "{screen}");
    }

    #[test]
    fn the_last_screen_is_the_newest_state_when_the_run_ends_while_it_is_drawn() {
        let (last, screen, world) = watch_world(World { ends_while_drawn: true, ..world([]) });
        assert_eq!(last, world.0.borrow().frame);
        assert!(screen.contains("✓ succeeded") && screen.contains("the last word"), "{screen}");
    }

    #[test]
    fn last_words_after_the_end_are_shown_too() {
        let mut over = World { ends_while_drawn: true, ..world([]) };
        succeed(&mut over.frame);
        let (last, screen, world) = watch_world(over);
        assert_eq!(last, world.0.borrow().frame);
        assert!(screen.contains("the last word"), "{screen}");
    }

    #[test]
    fn a_run_that_is_over_from_the_start_is_shown() {
        let mut over = world([]);
        succeed(&mut over.frame);
        let (last, screen, _) = watch_world(over);
        assert_eq!(last.status, RunStatus::Succeeded);
        assert!(screen.contains("✓ succeeded"), "{screen}");
    }

    #[test]
    fn a_burst_of_changes_loses_none_at_the_end() {
        let grow: fn(&mut Frame) = |frame| {
            frame.stages[0].attempt += 1;
            if frame.stages[0].attempt == 1001 {
                succeed(frame);
            }
        };
        let (last, screen, _) = watch_world(world([Happening::Burst(1000, grow)]));
        assert_eq!(last.stages[0].attempt, 1001);
        assert!(screen.contains("attempt 1001"), "{screen}");
    }

    #[test]
    fn quitting_leaves_the_run_alone_and_draws_the_newest_state() {
        let change = |frame: &mut Frame| frame.stages[0].attempt = 5;
        let (last, screen, world) = watch_world(world([Happening::Change(change), Happening::Key('q')]));
        assert_eq!((last.status, last.stages[0].attempt), (RunStatus::InProgress, 5));
        assert!(screen.contains("attempt 5"), "{screen}");
        assert_eq!(world.0.borrow().acted, []);
    }

    #[test]
    fn staying_keeps_the_last_screen_until_the_person_leaves() {
        let (_, screen, world) =
            watch_world(world([Happening::Key('s'), Happening::Change(succeed), Happening::Key('q')]));
        assert!(screen.contains("the run is over · q leaves"), "{screen}");
        assert!(world.0.borrow().script.is_empty(), "the HUD left before the person did");
    }

    #[test]
    fn a_confirmed_cancel_reaches_the_source_and_its_end_is_shown() {
        let end = |frame: &mut Frame| frame.status = RunStatus::Cancelled;
        let (_, screen, world) =
            watch_world(world([Happening::Key('c'), Happening::Key('c'), Happening::Change(end)]));
        assert_eq!(world.0.borrow().acted, [Action::Cancel]);
        assert!(screen.contains("■ cancelled"), "{screen}");
    }
}
