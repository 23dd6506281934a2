//! Starting files load as they are, and their examples do when they are switched on.

use co_config::{detect, load, starter_file};
use co_model::{PipelineSource, Stage};

use crate::schema::{validator, without_comments};
use crate::{bare, repository, write};

const REPOSITORIES: [&[(&str, &str)]; 4] = [
    &[],
    &[("Cargo.toml", "[package]\nname = \"x\"\n")],
    &[
        ("go.mod", "module x\n"),
        ("package.json", r#"{ "scripts": { "test": "vitest" }, "dependencies": { "a": "1" } }"#),
    ],
    &[("setup.py", ""), ("src/x/__init__.py", ""), ("tests/test_x.py", "def test_x(): pass\n")],
];

#[test]
fn starting_files_load_and_are_valid() {
    for files in REPOSITORIES {
        let root = repository(files);
        let before = load(root.path(), &bare(root.path())).unwrap();
        let text = starter_file(&before.detection);
        let value = without_comments(&text).unwrap();
        assert!(validator().is_valid(&value), "{text}");
        write(root.path(), "codex.orchestrator.json", &text);

        let after = load(root.path(), &bare(root.path())).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let own = after.select(None).unwrap();
        assert_eq!(own.source, PipelineSource::Repository);
        // The file says what the built-in pipeline does, so that it can be changed from there.
        if let Ok(built_in) = before.select(None) {
            let said = |stages: &[Stage]| {
                let key = |s: &Stage| (s.id.clone(), s.title.clone(), s.env.clone(), s.needs.clone());
                stages.iter().map(key).collect::<Vec<_>>()
            };
            assert_eq!(said(&own.stages), said(&built_in.stages));
        }
    }
}

#[test]
fn the_examples_in_comments_are_valid() {
    for files in REPOSITORIES {
        let root = repository(files);
        let text = starter_file(&detect(root.path(), &bare(root.path())));
        let marker = "        // ";
        let mut on = false;
        let switched: Vec<&str> = text
            .lines()
            .map(|line| match line.strip_prefix(marker) {
                Some(code) if on => code,
                _ => {
                    on |= line.contains("take away the slashes");
                    line
                }
            })
            .collect();
        write(root.path(), "codex.orchestrator.json", &switched.join("\n"));
        let loaded = load(root.path(), &bare(root.path())).unwrap_or_else(|error| panic!("{error}"));
        let ids: Vec<&str> =
            loaded.select(None).unwrap().stages.iter().map(|stage| stage.id.as_str()).collect();
        assert!(ids.ends_with(&["review-changes", "approve-release", "publish"]), "{ids:?}");
    }
}
