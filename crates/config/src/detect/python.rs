//! Python: tests by pytest or unittest, lint by ruff where the repository configures it.
//!
//! There is no build stage: a Python package has nothing to compile, and `python -m build`
//! needs the network and a module that is seldom there.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Detected, DetectedStage, Look, Purpose, Toolchain, is_foreign};
use crate::files::{Content, read_bounded};

const EVIDENCE: [&str; 5] = ["pyproject.toml", "setup.py", "setup.cfg", "tox.ini", "requirements.txt"];

pub(super) fn detect(look: &Look<'_>) -> Option<Detected> {
    let evidence = look.first_file(&EVIDENCE)?;
    let project = look.has_file("pyproject.toml").then(|| look.read_toml("pyproject.toml")).flatten();
    let tool = |name: &str| project.as_ref().and_then(|table| table.get("tool")?.get(name)).is_some();
    let runner = Runner::new(look);
    let mut stages = Vec::new();
    if tool("ruff") || look.first_file(&["ruff.toml", ".ruff.toml"]).is_some() {
        stages.push(runner.program(Purpose::Lint, "ruff", &["check"]));
    }
    if let Some(test) = test_stage(look, &runner, tool("pytest")) {
        if test.argv.ends_with(&["-m".to_owned(), "pytest".to_owned()]) {
            runner.note_missing_pytest(project.as_ref());
        }
        stages.push(test);
    }
    if stages.is_empty() {
        look.note(format!("`{evidence}` is there, but neither tests nor a ruff configuration"));
        return None;
    }
    Some(Detected { toolchain: Toolchain::Python, evidence: evidence.into(), stages })
}

/// How Python programs of this repository are started.
struct Runner<'l, 'r> {
    look: &'l Look<'r>,
    /// `uv run` and its like, by lock file.
    prefix: &'static [&'static str],
    /// Folder of the repository's own virtual environment.
    environment: Option<&'static str>,
    interpreter: &'static str,
}

impl<'l, 'r> Runner<'l, 'r> {
    fn new(look: &'l Look<'r>) -> Self {
        let locks: [(&str, &'static [&'static str]); 3] =
            [("uv.lock", &["uv", "run"]), ("poetry.lock", &["poetry", "run"]), ("pdm.lock", &["pdm", "run"])];
        let prefix =
            locks.into_iter().find(|(file, _)| look.has_file(file)).map_or(&[][..], |(_, prefix)| prefix);
        let environment = [".venv", "venv"]
            .into_iter()
            .find(|folder| prefix.is_empty() && look.root.join(folder).join("bin/python").is_file());
        let present = |name: &str| look.environment.find_program(name).is_some();
        let interpreter = if !present("python3") && present("python") { "python" } else { "python3" };
        Self { look, prefix, environment, interpreter }
    }

    fn program(&self, purpose: Purpose, name: &str, arguments: &[&str]) -> DetectedStage {
        let own = self.environment.map(|folder| format!("{folder}/bin/{name}"));
        let own = own.filter(|path| self.look.has_file(path));
        let program = [own.as_deref().unwrap_or(name)];
        DetectedStage::new(purpose, &[self.prefix, &program, arguments].concat())
    }

    fn module(&self, purpose: Purpose, arguments: &[&str]) -> DetectedStage {
        let own = self.environment.map(|folder| format!("{folder}/bin/python"));
        let program = match &own {
            Some(own) => own.as_str(),
            // The managers put the environment's `python` first on PATH.
            None if !self.prefix.is_empty() => "python",
            None => self.interpreter,
        };
        let mut stage = DetectedStage::new(purpose, &[self.prefix, &[program, "-m"], arguments].concat());
        // In a `src` layout nothing can be imported before it is installed; a lock file's manager
        // installs, everybody else gets the folder. A path of the user's own is left alone.
        let importable = !self.prefix.is_empty() || self.look.environment.get("PYTHONPATH").is_some();
        if !importable && has_source_layout(self.look.root) {
            stage.env.insert("PYTHONPATH".to_owned(), "src".to_owned());
        }
        stage
    }
}

impl Runner<'_, '_> {
    /// Says how to get pytest where no program of that name is.
    ///
    /// The interpreter may have the module all the same, and asking it would mean starting it:
    /// the note says what was looked for and leaves the verdict to the stage.
    fn note_missing_pytest(&self, project: Option<&toml::Table>) {
        if !self.prefix.is_empty() {
            return;
        }
        let (place, found) = if let Some(folder) = self.environment {
            (format!("in `{folder}`"), self.look.root.join(folder).join("bin/pytest").is_file())
        } else {
            let present = |name| self.look.environment.find_program(name).is_some();
            // Debian calls it `pytest-3`.
            ("on PATH".to_owned(), present("pytest") || present("pytest-3"))
        };
        if found {
            return;
        }
        let (folder, make) = match self.environment {
            Some(folder) => (folder, String::new()),
            None => (".venv", format!("{} -m venv .venv && ", self.interpreter)),
        };
        let own = own_requirement(self.look, project);
        self.look.note(format!(
            "`pytest` was not found {place}; an environment that is used from then on: \
             {make}{folder}/bin/pip install pytest{own}"
        ));
    }
}

/// What else the tests need: the package itself, with the extra that speaks of tests.
fn own_requirement(look: &Look<'_>, project: Option<&toml::Table>) -> String {
    let extras = || project?.get("project")?.get("optional-dependencies")?.as_table();
    let extra = extras().and_then(|extras| {
        ["test", "tests", "testing", "dev"].into_iter().find(|name| extras.contains_key(*name))
    });
    let installable = look.has_file("setup.py")
        || project.is_some_and(|table| table.contains_key("project") || table.contains_key("build-system"));
    let lists = ["requirements-test.txt", "requirements-dev.txt", "requirements.txt"];
    match (installable, extra, look.first_file(&lists)) {
        (true, Some(extra), _) => format!(" -e '.[{extra}]'"),
        (true, None, Some(list)) => format!(" -e . -r {list}"),
        (true, None, None) => " -e .".to_owned(),
        (false, _, Some(list)) => format!(" -r {list}"),
        (false, _, None) => String::new(),
    }
}

fn has_source_layout(root: &Path) -> bool {
    let Ok(entries) = fs::read_dir(root.join("src")) else { return false };
    entries.flatten().take(MOST_ENTRIES).any(|entry| {
        let path = entry.path();
        path.join("__init__.py").is_file() || path.extension().is_some_and(|extension| extension == "py")
    })
}

fn test_stage(look: &Look<'_>, runner: &Runner<'_, '_>, in_project: bool) -> Option<DetectedStage> {
    let configured = in_project
        || look
            .first_file(&[
                "pytest.ini",
                ".pytest.ini",
                "conftest.py",
                "tests/conftest.py",
                "test/conftest.py",
            ])
            .is_some()
        || section(look, "tox.ini", "[pytest]")
        || section(look, "setup.cfg", "[tool:pytest]");
    let tests = TestFiles::find(look.root, !configured);
    if tests.files.is_empty() {
        if !configured {
            return None;
        }
        look.note("pytest is configured, but no test file was found".to_owned());
    }
    if configured || tests.pytest || !tests.unittest {
        return Some(runner.module(Purpose::Test, &["pytest"]));
    }
    // Discovery only descends into packages, so a plain folder is named.
    let plain = |folder: &&str| {
        let path = look.root.join(folder);
        path.is_dir()
            && !path.join("__init__.py").is_file()
            && tests.files.iter().any(|file| file.starts_with(&path))
    };
    Some(match ["tests", "test"].iter().find(|folder| plain(folder)) {
        Some(folder) => runner.module(Purpose::Test, &["unittest", "discover", "-s", folder]),
        None => runner.module(Purpose::Test, &["unittest", "discover"]),
    })
}

fn section(look: &Look<'_>, file: &str, header: &str) -> bool {
    look.has_file(file) && look.read(file).is_some_and(|text| text.lines().any(|line| line.trim() == header))
}

/// Bounds of the search for test files.
const MOST_ENTRIES: usize = 4_000;
const MOST_TEST_FILES: usize = 200;
const DEEPEST: usize = 4;
const LONGEST_TEST_FILE: u64 = 256 * 1024;

#[derive(Default)]
struct TestFiles {
    files: Vec<PathBuf>,
    /// One of them speaks of pytest.
    pytest: bool,
    /// One of them speaks of unittest.
    unittest: bool,
}

impl TestFiles {
    /// Searches the repository, folders in the order of their names; reads the files only when
    /// their style matters.
    fn find(root: &Path, style_matters: bool) -> Self {
        let mut found = Self::default();
        let mut entries_left = MOST_ENTRIES;
        let mut folders = vec![(root.to_owned(), 0)];
        while let Some((folder, depth)) = folders.pop() {
            let Ok(entries) = fs::read_dir(&folder) else { continue };
            let mut entries: Vec<_> = entries.flatten().take(entries_left).collect();
            entries.sort_by_key(|entry| std::cmp::Reverse(entry.file_name()));
            for entry in entries {
                if entries_left == 0 || found.files.len() == MOST_TEST_FILES {
                    return found;
                }
                entries_left -= 1;
                let name = entry.file_name();
                let Some(name) = name.to_str() else { continue };
                // The entry's own type: a symbolic link could lead in circles.
                let Ok(kind) = entry.file_type() else { continue };
                if kind.is_dir() && depth < DEEPEST && !is_foreign(name) {
                    folders.push((entry.path(), depth + 1));
                } else if kind.is_file() && is_test_name(name) {
                    found.add(entry.path(), style_matters);
                }
            }
        }
        found
    }

    fn add(&mut self, path: PathBuf, style_matters: bool) {
        // One that speaks of pytest decides; the rest need not be read.
        if style_matters
            && !self.pytest
            && let Ok(Content::Bytes(bytes)) = read_bounded(&path, LONGEST_TEST_FILE)
        {
            let text = String::from_utf8_lossy(&bytes);
            self.pytest |= text.contains("pytest");
            self.unittest |= text.contains("unittest");
        }
        self.files.push(path);
    }
}

fn is_test_name(name: &str) -> bool {
    name.strip_suffix(".py").is_some_and(|stem| stem.starts_with("test_") || stem.ends_with("_test"))
}
