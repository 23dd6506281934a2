//! Obtains a project through the ordinary client and makes a fresh checkout of it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::table::{Project, Registry};
use crate::program::{Program, ProgramError};

/// Why a checkout could not be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum ObtainError {
    /// A client, `tar` or `git` failed.
    #[error("failed to obtain the project")]
    Program(#[from] ProgramError),
    /// A folder could not be made, read or emptied.
    #[error("failed to prepare `{}`", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The client succeeded and left nothing.
    #[error("nothing was downloaded into `{}`", .0.display())]
    Nothing(PathBuf),
}

/// Makes a fresh checkout of a project below `place`; the download is kept for the next time.
///
/// # Errors
/// [`ObtainError`] when it cannot be downloaded or unpacked.
pub(super) fn checkout(project: &Project, place: &Path) -> Result<PathBuf, ObtainError> {
    let called = format!("{}-{}", project.name, project.version);
    let download = place.join("downloads").join(&called);
    if !download.join("complete").is_file() {
        empty(&download)?;
        fetch(project, &download)?;
        write(&download.join("complete"), "")?;
    }
    let folder = place.join(&called);
    empty(&folder)?;
    unpack(project, &download, &folder)?;
    let git = |arguments: &[&str]| {
        let identity = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost"];
        Program::new("git").args(identity).args(arguments).directory(&folder).output()
    };
    git(&["init", "--quiet"])?;
    git(&["add", "--all"])?;
    git(&["commit", "--quiet", "--message", "as published"])?;
    if !project.environment.is_empty() {
        Program::new("python3").args(["-m", "venv", ".venv"]).directory(&folder).output()?;
        let pip = folder.join(".venv/bin/pip");
        Program::new(pip).args(["install", "--quiet"]).args(project.environment).output()?;
    }
    Ok(folder)
}

fn fetch(project: &Project, download: &Path) -> Result<(), ObtainError> {
    let Project { name, version, .. } = project;
    match project.registry {
        Registry::Cargo => {
            // Cargo only downloads what a package depends on. The empty table keeps it from
            // looking for a workspace further up.
            let manifest = format!(
                "[package]\nname = \"obtain\"\nversion = \"0.0.0\"\n[lib]\npath = \"lib.rs\"\n[workspace]\n\
                 [dependencies]\n{name} = \"={version}\"\n"
            );
            write(&download.join("Cargo.toml"), &manifest)?;
            write(&download.join("lib.rs"), "")?;
            Program::cargo().args(["vendor", "--quiet", "vendor"]).directory(download).output()?;
        }
        Registry::Npm => {
            let package = format!("{name}@{version}");
            Program::new("npm").args(["pack", "--silent", &package]).directory(download).output()?;
        }
        Registry::Pip => {
            let source = ["-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"];
            let package = format!("{name}=={version}");
            Program::new("python3").args(source).arg(package).directory(download).output()?;
        }
    }
    Ok(())
}

fn unpack(project: &Project, download: &Path, folder: &Path) -> Result<(), ObtainError> {
    if project.registry == Registry::Cargo {
        let source = download.join("vendor").join(project.name);
        Program::new("cp").arg("--recursive").arg(source.join(".")).arg(folder).output()?;
        // Cargo's own addition. It is no part of what was published.
        let added = folder.join(".cargo-checksum.json");
        return fs::remove_file(&added).map_err(|source| ObtainError::Folder { path: added, source });
    }
    let archive = archive(download)?;
    // Owners in an archive are people elsewhere; git refuses folders that belong to others.
    let options = ["--strip-components=1", "--no-same-owner", "--extract", "--gzip", "--file"];
    Program::new("tar").args(options).arg(archive).directory(folder).output()?;
    Ok(())
}

fn archive(download: &Path) -> Result<PathBuf, ObtainError> {
    let failed = |source| ObtainError::Folder { path: download.to_owned(), source };
    let entries = fs::read_dir(download).map_err(failed)?;
    let mut paths = entries.flatten().map(|entry| entry.path());
    paths
        .find(|path| path.extension().is_some_and(|extension| extension == "tgz" || extension == "gz"))
        .ok_or_else(|| ObtainError::Nothing(download.to_owned()))
}

fn empty(folder: &Path) -> Result<(), ObtainError> {
    let failed = |source| ObtainError::Folder { path: folder.to_owned(), source };
    match fs::remove_dir_all(folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error)),
        _ => {}
    }
    fs::create_dir_all(folder).map_err(failed)
}

fn write(path: &Path, text: &str) -> Result<(), ObtainError> {
    fs::write(path, text).map_err(|source| ObtainError::Folder { path: path.to_owned(), source })
}
