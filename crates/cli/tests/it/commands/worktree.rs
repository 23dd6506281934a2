//! `start --worktree`: a run in a tree of its own.

use crate::commands::Workshop;

/// The stages say by a file of the repository whether they may succeed, and where they ran.
const STAGES: &str = r#"[{ "id": "a", "command": "pwd; test -e tracked; sh work.sh" }]"#;

fn workshop(work: &str) -> Workshop {
    let project = Workshop::with_stages(STAGES);
    project.repository().write("tracked", "");
    project.repository().write("work.sh", work);
    project.repository().commit("files");
    project
}

fn worktrees(project: &Workshop) -> usize {
    project.repository().git(&["worktree", "list", "--porcelain"]).matches("worktree ").count()
}

#[test]
fn it_is_removed_after_success() {
    let project = workshop("true");
    let ended = project.run(&["start", "--worktree", "--json"]).expect(0);
    let manifest = project.manifest(&ended.run_id());
    let workspace = manifest["workspace"].as_str().unwrap();
    assert!(workspace.contains(&ended.run_id()), "{workspace}");
    let ran_in = project.run(&["logs", "--raw"]).stdout;
    assert_eq!(ran_in.trim(), project.path(workspace).to_str().unwrap());
    assert_eq!(worktrees(&project), 1);
    assert_eq!(project.repository().git(&["branch", "--list", "codex-orchestrator/*"]), "");
    assert_eq!(project.repository().git(&["status", "--porcelain"]), "");
}

#[test]
fn what_exists_nowhere_else_keeps_it() {
    for work in [
        "touch new",
        "echo changed > tracked",
        "git -c user.name=t -c user.email=t@e commit -q --allow-empty -m new",
    ] {
        let project = workshop(work);
        let ended = project.run(&["start", "--worktree", "--json"]).expect(0);
        assert!(ended.stderr.contains("the worktree was kept"), "{work}: {}", ended.stderr);
        assert_eq!(worktrees(&project), 2, "{work}");
        let workspace = project.manifest(&ended.run_id())["workspace"].as_str().unwrap().to_owned();
        assert!(project.path(&workspace).is_dir());
        assert_eq!(project.repository().git(&["status", "--porcelain"]), "", "{work}");
    }
}

#[test]
fn a_failed_run_goes_on_in_its_worktree() {
    let project = workshop("test -e ../repaired");
    let run = project.run(&["start", "--worktree", "--json"]).expect(10).run_id();
    assert_eq!(worktrees(&project), 2);
    std::fs::write(project.path(".runs/worktrees/repaired"), "").unwrap();
    project.run(&["resume", "--run", &run]).expect(0);
    assert_eq!(worktrees(&project), 1);
    let ran_in = project.run(&["logs", "--raw"]).stdout;
    let places: std::collections::HashSet<&str> = ran_in.lines().collect();
    assert_eq!(places.len(), 1, "{ran_in}");
}
