//! JavaScript: the scripts `build`, `lint` and `test` that `package.json` really has.
//!
//! The package manager is the one `packageManager` names, else the one whose lock file is there,
//! else npm. Dependencies are installed first when there are some and `node_modules` is missing.
//! A script that only the packages of a workspace have is run in each of them.

use std::fs;

use serde_json::Value;

use super::{Detected, DetectedStage, Look, Purpose, Toolchain};

const LOCK_FILES: [(&str, Toolchain); 4] = [
    ("pnpm-lock.yaml", Toolchain::Pnpm),
    ("yarn.lock", Toolchain::Yarn),
    ("package-lock.json", Toolchain::Npm),
    ("npm-shrinkwrap.json", Toolchain::Npm),
];

/// What `npm init` writes instead of a test; it always fails.
const PLACEHOLDER: &str = "no test specified";

pub(super) fn detect(look: &Look<'_>) -> Option<Detected> {
    let evidence = look.first_file(&["package.json"])?;
    let package: Value = match serde_json::from_str(&look.read(evidence)?) {
        Ok(package) => package,
        Err(error) => {
            look.note(format!("`{evidence}` was not read: {error}"));
            return None;
        }
    };
    let manager = manager(look, &package);
    let program = manager.as_str();
    let members = members(look, manager, &package);
    let purposes = [Purpose::Build, Purpose::Lint, Purpose::Test];
    let mut stages = Vec::new();
    for purpose in purposes {
        let name = purpose.as_str();
        if has_script(&package, name) {
            stages.push(DetectedStage::new(purpose, &[program, "run", name]));
        } else if members.iter().any(|member| has_script(member, name)) {
            match manager {
                Toolchain::Npm => {
                    let everywhere = ["npm", "run", name, "--workspaces", "--if-present"];
                    stages.push(DetectedStage::new(purpose, &everywhere));
                }
                Toolchain::Pnpm => {
                    stages.push(DetectedStage::new(purpose, &["pnpm", "--recursive", "run", name]));
                }
                // Its first version fails in packages without the script, later ones need a plugin.
                _ => look
                    .note(format!("packages of the workspace have a script `{name}`, but the root has not")),
            }
        }
    }
    if stages.is_empty() {
        look.note(format!("`{evidence}` has none of the scripts `build`, `lint` and `test`"));
        return None;
    }
    if needs_install(look, &package) {
        stages.insert(0, DetectedStage::new(Purpose::Install, install(look, manager, &package)));
    }
    Some(Detected { toolchain: manager, evidence: evidence.into(), stages })
}

fn has_script(package: &Value, name: &str) -> bool {
    let line = package.get("scripts").and_then(|scripts| scripts.get(name)?.as_str());
    line.is_some_and(|line| !line.trim().is_empty() && !line.contains(PLACEHOLDER))
}

/// Most packages of a workspace that are looked at.
const MOST_MEMBERS: usize = 200;

/// The `package.json` of the packages of a workspace. Patterns are folders, or folders and `/*`.
fn members(look: &Look<'_>, manager: Toolchain, package: &Value) -> Vec<Value> {
    let mut folders = Vec::new();
    for pattern in member_patterns(look, manager, package) {
        let pattern = pattern.trim_start_matches("./").trim_end_matches('/');
        match pattern.strip_suffix("/*").or_else(|| pattern.strip_suffix("/**")) {
            None => folders.push(pattern.to_owned()),
            Some(parent) => {
                let Ok(entries) = fs::read_dir(look.root.join(parent)) else { continue };
                let names = entries.flatten().filter_map(|entry| entry.file_name().into_string().ok());
                folders.extend(names.take(MOST_MEMBERS).map(|name| format!("{parent}/{name}")));
            }
        }
    }
    let manifests = folders.iter().take(MOST_MEMBERS).map(|folder| format!("{folder}/package.json"));
    let present = manifests.filter(|manifest| look.has_file(manifest));
    present.filter_map(|manifest| serde_json::from_str(&look.read(&manifest)?).ok()).collect()
}

/// What `workspaces` lists, or `packages` in pnpm's own file, of which only plain items are read.
fn member_patterns(look: &Look<'_>, manager: Toolchain, package: &Value) -> Vec<String> {
    const PNPM_FILE: &str = "pnpm-workspace.yaml";
    if manager == Toolchain::Pnpm {
        let text = look.read(PNPM_FILE).unwrap_or_default();
        let items = text.lines().skip_while(|line| line.trim_end() != "packages:").skip(1);
        let items = items.map_while(|line| line.trim().strip_prefix("- "));
        return items.map(|item| item.trim_matches([' ', '"', '\'']).to_owned()).collect();
    }
    let listed = |value: &Value| value.as_array().cloned();
    let workspaces = package.get("workspaces");
    let list = workspaces.and_then(|value| listed(value).or_else(|| listed(value.get("packages")?)));
    list.unwrap_or_default().iter().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// `packageManager` without its version and hash: `pnpm@9.1.0+sha512.…` names pnpm.
fn declared_manager(package: &Value) -> Option<(&str, &str)> {
    let declared = package.get("packageManager")?.as_str()?;
    Some(declared.split_once('@').unwrap_or((declared, "")))
}

fn manager(look: &Look<'_>, package: &Value) -> Toolchain {
    match declared_manager(package).map(|(name, _)| name) {
        Some("npm") => return Toolchain::Npm,
        Some("pnpm") => return Toolchain::Pnpm,
        Some("yarn") => return Toolchain::Yarn,
        Some(other) => {
            look.note(format!("package manager `{}` is not known", crate::problem::shown(other)));
        }
        None => {}
    }
    let mut present = LOCK_FILES.iter().filter(|(file, _)| look.has_file(file));
    let Some((file, manager)) = present.next() else { return Toolchain::Npm };
    if let Some((other, _)) = present.find(|(_, other)| other != manager) {
        look.note(format!("`{file}` and `{other}` are both there; {} is used", manager.as_str()));
    }
    *manager
}

fn needs_install(look: &Look<'_>, package: &Value) -> bool {
    let some = |key: &str| package.get(key).and_then(Value::as_object).is_some_and(|map| !map.is_empty());
    let wanted = ["dependencies", "devDependencies", "optionalDependencies"].into_iter().any(some)
        || package.get("workspaces").is_some()
        || look.has_file("pnpm-workspace.yaml");
    // Yarn's plug'n'play keeps a map instead of the folder.
    let installed =
        look.root.join("node_modules").is_dir() || look.first_file(&[".pnp.cjs", ".pnp.js"]).is_some();
    wanted && !installed
}

/// The command that leaves the repository as it is: lock files are neither changed nor created.
fn install(look: &Look<'_>, manager: Toolchain, package: &Value) -> &'static [&'static str] {
    let locked = LOCK_FILES.iter().any(|(file, owner)| *owner == manager && look.has_file(file));
    match (manager, locked) {
        (Toolchain::Pnpm, true) => &["pnpm", "install", "--frozen-lockfile"],
        (Toolchain::Pnpm, false) => &["pnpm", "install", "--no-lockfile"],
        (Toolchain::Yarn, locked) => {
            let version = declared_manager(package).map_or("", |(_, version)| version);
            let classic = version.starts_with("1.") || (version.is_empty() && !look.has_file(".yarnrc.yml"));
            match (classic, locked) {
                (true, true) => &["yarn", "install", "--frozen-lockfile"],
                (true, false) => &["yarn", "install", "--no-lockfile"],
                (false, true) => &["yarn", "install", "--immutable"],
                // Yarn 2 and later cannot do without the file.
                (false, false) => &["yarn", "install"],
            }
        }
        (_, true) => &["npm", "ci", "--no-audit", "--no-fund"],
        (_, false) => &["npm", "install", "--no-audit", "--no-fund", "--no-package-lock"],
    }
}
