//! The messages people see, all in one snapshot that reads as a catalogue.

use std::fmt::Write as _;

use co_config::{LoadError, load};

use crate::corpus::bad_files;
use crate::{bare, repository};

#[test]
fn every_mistake_has_a_message_with_its_place() {
    let mut catalogue = String::new();
    for (name, text) in bad_files() {
        let root = repository(&[("codex.orchestrator.json", &text)]);
        let error = load(root.path(), &bare(root.path())).expect_err(name);
        let LoadError::Invalid { problems, .. } = &error else { panic!("{name}: {error}") };
        for problem in problems {
            let place = format!("{}:{}:{}", problem.file.display(), problem.line, problem.column);
            let shown = problem.to_string().replace(&root.path().display().to_string(), ".");
            assert!(problem.to_string().starts_with(&place), "{name}");
            writeln!(catalogue, "# {name}\n{shown}\n").unwrap();
        }
    }
    insta::assert_snapshot!(catalogue);
}

#[test]
fn all_problems_of_a_file_are_told_together_and_bounded() {
    let stages = vec![r#"{ "id": "", "comand": 1 }"#; 30].join(",\n");
    let text = format!("{{ \"pipelines\": [ {{ \"id\": \"p\", \"stages\": [\n{stages}\n] }} ] }}");
    let root = repository(&[("codex.orchestrator.json", &text)]);
    let error = load(root.path(), &bare(root.path())).unwrap_err();
    let LoadError::Invalid { problems, omitted } = &error else { panic!("{error}") };
    assert_eq!((problems.len(), *omitted > 0), (20, true));
    assert!(problems.is_sorted_by_key(|problem| (problem.line, problem.column)));
    let shown = error.to_string();
    assert!(shown.starts_with(&format!("{} problems in pipeline file `", 20 + omitted)), "{shown}");
    assert!(shown.ends_with(&format!("and {omitted} more")), "{shown}");
}

#[test]
fn a_file_that_is_not_text_is_refused_at_the_first_bad_byte() {
    let root = repository(&[]);
    std::fs::write(root.path().join("codex.orchestrator.json"), b"{\n  \"pipelines\": [\xff] }").unwrap();
    let LoadError::Invalid { problems, .. } = load(root.path(), &bare(root.path())).unwrap_err() else {
        panic!("the bytes are the problem")
    };
    assert_eq!(problems.len(), 1);
    assert_eq!((problems[0].line, problems[0].column), (2, 17));
    assert_eq!(problems[0].message, "the file is not UTF-8 from here on");
}

#[test]
fn a_file_that_cannot_be_the_file_is_refused_without_reading_it() {
    let large = repository(&[("codex.orchestrator.json", &" ".repeat(1024 * 1024 + 1))]);
    let error = load(large.path(), &bare(large.path())).unwrap_err();
    assert!(matches!(error, LoadError::TooLarge { .. }), "{error}");

    let folder = repository(&[("codex.orchestrator.json/x", "")]);
    let error = load(folder.path(), &bare(folder.path())).unwrap_err();
    assert!(matches!(error, LoadError::Read { .. }), "{error}");

    // Neither is a file to wait on: opening a pipe would block for ever.
    let socket = repository(&[]);
    let _listener =
        std::os::unix::net::UnixListener::bind(socket.path().join("codex.orchestrator.json")).unwrap();
    let error = load(socket.path(), &bare(socket.path())).unwrap_err();
    let LoadError::Read { source, .. } = &error else { panic!("{error}") };
    assert_eq!(source.to_string(), "it is not a regular file");
}

#[test]
fn what_is_missing_is_shown_at_the_object_that_lacks_it() {
    let root = repository(&[("codex.orchestrator.json", "// mine\n\n  {}\n")]);
    let LoadError::Invalid { problems, .. } = load(root.path(), &bare(root.path())).unwrap_err() else {
        panic!("the key is missing")
    };
    assert_eq!((problems[0].line, problems[0].column), (3, 3));
}
