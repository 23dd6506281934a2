//! Finds the program of an agent.
//!
//! What npm puts on `PATH` as `codex` is a JavaScript launcher: a fifth of a second of Node for nothing, and one more
//! process between us and the agent's signals. The native program lies in a package beside it, and is what is started.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::Read;
use std::path::{Path, PathBuf};

use crate::driver::PrepareError;

const HINT: &str =
    "install it with `npm install -g @openai/codex`, or set CODEX_ORCHESTRATOR_CODEX to the program";

/// Bounds how much of a program is read to tell a launcher script from a native program.
const SCRIPT_LIMIT: u64 = 16 * 1024;

/// Holds where a program is and what it expects in its environment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    pub(crate) path: PathBuf,
    pub(crate) environment_additions: Vec<(OsString, OsString)>,
}

/// Finds codex: `program` if given, else `codex` on the `PATH` of the agent's environment.
///
/// If that is npm's launcher, the native program of its platform package is returned, with the variables that the
/// launcher would have set; if the package cannot be found, the launcher itself is.
pub(crate) fn find_codex(
    program: Option<&Path>,
    cwd: &Path,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<Program, PrepareError> {
    let found = find(program.unwrap_or(Path::new("codex")), HINT, cwd, environment)?;
    Ok(native_codex(&found).unwrap_or(Program { path: found, environment_additions: Vec::new() }))
}

/// Looks a program up as a shell in `cwd` would; `hint` says how to get it.
pub(crate) fn find(
    program: &Path,
    hint: &'static str,
    cwd: &Path,
    environment: &dyn Fn(&str) -> Option<OsString>,
) -> Result<PathBuf, PrepareError> {
    let not_found =
        |searched| PrepareError::NotFound { program: program.display().to_string(), searched, hint };
    let is_plain_name = program.components().count() == 1 && !program.to_string_lossy().contains('/');
    if !is_plain_name {
        let path = cwd.join(program);
        return if is_program(&path) { Ok(path) } else { Err(not_found(vec![path])) };
    }
    let path = environment("PATH").unwrap_or_default();
    // An empty entry means the working directory to a shell; that is a trap, not a wish, so it is left out.
    let directories: Vec<PathBuf> = std::env::split_paths(&path)
        .filter(|directory| !directory.as_os_str().is_empty())
        .map(|directory| cwd.join(directory))
        .collect();
    match directories.iter().map(|directory| directory.join(program)).find(|path| is_program(path)) {
        Some(path) => Ok(path),
        None => Err(not_found(directories)),
    }
}

#[cfg(unix)]
pub(crate) fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    fs::metadata(path).is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o111 != 0)
}

#[cfg(not(unix))]
pub(crate) fn is_program(path: &Path) -> bool {
    path.is_file()
}

/// Returns the native program behind npm's launcher, if `found` is that launcher and the package is there.
fn native_codex(found: &Path) -> Option<Program> {
    let launcher = launcher(found)?;
    let package = launcher.parent()?.parent()?;
    let (platform, target) = platform()?;
    let name = if cfg!(windows) { "codex.exe" } else { "codex" };
    // Node looks for the platform package in the `node_modules` of every directory upwards. That finds it nested in
    // the package, beside it, hoisted, and in pnpm's store. Older versions carried the programs in the package itself.
    let homes = package
        .ancestors()
        .map(|directory| directory.join("node_modules/@openai").join(platform))
        .chain([package.to_owned()]);
    let path = homes
        .map(|home| home.join("vendor").join(target))
        .flat_map(|home| [home.join("bin").join(name), home.join("codex").join(name)])
        .find(|path| is_program(path))?;
    let text = package.to_string_lossy();
    let manager = if text.contains("/.pnpm/") {
        "CODEX_MANAGED_BY_PNPM"
    } else if text.contains("/.bun/") {
        "CODEX_MANAGED_BY_BUN"
    } else {
        "CODEX_MANAGED_BY_NPM"
    };
    let environment_additions =
        vec![("CODEX_MANAGED_PACKAGE_ROOT".into(), package.into()), (manager.into(), "1".into())];
    Some(Program { path, environment_additions })
}

/// Returns the real path of the package's `bin/codex.js`, if `found` is it or a shell script that starts it.
fn launcher(found: &Path) -> Option<PathBuf> {
    let real = fs::canonicalize(found).ok()?;
    if is_launcher(&real) {
        return Some(real);
    }
    // pnpm, and npm where links are not to be had, write a shell script that names the launcher relative to itself.
    let mut script = Vec::new();
    File::open(&real).ok()?.take(SCRIPT_LIMIT).read_to_end(&mut script).ok()?;
    let script = std::str::from_utf8(&script).ok().filter(|script| script.starts_with("#!"))?;
    let quoted = script.split('"').filter(|part| part.ends_with("bin/codex.js"));
    quoted
        .filter_map(|path| match path.strip_prefix("$basedir/") {
            Some(relative) => fs::canonicalize(real.parent()?.join(relative)).ok(),
            None => fs::canonicalize(path).ok(),
        })
        .find(|path| is_launcher(path))
}

fn is_launcher(path: &Path) -> bool {
    path.ends_with("bin/codex.js") && path.is_file()
}

/// Returns the platform's package and target, as the launcher's own table names them.
fn platform() -> Option<(&'static str, &'static str)> {
    match (std::env::consts::OS, std::env::consts::ARCH) {
        ("linux" | "android", "x86_64") => Some(("codex-linux-x64", "x86_64-unknown-linux-musl")),
        ("linux" | "android", "aarch64") => Some(("codex-linux-arm64", "aarch64-unknown-linux-musl")),
        ("macos", "x86_64") => Some(("codex-darwin-x64", "x86_64-apple-darwin")),
        ("macos", "aarch64") => Some(("codex-darwin-arm64", "aarch64-apple-darwin")),
        ("windows", "x86_64") => Some(("codex-win32-x64", "x86_64-pc-windows-msvc")),
        ("windows", "aarch64") => Some(("codex-win32-arm64", "aarch64-pc-windows-msvc")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use tempfile::TempDir;

    struct Tree(TempDir);

    impl Tree {
        fn new() -> Self {
            Self(TempDir::new().unwrap())
        }

        fn path(&self, path: &str) -> PathBuf {
            self.0.path().canonicalize().unwrap().join(path)
        }

        fn program(&self, path: &str, content: &str) -> PathBuf {
            let path = self.path(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
            path
        }

        fn find(&self, program: Option<&str>, path: &[&str]) -> Result<Program, PrepareError> {
            let path = std::env::join_paths(path.iter().map(|path| self.path(path))).unwrap();
            let environment = |name: &str| (name == "PATH").then(|| path.clone());
            find_codex(program.map(Path::new), &self.path(""), &environment)
        }
    }

    fn native(home: &str) -> String {
        let (platform, target) = platform().unwrap();
        format!("{home}/node_modules/@openai/{platform}/vendor/{target}/bin/codex")
    }

    #[test]
    fn the_first_program_on_the_path_is_taken_and_a_plain_one_is_left_as_it_is() {
        let tree = Tree::new();
        fs::create_dir_all(tree.path("a/codex")).unwrap();
        fs::create_dir_all(tree.path("b")).unwrap();
        fs::write(tree.path("b/codex"), "not executable").unwrap();
        let expected = tree.program("c/codex", "\x7fELF");
        tree.program("d/codex", "\x7fELF");
        let found = tree.find(None, &["a", "b", "c", "d"]).unwrap();
        assert_eq!(found, Program { path: expected, environment_additions: vec![] });
    }

    #[test]
    fn a_missing_program_names_where_it_was_looked_for() {
        let tree = Tree::new();
        let Err(PrepareError::NotFound { program, searched, hint }) = tree.find(None, &["a", "b"]) else {
            panic!("nothing is there");
        };
        assert_eq!((program.as_str(), searched), ("codex", vec![tree.path("a"), tree.path("b")]));
        assert!(hint.contains("npm install"));
        let error = tree.find(Some("./x/codex"), &[]).unwrap_err();
        assert!(error.to_string().contains("x/codex"), "{error}");
        let nowhere = |_: &str| None;
        let error = find_codex(None, Path::new("/"), &nowhere).unwrap_err();
        assert!(error.to_string().ends_with("PATH names no directory"), "{error}");
    }

    #[test]
    fn a_given_program_is_a_path_from_the_working_directory_or_a_name() {
        let tree = Tree::new();
        let expected = tree.program("tools/my-codex", "\x7fELF");
        assert_eq!(tree.find(Some("tools/my-codex"), &[]).unwrap().path, expected);
        assert_eq!(tree.find(Some("my-codex"), &["tools"]).unwrap().path, expected);
    }

    #[test]
    fn the_launcher_of_npm_leads_to_the_native_program_beside_it() {
        let layouts = ["lib", "lib/node_modules/@openai/codex", ""];
        for layout in layouts {
            let tree = Tree::new();
            let launcher =
                tree.program("lib/node_modules/@openai/codex/bin/codex.js", "#!/usr/bin/env node\n");
            let expected = tree.program(native(layout).trim_start_matches('/'), "\x7fELF");
            fs::create_dir_all(tree.path("bin")).unwrap();
            symlink(&launcher, tree.path("bin/codex")).unwrap();
            let found = tree.find(None, &["bin"]).unwrap();
            assert_eq!(found.path, expected, "{layout}");
            let root = launcher.parent().unwrap().parent().unwrap().to_owned();
            let expected =
                [("CODEX_MANAGED_PACKAGE_ROOT", root.into_os_string()), ("CODEX_MANAGED_BY_NPM", "1".into())];
            assert_eq!(found.environment_additions, expected.map(|(name, value)| (name.into(), value)));
        }
    }

    #[test]
    fn the_launcher_of_pnpm_leads_to_the_native_program_in_its_store() {
        let tree = Tree::new();
        let store = "node_modules/.pnpm/@openai+codex@1.0.0/node_modules/@openai";
        tree.program(&format!("{store}/codex/bin/codex.js"), "#!/usr/bin/env node\n");
        let (platform, target) = platform().unwrap();
        let expected = tree.program(&format!("{store}/{platform}/vendor/{target}/bin/codex"), "\x7fELF");
        fs::create_dir_all(tree.path("node_modules/@openai")).unwrap();
        symlink(tree.path(store).join("codex"), tree.path("node_modules/@openai/codex")).unwrap();
        let script = "#!/bin/sh\nbasedir=$(dirname \"$0\")\nexec node  \"$basedir/../@openai/codex/bin/codex.js\" \"$@\"\n";
        tree.program("node_modules/.bin/codex", script);
        let found = tree.find(None, &["node_modules/.bin"]).unwrap();
        assert_eq!(found.path, expected);
        assert_eq!(found.environment_additions[1].0, "CODEX_MANAGED_BY_PNPM");
    }

    #[test]
    fn programs_inside_an_older_package_are_found_and_a_lone_launcher_is_used_as_it_is() {
        let tree = Tree::new();
        let launcher = tree.program("codex/bin/codex.js", "#!/usr/bin/env node\n");
        let path = launcher.to_str().unwrap();
        assert_eq!(tree.find(Some(path), &[]).unwrap().path, launcher);
        let expected =
            tree.program(&format!("codex/vendor/{}/codex/codex", platform().unwrap().1), "\x7fELF");
        assert_eq!(tree.find(Some(path), &[]).unwrap().path, expected);
    }

    #[test]
    fn a_script_of_the_users_own_is_left_as_it_is() {
        let tree = Tree::new();
        let expected = tree.program("bin/codex", "#!/bin/sh\nexec /opt/codex \"$@\"\n");
        assert_eq!(tree.find(None, &["bin"]).unwrap().path, expected);
    }
}
