//! Attempts, and the turns of agents in them by the GenAI conventions.
//!
//! Conventions: `invoke_agent` spans of "Semantic Conventions for GenAI agent and framework spans", 1.41.

use std::time::Duration;

use co_model::{AttemptExit, AttemptReport, StageId, Timestamp, TokenUsage};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;

use super::attributes::{Attributes, seconds};
use super::ids::Subject;
use super::spans::{SpanEvents, finished};
use super::{AttemptTrace, Mapped, RunFacts, RunTrace, Work, words};
use crate::metrics::Instrument;

pub(super) const OPERATION: &str = "gen_ai.operation.name";
const INVOKE_AGENT: &str = "invoke_agent";
const PROVIDER: &str = "gen_ai.provider.name";
const MODEL: &str = "gen_ai.request.model";
const AGENT: &str = "gen_ai.agent.name";
const TOKEN_TYPE: &str = "gen_ai.token.type";

impl RunTrace {
    pub(super) fn attempt_finished(
        &mut self,
        facts: &RunFacts,
        at: Timestamp,
        (stage, attempt): (&StageId, u32),
        report: &AttemptReport,
        mapped: &mut Mapped,
    ) {
        let began = |trace: &AttemptTrace| trace.began_at.unwrap_or_else(|| before(at, report.duration));
        let mut trace = std::mem::take(&mut self.stage(stage, at).attempt);
        let began_at = began(&trace);
        // An attempt can end that was never heard to begin: its stage began with it at the latest.
        let stage_trace = self.stage(stage, at);
        stage_trace.began_at = stage_trace.began_at.map(|instant| instant.min(began_at));

        let error = words::attempt_error(report);
        let work = self.works.get(stage).cloned();
        let executable = match &work {
            Some(Work::Command { executable }) => Some(executable.as_str()),
            Some(Work::Agent { name, .. }) => Some(name.as_str()),
            _ => None,
        };
        let exit_code = match report.exit {
            AttemptExit::Code(code) => Some(code),
            _ => None,
        };
        let attributes = words::of_run(facts)
            .with(words::STAGE, stage.as_str())
            .with(words::ATTEMPT, attempt)
            .maybe(words::EXECUTABLE, executable)
            .maybe(words::EXIT_CODE, exit_code)
            .maybe(words::ERROR_TYPE, error);
        let mut span = finished(facts, Subject::Attempt(stage, attempt), Subject::Stage(stage), began_at, at);
        span.name = format!("attempt {stage}");
        let events = std::mem::take(&mut trace.events);
        span.fill(attributes, events, error);
        mapped.spans.push(span.done());

        if let Some(Work::Agent { name, model }) = work {
            let turn = Turn { name: &name, model: model.as_deref(), began_at, ended_at: at, error };
            self.turn_finished(facts, (stage, attempt), &turn, trace, report, mapped);
        }
    }

    fn turn_finished(
        &mut self,
        facts: &RunFacts,
        (stage, attempt): (&StageId, u32),
        turn: &Turn<'_>,
        trace: AttemptTrace,
        report: &AttemptReport,
        mapped: &mut Mapped,
    ) {
        let reported = report.agent.as_ref();
        let thread = reported.and_then(|agent| agent.thread.clone()).or(trace.thread);
        let usage = reported.and_then(|agent| agent.usage).map(|total| {
            let before = thread.as_ref().and_then(|thread| self.usage.insert(thread.clone(), total));
            used_since(before.unwrap_or_default(), total)
        });
        let attributes = words::of_run(facts)
            .with(OPERATION, INVOKE_AGENT)
            .with(PROVIDER, provider(turn.name))
            .with(AGENT, turn.name)
            .maybe(MODEL, turn.model)
            .maybe("gen_ai.conversation.id", thread.as_ref().map(|thread| thread.0.as_str()))
            .and(usage.map(usage_attributes).unwrap_or_default())
            .maybe(words::ERROR_TYPE, turn.error);
        let mut span = finished(
            facts,
            Subject::Agent(stage, attempt),
            Subject::Attempt(stage, attempt),
            turn.began_at,
            turn.ended_at,
        );
        span.name = format!("{INVOKE_AGENT} {}", turn.name);
        span.kind = SpanKind::Client;
        span.fill(attributes, SpanEvents::default(), turn.error);
        mapped.spans.push(span.done());
        self.measure_turn(turn, usage, trace.further_turns, mapped);
    }

    #[expect(clippy::cast_precision_loss, reason = "tokens of a turn are far below 2^53")]
    #[expect(clippy::unused_self, reason = "reads as a step of the run like its neighbours")]
    fn measure_turn(&self, turn: &Turn<'_>, usage: Option<TokenUsage>, further: u32, mapped: &mut Mapped) {
        let by = |more: Option<(&'static str, &str)>| {
            let fixed = [(OPERATION, INVOKE_AGENT), (PROVIDER, provider(turn.name)), (AGENT, turn.name)];
            let model = turn.model.map(|model| (MODEL, model));
            fixed
                .into_iter()
                .chain(model)
                .chain(more)
                .map(|(key, value)| (key, value.to_owned()))
                .collect::<Vec<_>>()
        };
        let mut measure = |instrument, value, attributes| {
            mapped.measurements.push(crate::metrics::Measurement { instrument, value, attributes });
        };
        measure(Instrument::AgentTurns, f64::from(further) + 1.0, by(None));
        let failure = turn.error.map(|class| (words::ERROR_TYPE, class));
        measure(Instrument::OperationDuration, seconds(turn.ended_at.since(turn.began_at)), by(failure));
        if let Some(usage) = usage {
            measure(Instrument::TokenUsage, usage.input as f64, by(Some((TOKEN_TYPE, "input"))));
            measure(Instrument::TokenUsage, usage.output as f64, by(Some((TOKEN_TYPE, "output"))));
        }
    }
}

/// A turn that has ended.
struct Turn<'a> {
    name: &'a str,
    model: Option<&'a str>,
    began_at: Timestamp,
    ended_at: Timestamp,
    error: Option<&'a str>,
}

fn usage_attributes(usage: TokenUsage) -> Attributes {
    Attributes::default()
        .with("gen_ai.usage.input_tokens", usage.input)
        .with("gen_ai.usage.output_tokens", usage.output)
        .with("gen_ai.usage.cache_read.input_tokens", usage.cached_input)
        .with("gen_ai.usage.reasoning.output_tokens", usage.reasoning_output)
}

/// Agents report what a conversation has used so far; a smaller number than before means that they began anew.
fn used_since(before: TokenUsage, total: TokenUsage) -> TokenUsage {
    if total.input < before.input || total.output < before.output {
        return total;
    }
    TokenUsage {
        input: total.input - before.input,
        output: total.output - before.output,
        cached_input: total.cached_input.saturating_sub(before.cached_input),
        reasoning_output: total.reasoning_output.saturating_sub(before.reasoning_output),
    }
}

/// Whose models an agent uses unless it was told otherwise; an unknown agent stands for itself.
fn provider(agent: &str) -> &str {
    match agent {
        "codex" => "openai",
        "claude" | "claude-code" => "anthropic",
        "gemini" => "gcp.gemini",
        other => other,
    }
}

fn before(at: Timestamp, duration: Duration) -> Timestamp {
    let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
    Timestamp::from_millis(at.as_millis().saturating_sub(millis))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_of_a_turn_are_what_came_on_top() {
        let tokens =
            |input, output| TokenUsage { input, output, cached_input: input / 2, reasoning_output: 1 };
        assert_eq!(
            used_since(tokens(100, 10), tokens(150, 25)),
            TokenUsage { input: 50, output: 15, cached_input: 25, reasoning_output: 0 }
        );
        assert_eq!(used_since(tokens(100, 10), tokens(40, 5)), tokens(40, 5));
    }
}
