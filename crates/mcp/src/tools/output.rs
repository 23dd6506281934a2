//! `run_logs`: pieces of what a stage has printed.

use std::fs::File;
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::path::Path;

use co_engine::StageState;
use co_model::StageId;
use co_runtime::RunSnapshot;

use super::answers::Log;
use super::{arguments, run_id};
use crate::desk::Desk;
use crate::host::{Host, Refusal};

/// The most bytes of output in one answer.
const LARGEST: u32 = 256 << 10;
/// The fewest: a whole code point always fits.
const SMALLEST: u32 = 4;

pub(super) async fn run_logs(
    desk: &Desk,
    arguments: Result<arguments::RunLogs, Refusal>,
) -> Result<Log, Refusal> {
    let arguments = arguments?;
    let run = run_id(&arguments.run_id)?;
    let stage = StageId::new(arguments.stage).map_err(Refusal::usage)?;
    if !(SMALLEST..=LARGEST).contains(&arguments.limit) {
        let message = format!("`limit` is {}; {SMALLEST} to {LARGEST} are allowed", arguments.limit);
        return Err(Refusal::usage(message));
    }
    let (attempt, offset, limit) = (arguments.attempt, arguments.offset, arguments.limit);
    let snapshot = desk.snapshot(&run).await?;
    desk.ask(move |host| read(host, &snapshot, &stage, attempt, (offset, limit))).await
}

fn read(
    host: &dyn Host,
    snapshot: &RunSnapshot,
    stage: &StageId,
    attempt: Option<u32>,
    (offset, limit): (i64, u32),
) -> Result<Log, Refusal> {
    let state = &snapshot.state;
    let Some(record) = state.stage(stage) else {
        let known: Vec<&str> = state.stages.iter().map(|record| record.id().as_str()).collect();
        let mut refusal =
            Refusal::new(Refusal::NOT_FOUND, format!("run `{}` has no stage `{stage}`", state.run()));
        refusal.hints.push(format!("its stages: {}", known.join(", ")));
        return Err(refusal);
    };
    let Some(number) = attempt.or_else(|| record.attempts.last().map(|attempt| attempt.number)) else {
        return Err(Refusal::new(
            Refusal::NOT_FOUND,
            format!("stage `{stage}` has not begun to run a program"),
        ));
    };
    if !record.attempts.iter().any(|attempt| attempt.number == number) {
        let message = match record.attempts.len() {
            1 => format!("stage `{stage}` has 1 attempt; there is no attempt {number}"),
            count => format!("stage `{stage}` has {count} attempts; there is no attempt {number}"),
        };
        return Err(Refusal::new(Refusal::NOT_FOUND, message));
    }
    let over = record.state != StageState::Attempting { attempt: number };
    let orchestrator = host.orchestrator()?;
    let path = orchestrator.layout().attempt_log(&state.created.task, state.run(), stage, number);
    let piece = piece(&path, offset, limit, over).map_err(|error| {
        Refusal::new(3, format!("failed to read `{}`: {error}", orchestrator.layout().show(&path)))
    })?;
    let next_offset = piece.offset + piece.bytes.len() as u64;
    Ok(Log {
        run_id: state.run().to_string(),
        stage_id: stage.to_string(),
        attempt: number,
        offset: piece.offset,
        next_offset,
        size: piece.size,
        complete: over && next_offset >= piece.size,
        text: host.harmless(&piece.bytes),
    })
}

struct Piece {
    offset: u64,
    size: u64,
    bytes: Vec<u8>,
}

/// Reads at most `limit` bytes that end where a line or a code point does, so that neither text
/// nor a terminal escape is torn between two pieces unless a single line is longer.
fn piece(path: &Path, offset: i64, limit: u32, over: bool) -> io::Result<Piece> {
    let mut file = match File::open(path) {
        Ok(file) => file,
        // The attempt has not begun to write.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(Piece { offset: 0, size: 0, bytes: Vec::new() });
        }
        Err(error) => return Err(error),
    };
    let size = file.metadata()?.len();
    let begin = match u64::try_from(offset) {
        Ok(offset) => offset.min(size),
        Err(_) => size.saturating_sub(offset.unsigned_abs()),
    };
    file.seek(SeekFrom::Start(begin))?;
    let mut bytes = Vec::new();
    file.take(u64::from(limit)).read_to_end(&mut bytes)?;
    // A reader that goes on where it ended is where a piece ends; one that counts from the end is not.
    let torn = if offset < 0 && begin > 0 { continuation(&bytes) } else { 0 };
    bytes.drain(..torn);
    let begin = begin + torn as u64;
    let reaches_end = begin + bytes.len() as u64 >= size;
    if !(reaches_end && over) {
        bytes.truncate(whole(&bytes, reaches_end));
    }
    Ok(Piece { offset: begin, size, bytes })
}

/// How many bytes at the beginning belong to a code point that began before.
fn continuation(bytes: &[u8]) -> usize {
    bytes.iter().take(3).take_while(|byte| *byte & 0xC0 == 0x80).count()
}

/// How much of `bytes` ends with a line, or at least with a code point.
fn whole(bytes: &[u8], reaches_end: bool) -> usize {
    if !reaches_end && let Some(line_end) = bytes.iter().rposition(|byte| *byte == b'\n') {
        return line_end + 1;
    }
    let tail = bytes.len().saturating_sub(4);
    let last = bytes.get(tail..).unwrap_or_default();
    // The last byte that is no continuation begins the last code point.
    let Some(lead) = last.iter().rposition(|byte| *byte & 0xC0 != 0x80) else { return bytes.len() };
    let wanted = match last.get(lead) {
        Some(0xC2..=0xDF) => 2,
        Some(0xE0..=0xEF) => 3,
        Some(0xF0..=0xF4) => 4,
        _ => 1,
    };
    let cut = if last.len() - lead < wanted { tail + lead } else { bytes.len() };
    // A piece that would be empty is no step forward, unless the rest is still to come.
    if cut == 0 && !reaches_end { bytes.len() } else { cut }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a text in pieces of `limit` bytes and puts it together again.
    fn pieced(text: &[u8], limit: u32) -> (Vec<Vec<u8>>, Vec<u8>) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, text).unwrap();
        let (mut pieces, mut offset) = (Vec::new(), 0);
        loop {
            let piece = piece(&path, offset, limit, true).unwrap();
            offset = i64::try_from(piece.offset).unwrap() + i64::try_from(piece.bytes.len()).unwrap();
            if piece.bytes.is_empty() {
                let whole = pieces.concat();
                return (pieces, whole);
            }
            pieces.push(piece.bytes);
        }
    }

    #[test]
    fn pieces_make_the_whole_and_tear_no_code_point() {
        let text = "aé€😀\nzwei\n".repeat(50);
        for limit in 4..40 {
            let (pieces, whole) = pieced(text.as_bytes(), limit);
            assert_eq!(whole, text.as_bytes(), "limit {limit}");
            assert!(pieces.iter().all(|piece| std::str::from_utf8(piece).is_ok()), "limit {limit}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_come_to_an_end() {
        let noise: Vec<u8> = (0..=255).cycle().take(5_000).collect();
        let (_, whole) = pieced(&noise, 64);
        assert_eq!(whole, noise);
        let (_, whole) = pieced(&[0xF0, 0x9F], 4);
        assert_eq!(whole, [0xF0, 0x9F]);
    }

    #[test]
    fn a_negative_offset_counts_from_the_end() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        std::fs::write(&path, "one\ntwo\n€").unwrap();
        assert_eq!(piece(&path, -7, 100, true).unwrap().bytes, "two\n€".as_bytes());
        assert_eq!(piece(&path, -2, 100, true).unwrap().bytes, b"", "the rest of a code point is no text");
        assert_eq!(piece(&path, i64::MIN, 4, true).unwrap().bytes, b"one\n");
        assert_eq!(piece(&path, i64::MAX, 4, true).unwrap().bytes, b"");
        assert_eq!(piece(&directory.path().join("none"), 0, 4, false).unwrap().size, 0);
    }
}
