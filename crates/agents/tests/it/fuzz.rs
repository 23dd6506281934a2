//! Whatever bytes come: no panic, and memory stays bounded.

use co_agents::AgentReport;
use proptest::prelude::*;

use crate::transcript::read;

/// Bounds a stored report: generous for any real turn, and far below what a hostile one could print.
const REPORT_LIMIT: usize = 16 * 1024 * 1024;

fn size(report: &AgentReport) -> usize {
    serde_json::to_vec(report).unwrap().len()
}

/// Makes pieces of events, some broken, so that the reader is led deep before it stumbles.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let word = prop::sample::select(vec![
        "{\"type\":\"item.completed\",\"item\":{\"type\":\"",
        "{\"type\":\"item.started\",\"item\":{\"id\":\"item_0\",\"id\":\"x\",\"type\":\"",
        "command_execution\",\"command\":",
        "agent_message\",\"text\":\"",
        "file_change\",\"changes\":[{\"path\":\"/tree/",
        "todo_list\",\"items\":[{},7,{\"text\":\"",
        "{\"type\":\"turn.completed\",\"usage\":{\"input_tokens\":-1,\"output_tokens\":1e99}}\n",
        "{\"type\":\"turn.failed\",\"error\":",
        "{\"type\":\"error\",\"message\":null}\n",
        "{\"type\":\"thread.started\",\"thread_id\":\"",
        "\"}}\n",
        "\"}]}}\n",
        "null}\n",
        "\\",
        "\\ud83d",
        "\"",
        "\n",
    ]);
    prop_oneof![
        3 => word.prop_map(|word| word.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 0..20),
        1 => (any::<u8>(), 1_usize..300_000).prop_map(|(byte, length)| vec![byte; length]),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, ..ProptestConfig::default() })]

    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..4000)) {
        let (report, _) = read(bytes.chunks(97));
        prop_assert!(size(&report) < REPORT_LIMIT);
    }

    #[test]
    fn arbitrary_pieces_of_events_never_panic(pieces in prop::collection::vec(piece(), 0..40)) {
        let (report, seen) = read(pieces.iter().map(Vec::as_slice));
        prop_assert!(size(&report) < REPORT_LIMIT);
        for observation in seen {
            prop_assert!(serde_json::to_vec(&observation).unwrap().len() < 1024 * 1024);
        }
    }
}

/// Prints more of everything than a report keeps.
#[test]
fn a_report_stays_bounded_when_an_agent_never_stops() {
    let long = "p".repeat(5000);
    let mut lines = String::new();
    for index in 0..3000 {
        let path = if index < 300 { &long } else { "short" };
        let item = |fields: &str| format!("{{\"type\":\"item.completed\",\"item\":{{{fields}}}}}\n");
        lines += &item(&format!(
            r#""id":"item_{index}","type":"command_execution","command":"{path}","exit_code":0,"status":"completed""#
        ));
        lines += &item(&format!(
            r#""type":"file_change","changes":[{{"path":"/{index}/{path}","kind":"add"}}],"status":"completed""#
        ));
        lines += &item(&format!(r#""type":"error","message":"{index} {path}""#));
        lines += &item(&format!(r#""type":"kind_{index}_{path}""#));
        lines.extend(["garbage ", path, "\n"]);
    }
    let (report, _) = read([lines.as_bytes()]);
    assert_eq!((report.commands.len(), report.commands_omitted), (1000, 2000));
    assert_eq!((report.file_changes.len(), report.file_changes_omitted), (2000, 1000));
    assert_eq!((report.warnings.len(), report.warnings_omitted), (50, 2950));
    assert_eq!((report.unknown_types.len(), report.unknown_types["(other)"]), (32, 3000 - 31));
    assert_eq!(report.garbage_lines, 3000);
    assert!(size(&report) < REPORT_LIMIT, "{}", size(&report));
}

/// A conversation with some of its bytes changed, and cut short.
pub(crate) fn broken(conversation: &str, changes: &[(usize, u8)], end: usize) -> Vec<u8> {
    let mut bytes = conversation.as_bytes().to_vec();
    for &(place, byte) in changes {
        let place = place.min(bytes.len() - 1);
        bytes[place] = byte;
    }
    bytes.truncate(end);
    bytes
}
