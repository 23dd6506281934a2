//! Views that are torn, deleted or gone with their folder: the log has everything.

use std::path::PathBuf;

use super::world::World;

const FAILS: &str = r#"[{ "id": "p", "stages": [
    { "id": "a", "command": "sh ../stage.sh a" },
    { "id": "b", "command": "echo broken >&2; exit 3" }
] }]"#;

#[test]
fn whatever_happens_to_the_views_the_log_restores_them() {
    let world = World::new(FAILS);
    let run = world.project.run(&["start", "--json"]).expect(10).run_id();
    let folder = world.project.path(&format!(".runs/local/cli/{run}"));
    let written = world.files();
    let json: Vec<PathBuf> = written
        .keys()
        .filter(|path| path.extension().is_some_and(|extension| extension == "json"))
        .cloned()
        .collect();
    assert!(json.iter().any(|path| path.ends_with("manifest.json")), "{json:?}");
    assert!(json.iter().any(|path| path.ends_with("metrics.json")), "{json:?}");

    let tear = || {
        let manifest = folder.join("manifest.json");
        let text = std::fs::read_to_string(&manifest).unwrap();
        std::fs::write(&manifest, &text[..text.len() / 2]).unwrap();
    };
    let delete = || std::fs::remove_file(folder.join("manifest.json")).unwrap();
    let delete_folder = || std::fs::remove_dir_all(world.project.path(".runs/local")).unwrap();
    let accidents: [&dyn Fn(); 3] = [&tear, &delete, &delete_folder];
    for accident in accidents {
        accident();
        // What people ask is answered from the log.
        let shown = world.project.run(&["status", "--run", &run, "--json"]).expect(0).json();
        assert_eq!(shown["status"], "failed", "{shown:#}");
        world.project.run(&["rebuild", "--check", "--run", &run]).expect(10);
        world.project.run(&["rebuild", "--run", &run]).expect(0);
        for path in &json {
            let restored = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            assert_eq!(restored, written[path], "{}", path.display());
        }
        world.all_agree();
    }
    world.project.run(&["resume", "--run", &run]).expect(10);
    world.all_agree();
}

#[test]
fn a_folder_that_vanishes_during_the_run_comes_back() {
    let world = World::new(
        r#"[{ "id": "p", "stages": [
            { "id": "a", "command": "rm -rf .runs/local out" },
            { "id": "b", "command": "sh ../stage.sh b" }
        ] }]"#,
    );
    world.project.run(&["start"]).expect(0);
    assert_eq!(world.effects(), ["+b", "-b"]);
    world.all_agree();
}
