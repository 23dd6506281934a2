//! Tests that need the machine for themselves: a crowd of runs, and a full disk.

use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use co_model::RunStatus;

use super::world::World;
use crate::support::{Ended, wait_for};

const SHORT: &str = r#"[{ "id": "p", "stages": [
    { "id": "a", "command": "sh ../stage.sh $CODEX_ORCHESTRATOR_RUN_ID 'sleep 0.1'" },
    { "id": "b", "command": "sleep 0.1" }
] }]"#;

/// Which of fifty are killed, and how many milliseconds after the first start: spread over the
/// whole time that they take, by a fixed sequence, so that a failure can be told again.
fn victims() -> impl Iterator<Item = (usize, u64)> {
    (0..10).map(|index| (index * 5 + 2, (index as u64 * 337 + 50) % 1_900))
}

#[test]
fn fifty_at_once_with_ten_of_them_killed() {
    let world = World::new(SHORT);
    let began = Instant::now();
    let mut programs: Vec<Child> = (0..50).map(|_| world.project.spawn(&["start"])).collect();
    let mut due: Vec<(usize, u64)> = victims().collect();
    due.sort_by_key(|(_, millis)| *millis);
    for (victim, millis) in due {
        wait_for("the moment has come", || (began.elapsed() >= Duration::from_millis(millis)).then_some(()));
        world.every_view_parses();
        programs[victim].kill().unwrap();
    }
    let mut killed = 0;
    for program in &mut programs {
        let status = wait_for("the program ends", || program.try_wait().unwrap());
        killed += usize::from(status.signal() == Some(9));
        assert!(status.success() || status.signal() == Some(9), "{status}");
    }
    assert!(killed > 0, "the machine was so fast that nobody was hit");
    world.project.run(&["recover"]).expect(0);
    world.wait_until_nothing_is_left();
    world.all_agree();
    let heads = world.heads();
    let succeeded = heads.iter().filter(|head| head.progress.status == RunStatus::Succeeded).count();
    assert!(succeeded >= 50 - killed, "{succeeded} of 50, {killed} killed");
    for head in heads.iter().filter(|head| head.progress.status == RunStatus::Interrupted) {
        world.project.run(&["resume", "--run", head.run.as_str()]).expect(0);
    }
    world.all_agree();
    assert!(world.heads().iter().all(|head| head.progress.status == RunStatus::Succeeded));
    assert!(!world.effects().iter().any(|line| line.starts_with("overlap")));
}

/// A small file system at `.runs`, in a mount namespace of its own that a process holds open.
struct SmallDisk {
    world: World,
    holder: Child,
    user_namespace: bool,
}

impl SmallDisk {
    #[track_caller]
    fn mounted(pipelines: &str) -> Self {
        let world = World::new(pipelines);
        let runs = world.project.path(".runs");
        std::fs::create_dir_all(&runs).unwrap();
        let script = "mount -t tmpfs -o size=3m tmpfs \"$0\" && touch ../mounted && exec sleep 600";
        let hold = |options: &str| {
            let mut holder = tool("unshare")
                .args([options, "sh", "-c", script])
                .arg(&runs)
                .current_dir(world.project.root())
                .stderr(Stdio::null())
                .spawn()
                .ok()?;
            let mounted = wait_for("the disk is mounted, or refused", || {
                let refused = holder.try_wait().unwrap().is_some();
                let mounted = world.outside("mounted").exists();
                (refused || mounted).then_some(mounted)
            });
            mounted.then_some(holder)
        };
        let (holder, user_namespace) = match hold("-m") {
            Some(holder) => (holder, false),
            None => (hold("-rm").expect("the machine lets us mount a tmpfs in a namespace of our own"), true),
        };
        Self { world, holder, user_namespace }
    }

    /// A path on the disk, as everybody outside of it can reach it.
    fn path(&self, path: &str) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(self.world.project.path(path).strip_prefix("/").unwrap())
    }

    /// Takes all the space there is.
    fn fill(&self) {
        let mut filler = std::fs::File::create(self.path(".runs/filler")).unwrap();
        let block = [0; 4096];
        while std::io::Write::write_all(&mut filler, &block).is_ok() {}
    }

    fn free(&self) {
        std::fs::remove_file(self.path(".runs/filler")).unwrap();
    }

    /// Runs the program where the disk is.
    fn run(&self, arguments: &[&str]) -> Ended {
        let program = self.world.project.command(arguments);
        let mut command = tool("nsenter");
        command.args(["-t", &self.holder.id().to_string(), "-m"]);
        if self.user_namespace {
            command.args(["-U", "--preserve-credentials"]);
        }
        // Entering puts us into the root directory.
        command.args(["sh", "-c", "cd \"$0\" && exec \"$@\""]).arg(self.world.project.root());
        command.arg(program.get_program()).args(program.get_args());
        command.env_clear().envs(program.get_envs().filter_map(|(name, value)| Some((name, value?))));
        let output = |name| self.world.outside(name);
        let to = |name| std::fs::File::create(output(name)).unwrap();
        let mut child =
            command.stdin(Stdio::null()).stdout(to("stdout")).stderr(to("stderr")).spawn().unwrap();
        let status = wait_for("the program ends on a full disk", || child.try_wait().unwrap());
        let text = |name| String::from_utf8_lossy(&std::fs::read(output(name)).unwrap()).into_owned();
        Ended { status, stdout: text("stdout"), stderr: text("stderr") }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The disk goes with the last process of its namespace.
        drop(self.holder.kill());
        drop(self.holder.wait());
    }
}

#[expect(clippy::disallowed_methods, reason = "tests use the system's tools")]
fn tool(name: &str) -> Command {
    Command::new(name)
}

#[test]
fn a_disk_that_is_full_before_the_start_is_named_and_nothing_runs() {
    let disk = SmallDisk::mounted(SHORT);
    disk.fill();
    let refused = disk.run(&["start"]).expect(13);
    assert!(refused.stderr.contains("no space is left"), "{refused:#?}");
    assert_eq!(disk.world.effects(), Vec::<String>::new());
    disk.free();
    disk.run(&["start"]).expect(0);
    // Full again, with an event log in place, which cannot be opened without some space.
    disk.fill();
    let refused = disk.run(&["runs"]).expect(13);
    assert!(refused.stderr.contains("no space is left"), "{refused:#?}");
    let refused = disk.run(&["start"]);
    assert!([3, 13].contains(&refused.code()), "{refused:#?}");
    assert!(refused.stderr.to_lowercase().contains("no space"), "{refused:#?}");
    disk.free();
    disk.run(&["start"]).expect(0);
    disk.run(&["rebuild", "--check"]).expect(0);
    let runs = disk.run(&["runs", "--json"]).expect(0).json();
    assert_eq!(runs.as_array().unwrap().len(), 2, "{runs:#}");
}

#[test]
fn a_disk_that_a_stage_fills_ends_the_run_in_order() {
    let pipelines = r#"[{ "id": "p", "stages": [
        { "id": "a", "command": "echo first" },
        { "id": "b", "command": "sh ../stage.sh b '[ -e ../quick ] || yes 0123456789 | head -c 20000000'" }
    ] }]"#;
    let disk = SmallDisk::mounted(pipelines);
    let ballast = disk.path(".runs/ballast");
    std::fs::write(&ballast, vec![0; 512 << 10]).unwrap();
    let ended = disk.run(&["start"]);
    assert!([10, 13].contains(&ended.code()), "{ended:#?}");
    assert!(ended.stderr.to_lowercase().contains("no space"), "{ended:#?}");
    assert_eq!(disk.world.marked(), Vec::<i32>::new());
    let logs = disk.path(".runs/local/cli");
    let run = std::fs::read_dir(logs).unwrap().next().unwrap().unwrap().file_name().into_string().unwrap();

    std::fs::remove_file(ballast).unwrap();

    // What was written is all there, in order, to the last byte that fitted.
    let shown = disk.run(&["logs", "--run", &run, "--stage", "b", "--raw"]).expect(0).stdout;
    assert!(shown.len() > 1_000_000, "{} bytes", shown.len());
    let expected = "0123456789\n".repeat(shown.len() / 11 + 1);
    assert_eq!(shown, expected[..shown.len()]);
    assert_eq!(disk.run(&["logs", "--run", &run, "--stage", "a", "--raw"]).expect(0).stdout, "first\n");

    disk.run(&["recover"]).expect(0);
    let runs = disk.run(&["runs", "--json"]).expect(0).json();
    let status = runs[0]["status"].as_str().unwrap();
    assert!(["interrupted", "failed"].contains(&status), "{runs:#}");
    disk.run(&["rebuild", "--check"]).expect(0);
    disk.world.touch("quick");
    disk.run(&["resume", "--run", &run]).expect(0);
    assert_eq!(disk.run(&["status", "--run", &run, "--json"]).expect(0).json()["status"], "succeeded");
    disk.run(&["rebuild", "--check"]).expect(0);
}
