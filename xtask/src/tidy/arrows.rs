//! Who may use whom. Arrows point down only, and siblings do not know each other.

use std::collections::BTreeMap;
use std::fmt::Write;

use cargo_metadata::{DependencyKind, Metadata};

use super::Finding;

/// Where findings of this rule are reported.
pub(super) const PLACE: &str = "arrows between crates";

/// A package and what it may use.
struct Room {
    floor: u8,
    package: &'static str,
    /// What the product's code may use.
    uses: &'static [&'static str],
    /// What its tests may use besides; every test may use the test kit.
    tests_use: &'static [&'static str],
}

const TEST_KIT: &str = "co-testkit";

/// The whole plan of the house, from the ground up. This table is the only place that says it.
const ROOMS: &[Room] = &[
    Room { floor: 1, package: "co-model", uses: &[], tests_use: &[] },
    Room { floor: 2, package: "co-policy", uses: &["co-model"], tests_use: &[] },
    Room { floor: 2, package: "co-engine", uses: &["co-model", "co-policy"], tests_use: &[] },
    Room { floor: 2, package: "co-log", uses: &["co-model"], tests_use: &[] },
    Room { floor: 2, package: "co-views", uses: &["co-model", "co-engine"], tests_use: &[] },
    Room { floor: 3, package: "co-process", uses: &[], tests_use: &[] },
    Room { floor: 3, package: "co-privacy", uses: &[], tests_use: &[] },
    Room { floor: 3, package: "co-sandbox", uses: &["co-model"], tests_use: &["co-process"] },
    Room { floor: 3, package: "co-sessions", uses: &["co-model", "co-process"], tests_use: &[] },
    Room { floor: 3, package: "co-telemetry", uses: &["co-model"], tests_use: &[] },
    Room { floor: 3, package: "co-agents", uses: &["co-model"], tests_use: &[] },
    Room { floor: 3, package: "co-config", uses: &["co-model"], tests_use: &["co-policy"] },
    Room { floor: 3, package: "co-git", uses: &["co-process"], tests_use: &[] },
    Room { floor: 3, package: "co-log-sqlite", uses: &["co-model", "co-log"], tests_use: &[] },
    Room {
        floor: 4,
        package: "co-runtime",
        uses: &[
            "co-model",
            "co-log",
            "co-engine",
            "co-views",
            "co-process",
            "co-agents",
            "co-config",
            "co-git",
            "co-policy",
            "co-privacy",
            "co-sandbox",
            "co-sessions",
            "co-telemetry",
        ],
        tests_use: &["co-log-sqlite"],
    },
    Room {
        floor: 5,
        package: "co-mcp",
        uses: &["co-model", "co-views", "co-runtime", "co-sessions", "co-engine", "co-config", "co-log"],
        tests_use: &[],
    },
    Room { floor: 5, package: "co-hud", uses: &["co-model", "co-views"], tests_use: &["co-engine"] },
    Room {
        floor: 5,
        package: "codex-orchestrator",
        uses: &[
            "co-model",
            "co-log",
            "co-log-sqlite",
            "co-views",
            "co-process",
            "co-agents",
            "co-config",
            "co-git",
            "co-runtime",
            "co-hud",
            "co-mcp",
            "co-policy",
            "co-privacy",
            "co-sandbox",
            "co-sessions",
            "co-telemetry",
            // Plans and states are values; the cli shows them and asks the engine for nothing else.
            "co-engine",
        ],
        tests_use: &[],
    },
    // Tools beside the house: nothing of the product may use them.
    Room { floor: 0, package: TEST_KIT, uses: &[], tests_use: &[] },
    Room { floor: 0, package: "xtask", uses: &[], tests_use: &[] },
    Room {
        floor: 0,
        package: "xtask-bench",
        uses: &["xtask", "co-model", "co-log", "co-log-sqlite", "co-engine", "co-policy", "co-sessions"],
        tests_use: &[],
    },
];

/// What a package of the workspace uses of the workspace.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Uses {
    code: Vec<String>,
    tests: Vec<String>,
}

/// Reads the arrows between the packages of the workspace.
pub(super) fn arrows_of(metadata: &Metadata) -> BTreeMap<String, Uses> {
    let mut arrows = BTreeMap::new();
    for package in metadata.workspace_packages() {
        let mut uses = Uses::default();
        for dependency in &package.dependencies {
            if dependency.path.is_none() {
                continue;
            }
            let list = match dependency.kind {
                DependencyKind::Development => &mut uses.tests,
                _ => &mut uses.code,
            };
            list.push(dependency.name.clone());
        }
        arrows.insert(package.name.to_string(), uses);
    }
    arrows
}

/// Compares the arrows with the table.
pub(super) fn check(arrows: &BTreeMap<String, Uses>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut report = |message: String| findings.push(Finding::new(PLACE, message));
    for (package, uses) in arrows {
        let Some(room) = ROOMS.iter().find(|room| room.package == package) else {
            report(format!("`{package}` has no line in the table; add it in xtask/src/tidy/arrows.rs"));
            continue;
        };
        for used in uses.code.iter().filter(|used| !room.uses.contains(&used.as_str())) {
            report(format!("`{package}` must not use `{used}`"));
        }
        for used in uses.tests.iter().map(String::as_str) {
            if used != TEST_KIT && !room.uses.contains(&used) && !room.tests_use.contains(&used) {
                report(format!("the tests of `{package}` must not use `{used}`"));
            }
        }
    }
    for room in ROOMS.iter().filter(|room| !arrows.contains_key(room.package)) {
        report(format!("`{}` is in the table but not in the workspace", room.package));
    }
    findings
}

/// Draws the table, for people who have just broken it.
pub(super) fn table() -> String {
    let mut text = String::from("allowed arrows (floor, package -> what it may use [its tests besides]):\n");
    for room in ROOMS {
        let uses = if room.uses.is_empty() { "-".to_owned() } else { room.uses.join(", ") };
        // Writing to a string cannot fail.
        write!(text, "  {} {} -> {uses}", room.floor, room.package).ok();
        if !room.tests_use.is_empty() {
            write!(text, " [{}]", room.tests_use.join(", ")).ok();
        }
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn floor(package: &str) -> u8 {
        ROOMS.iter().find(|room| room.package == package).unwrap().floor
    }

    /// The arrows of the table itself, with one package's replaced.
    fn with(package: &str, code: &[&str], tests: &[&str]) -> BTreeMap<String, Uses> {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        let mut arrows: BTreeMap<String, Uses> = ROOMS
            .iter()
            .map(|room| (room.package.to_owned(), Uses { code: owned(room.uses), tests: Vec::new() }))
            .collect();
        arrows.insert(package.to_owned(), Uses { code: owned(code), tests: owned(tests) });
        arrows
    }

    fn messages(arrows: &BTreeMap<String, Uses>) -> Vec<String> {
        check(arrows).into_iter().map(|finding| finding.message).collect()
    }

    #[test]
    fn the_table_points_down_only() {
        for (index, room) in ROOMS.iter().enumerate() {
            for used in room.uses {
                assert!(floor(used) <= room.floor || room.floor == 0, "{} -> {used}", room.package);
                let below = ROOMS.iter().position(|other| other.package == *used).unwrap();
                assert!(below < index, "{} comes before {used}, which it uses", room.package);
            }
        }
    }

    #[test]
    fn a_forbidden_arrow_is_named() {
        assert!(messages(&with("co-engine", &["co-model"], &[TEST_KIT])).is_empty());
        assert_eq!(messages(&with("co-engine", &["co-log"], &[])), ["`co-engine` must not use `co-log`"]);
        assert_eq!(
            messages(&with("co-git", &[TEST_KIT], &["co-config"])),
            ["`co-git` must not use `co-testkit`", "the tests of `co-git` must not use `co-config`"]
        );
    }

    #[test]
    fn a_package_without_a_line_is_named() {
        let found = messages(&with("co-utils", &[], &[]));
        assert_eq!(found.len(), 1);
        assert!(found[0].starts_with("`co-utils` has no line"), "{found:?}");
    }

    #[test]
    fn a_line_without_a_package_is_named() {
        let mut arrows = with("co-git", &[], &[]);
        arrows.remove("co-git");
        assert_eq!(messages(&arrows), ["`co-git` is in the table but not in the workspace"]);
    }
}
