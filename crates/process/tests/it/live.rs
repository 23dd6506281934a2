//! Programs that are written to, resized and signalled while they run.

use co_process::Stream;
use serde_json::json;

use crate::probe::Scenario;

fn live(line: &str) -> Scenario {
    Scenario::shell(line).with("live", true)
}

fn on_terminal(line: &str) -> Scenario {
    live(line).with("pty", json!([24, 80]))
}

#[test]
fn what_is_written_comes_back() {
    let scenario = live("exec cat");
    let mut probe = scenario.start();
    probe.next("started");
    for text in ["one", "two\n", "three €\n"] {
        assert_eq!(probe.ask(&format!("write {}", json!(text))), "Ok(())");
        assert_eq!(probe.output_with(text), text);
    }
    assert_eq!(probe.ask("close"), "Ok(())");
    let report = probe.next("report");
    assert_eq!((report["exit"].as_str(), report["drained"].as_bool()), (Some("Code(0)"), Some(true)));
}

#[test]
fn a_terminal_echoes_and_ends_with_control_d() {
    for (typed, seen) in [("hello\n", "hello\r\nhello\r\n"), ("half", "halfhalf")] {
        let scenario = on_terminal("exec cat");
        let mut probe = scenario.start();
        probe.next("started");
        probe.tell(&format!("write {}", json!(typed)));
        let mut output = probe.output_with(&typed.replace('\n', "\r\n"));
        probe.tell("close");
        while output != seen {
            output.push_str(probe.next("output").as_str().unwrap());
        }
        assert_eq!(probe.next("report")["exit"], "Code(0)", "{typed:?}");
    }
}

#[test]
fn ten_megabytes_go_through_and_back_in_little_memory() {
    for pty in [json!(null), json!([24, 80])] {
        let scenario = live("test ! -t 0 || stty -echo -onlcr; echo go; exec cat").with("pty", pty.clone());
        let mut probe = scenario.start();
        probe.output_with("go");
        assert_eq!(probe.ask("pattern 10000000"), "Ok(())");
        probe.tell("close");
        let report = probe.next("report");
        assert_eq!(report["exit"], "Code(0)");
        let stream = if pty.is_null() { Stream::Stdout } else { Stream::Terminal };
        let found = scenario.stream(stream);
        let wanted = [&[b'p'; 99][..], b"\n"].concat().repeat(100_000);
        assert!(found.ends_with(&wanted) && found.len() < wanted.len() + 10, "{} bytes", found.len());
        let peak = report["peak_rss_kib"].as_u64().unwrap();
        assert!(peak < 16 << 10, "peak RSS {peak} KiB");
    }
}

#[test]
fn an_offer_is_taken_whole_or_not_at_all() {
    let scenario = live("echo ready; wc -c");
    let mut probe = scenario.start();
    probe.output_with("ready");
    assert_eq!(probe.ask("offer 16777217"), "Err(Full { limit: 16777216 })");
    assert_eq!(probe.ask("offer 12000000"), "Ok(())");
    probe.tell("close");
    probe.output_with("12000000");
    assert_eq!(probe.next("report")["exit"], "Code(0)");
}

#[test]
fn the_end_of_the_program_ends_a_waiting_write() {
    let scenario = live("echo ready; read -r line; exit 3");
    let mut probe = scenario.start();
    probe.output_with("ready");
    probe.tell("pattern 5000000");
    let told = probe.line_with("told");
    assert!(["Err(Ended)", "Err(Closed)"].contains(&told["told"].as_str().unwrap()), "{told}");
    assert!(told["undelivered"].as_u64().unwrap() > 0, "{told}");
    assert_eq!(probe.next("report")["exit"], "Code(3)");
}

#[test]
fn a_program_that_closes_its_input_is_told_from_one_that_ended() {
    let scenario = live("trap 'exit 5' INT; exec <&-; echo closed; while :; do sleep 0.05; done");
    let mut probe = scenario.start();
    probe.output_with("closed");
    // The closed pipe is noticed without a write; until then one is still accepted.
    let mut told = probe.ask("write \"a\"");
    while told == "Ok(())" {
        told = probe.ask("write \"a\"");
    }
    assert_eq!(told, "Err(Closed)");
    assert_eq!(probe.ask("interrupt"), "Ok(())");
    assert_eq!(probe.next("report")["exit"], "Code(5)");
}

#[test]
fn a_new_size_is_seen() {
    let scenario = on_terminal("trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.05; done");
    let mut probe = scenario.start();
    probe.output_with("ready");
    assert_eq!(probe.ask("resize 50"), "Ok(())");
    probe.output_with("50 77\r\n");
    assert_eq!(probe.next("report")["exit"], "Code(0)");

    let scenario = live("echo ready; exec cat");
    let mut probe = scenario.start();
    probe.output_with("ready");
    assert_eq!(probe.ask("resize 50"), "Err(NoTerminal)");
    probe.tell("close");
    probe.next("report");
}

#[test]
fn control_c_interrupts_through_the_terminal() {
    let scenario = on_terminal("trap 'echo caught; exit 4' INT; echo ready; while :; do sleep 0.05; done");
    let mut probe = scenario.start();
    probe.output_with("ready");
    probe.tell("write \"\\u0003\"");
    probe.output_with("caught");
    assert_eq!(probe.next("report")["exit"], "Code(4)");
}

#[test]
fn an_interrupt_reaches_everybody_behind_pipes() {
    let scenario = live("trap 'echo caught; exit 4' INT; sh -c 'echo ready; exec sleep 300'; :");
    let mut probe = scenario.start();
    probe.output_with("ready");
    assert_eq!(probe.ask("interrupt"), "Ok(())");
    probe.output_with("caught");
    assert_eq!(probe.next("report")["exit"], "Code(4)");
}

#[test]
fn on_a_terminal_the_foreground_is_interrupted_and_the_shell_stays() {
    let scenario = Scenario::program(&["bash", "--norc", "--noprofile", "-i"]).with("live", true);
    let scenario = scenario.with("pty", json!([24, 80]));
    let mut probe = scenario.start();
    probe.tell("write \"PS1=; stty -echo; echo re''ady\\n\"");
    probe.output_with("ready");
    probe.tell("write \"sh -c 'echo in''side; exec sleep 300'; echo after $?\\n\"");
    probe.output_with("inside");
    assert_eq!(probe.ask("interrupt"), "Ok(())");
    probe.tell("write \"echo re''sult $?\\nexit 6\\n\"");
    probe.output_with("result 130");
    assert_eq!(probe.next("report")["exit"], "Code(6)");
}

#[test]
fn an_observer_may_answer() {
    let scenario =
        live("echo question; read -r line; echo got $line").with("answer", json!(["question", "42\n"]));
    let mut probe = scenario.start();
    assert_eq!(probe.next("answered"), "Ok(())");
    probe.output_with("got 42");
    assert_eq!(probe.next("report")["exit"], "Code(0)");

    // From there a write that would have to wait is refused instead.
    let long = "x".repeat((1 << 20) + 1);
    let scenario = live("echo question; sleep 0.1").with("answer", json!(["question", long]));
    let mut probe = scenario.start();
    assert_eq!(probe.next("answered"), "Err(Full { limit: 1048576 })");
    assert_eq!(probe.next("report")["exit"], "Code(0)");
}

#[test]
fn what_is_taken_out_is_kept_nowhere() {
    let scenario = Scenario::shell("echo my secret word").with("redact", "secret");
    let report = scenario.report();
    assert_eq!(report["stdout"]["text"], "my  word\n(rest)");
    assert_eq!(scenario.stream(Stream::Stdout), b"my  word\n(rest)");
    assert_eq!(scenario.stream(Stream::Stderr), b"(rest)");
    assert_eq!(report["stdout"]["bytes"], 15);
}
