//! Temporary git repositories that nothing of the machine or its person can influence.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Owns a temporary git repository; it is removed on drop.
///
/// Every git command runs with its own `HOME`, without system or user configuration, with a fixed author and a fixed
/// date, so that the same files give the same commit ids everywhere.
#[derive(Debug)]
pub struct Repository {
    directory: TempDir,
    root: PathBuf,
}

impl Repository {
    /// Creates an empty repository on the branch `main`, without a commit.
    ///
    /// # Panics
    /// If git is missing, or if the system's temporary directory lies inside a git repository: everything below it
    /// would be taken for a part of that one.
    pub fn init() -> Self {
        let directory = TempDir::with_prefix("repository-").expect("a temporary directory can be created");
        // The real path: programs under test print it, and tests compare.
        let base = directory.path().canonicalize().expect("a fresh directory has a real path");
        // An empty folder is none: a sandbox keeps the place of one while it is in use.
        let is_repository = |folder: &&Path| {
            let git = folder.join(".git");
            git.is_file() || git.join("HEAD").exists()
        };
        if let Some(outer) = base.ancestors().find(is_repository) {
            panic!("`{}` is a git repository: set TMPDIR to a directory outside of any", outer.display());
        }
        let root = base.join("tree");
        fs::create_dir(&root).expect("a fresh directory can be created");
        fs::create_dir(base.join("home")).expect("a fresh directory can be created");
        let repository = Self { directory, root };
        repository.git(&["init", "--quiet", "--initial-branch=main"]);
        repository
    }

    /// Creates a repository with one commit of these files, given as (relative path, content).
    pub fn with_files(files: &[(&str, &str)]) -> Self {
        let repository = Self::init();
        for (path, content) in files {
            repository.write(path, content);
        }
        repository.commit("first commit");
        repository
    }

    /// Returns the real path of the working tree.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Writes a file of the working tree and the directories above it.
    pub fn write(&self, path: &str, content: impl AsRef<[u8]>) {
        let path = self.root.join(path);
        fs::create_dir_all(path.parent().expect("a file has a parent")).expect("directories can be created");
        fs::write(path, content).expect("a file can be written");
    }

    /// Reads a file of the working tree as text.
    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.root.join(path)).unwrap_or_else(|error| panic!("`{path}`: {error}"))
    }

    /// Commits everything in the working tree, even nothing, and returns the commit's id.
    pub fn commit(&self, message: &str) -> String {
        self.git(&["add", "--all"]);
        self.git(&["commit", "--quiet", "--allow-empty", "--message", message]);
        self.git(&["rev-parse", "HEAD"])
    }

    /// Runs git in the working tree and returns its stdout without the final newline.
    ///
    /// # Panics
    /// If git fails, with its stderr.
    #[expect(clippy::disallowed_methods, reason = "a test tool waits for one short git command")]
    pub fn git(&self, arguments: &[&str]) -> String {
        let output = Command::new("git")
            .args(arguments)
            .current_dir(&self.root)
            .envs(self.environment())
            .env_remove("GIT_DIR")
            .env_remove("GIT_WORK_TREE")
            .env_remove("GIT_INDEX_FILE")
            .output()
            .expect("git is installed");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "git {arguments:?}: {stderr}");
        String::from_utf8_lossy(&output.stdout).trim_end().to_owned()
    }

    /// Returns the variables that isolate git, for programs under test that run it themselves.
    pub fn environment(&self) -> Vec<(OsString, OsString)> {
        let base = self.root.parent().expect("the tree lies inside the temporary directory");
        let pair = |name: &str, value: OsString| (OsString::from(name), value);
        let mut variables = vec![
            pair("HOME", base.join("home").into()),
            pair("XDG_CONFIG_HOME", base.join("home/.config").into()),
            pair("GIT_CONFIG_GLOBAL", "/dev/null".into()),
            pair("GIT_CONFIG_NOSYSTEM", "1".into()),
            pair("GIT_CEILING_DIRECTORIES", base.into()),
        ];
        for role in ["AUTHOR", "COMMITTER"] {
            variables.push(pair(&format!("GIT_{role}_NAME"), "Test".into()));
            variables.push(pair(&format!("GIT_{role}_EMAIL"), "test@example.invalid".into()));
            variables.push(pair(&format!("GIT_{role}_DATE"), "2001-02-03T04:05:06Z".into()));
        }
        variables
    }

    /// Returns the temporary directory around the tree, for files that must not lie in the repository.
    pub fn outside(&self) -> &Path {
        self.directory.path()
    }
}
