//! What agents do and ask for: weighed, asked, answered, recorded.

use co_engine::{Effect, Input};
use co_model::{
    ApprovalPolicy, CallId, CallOrigin, CallOutcome, CallRequest, CallStatus, DecisionSource, Event,
    RunSettings, SandboxPolicy, ToolPolicy, ToolUse,
};

use crate::world::{World, id, pipeline};

/// A run of one agent stage whose first attempt is being made.
struct Agent {
    world: World,
    before: usize,
}

impl Agent {
    fn under(approval: ApprovalPolicy) -> Self {
        let policy = ToolPolicy { approval, ..ToolPolicy::default() };
        let settings = RunSettings { policy, ..RunSettings::default() };
        let (world, shown) = World::start(pipeline("a agent try=2 wait=10"), settings).unwrap();
        assert_eq!(shown, "a#1");
        let before = world.log.len();
        Self { world, before }
    }

    fn wants(&mut self, item: &str, command: &str) -> String {
        let request = CallRequest {
            call: CallId(String::new()),
            stage: id("a"),
            attempt: self.world.attempt("a"),
            origin: CallOrigin::Agent(item.to_owned()),
            tool: tool(command),
            cwd: "/repository".to_owned(),
            tty: false,
            sandbox: SandboxPolicy::FULL_ACCESS,
            env: std::collections::BTreeMap::new(),
            escalated: false,
            reason: None,
            sealed: false,
        };
        self.feed(Input::CallWanted(Box::new(request)))
    }

    fn starts(&mut self, item: &str, command: &str) {
        let (stage, attempt, item) = (id("a"), self.world.attempt("a"), item.to_owned());
        let (tool, cwd) = (tool(command), "/repository".to_owned());
        let effects = self.feed(Input::AgentCallStarted { stage, attempt, item, tool, cwd });
        assert_eq!(effects, "", "an observation asks for nothing");
    }

    fn ends(&mut self, item: &str, status: CallStatus) {
        let (stage, attempt, item) = (id("a"), self.world.attempt("a"), item.to_owned());
        let outcome = CallOutcome { status, exit_code: None, duration: None, detail: None };
        let effects = self.feed(Input::AgentCallFinished { stage, attempt, item, outcome });
        assert_eq!(effects, "", "an observation asks for nothing");
    }

    fn withdraws(&mut self, item: &str) {
        let (stage, attempt, item) = (id("a"), self.world.attempt("a"), item.to_owned());
        self.feed(Input::AgentCallWithdrawn { stage, attempt, item });
    }

    fn feed(&mut self, input: Input) -> String {
        let effects = self.world.feed(input).unwrap();
        let replies = effects.iter().filter_map(|effect| match effect {
            Effect::Reply { item, decision, .. } => {
                Some(format!("{item}:{}:{}", decision.approved, decision.source.as_str()))
            }
            _ => None,
        });
        replies.collect::<Vec<_>>().join(" ")
    }

    /// What was recorded of calls since the last look.
    fn story(&mut self) -> Vec<String> {
        let told = self.world.log[self.before..].iter().filter_map(|recorded| match &recorded.event {
            Event::CallRequested(request) => Some(format!("{} requested", request.call)),
            Event::QuestionAsked { call: Some(call), .. } => Some(format!("{call} asked")),
            Event::CallDecided { call, decision, .. } => {
                Some(format!("{call} {}:{}", decision.approved, decision.source.as_str()))
            }
            Event::CallStarted { call, .. } => Some(format!("{call} started")),
            Event::CallFinished { call, outcome, .. } => Some(format!("{call} {:?}", outcome.status)),
            _ => None,
        });
        let told = told.collect();
        self.before = self.world.log.len();
        told
    }

    fn open(&self) -> usize {
        self.world.state.stage(&id("a")).unwrap().calls.len()
    }
}

fn tool(command: &str) -> ToolUse {
    ToolUse::Command { argv: command.split(' ').map(str::to_owned).collect() }
}

#[test]
fn what_an_agent_asks_is_asked_answered_and_told() {
    let mut agent = Agent::under(ApprovalPolicy::OnRequest);
    assert_eq!(agent.wants("i1", "touch one"), "");
    assert_eq!(agent.story(), ["a#1 requested", "a#1 asked"]);
    assert_eq!(agent.world.step("run"), "reply:i1:true:prompt");
    agent.starts("i1", "touch one");
    agent.ends("i1", CallStatus::Succeeded);
    assert_eq!(agent.story(), ["a#1 true:prompt", "a#1 started", "a#1 Succeeded"]);
    assert_eq!(agent.wants("i2", "touch one"), "i2:true:cache", "the same thing is not asked again");
    assert_eq!(agent.wants("i3", "touch two"), "");
    assert_eq!(agent.world.step("deny"), "reply:i3:false:prompt");
    agent.ends("i3", CallStatus::Declined);
    let story = agent.story();
    assert_eq!(story[..2], ["a#2 requested", "a#2 true:cache"]);
    assert_eq!(story[2..], ["a#3 requested", "a#3 asked", "a#3 false:prompt"]);
    assert_eq!(agent.world.step("a=0"), "=> succeeded");
    assert_eq!(agent.story(), ["a#2 Lost"], "nobody saw its end");
}

#[test]
fn never_refuses_at_once_and_an_answer_that_does_not_come_is_a_no() {
    let mut agent = Agent::under(ApprovalPolicy::Never);
    assert_eq!(agent.wants("i1", "touch one"), "i1:false:policy");
    assert_eq!(agent.story(), ["a#1 requested", "a#1 false:policy"]);

    let mut agent = Agent::under(ApprovalPolicy::OnRequest);
    agent.wants("i1", "touch one");
    assert_eq!(agent.world.step("+3600000"), "reply:i1:false:prompt");
    assert!(agent.world.state.open_questions().is_empty());
}

#[test]
fn what_an_agent_does_unasked_is_recorded_with_its_end() {
    let mut agent = Agent::under(ApprovalPolicy::OnRequest);
    agent.starts("i1", "ls");
    agent.starts("i1", "ls");
    agent.ends("i1", CallStatus::Failed);
    agent.ends("i1", CallStatus::Failed);
    assert_eq!(agent.story(), ["a#1 requested", "a#1 true:not-required", "a#1 started", "a#1 Failed"]);
    assert_eq!(agent.world.state.call_counts.not_required, 1);
    let decided = &agent.world.state.decisions;
    assert!(decided.iter().all(|decided| decided.decision.source != DecisionSource::NotRequired));
}

#[test]
fn a_further_consent_to_one_call_ends_with_the_call() {
    let mut agent = Agent::under(ApprovalPolicy::OnRequest);
    agent.starts("i1", "make install");
    agent.wants("i1", "make install");
    assert_eq!(agent.world.step("approve"), "reply:i1:true:prompt");
    agent.wants("i1#net", "fetch");
    assert_eq!(agent.world.step("approve"), "reply:i1#net:true:prompt");
    agent.ends("i1", CallStatus::Succeeded);
    assert_eq!(agent.open(), 0);
    // Another call whose id begins alike is another call.
    agent.starts("i10", "ls");
    agent.ends("i1", CallStatus::Succeeded);
    assert_eq!(agent.open(), 1);
}

#[test]
fn a_question_that_nobody_waits_for_is_closed() {
    let mut agent = Agent::under(ApprovalPolicy::OnRequest);
    agent.wants("i1", "touch one");
    agent.withdraws("i1");
    assert_eq!(agent.story(), ["a#1 requested", "a#1 asked", "a#1 Declined"]);
    assert_eq!(agent.world.step("approve"), "refused: no question is open");
    agent.wants("i2", "touch two");
    agent.world.step("a=agent:rate-limited");
    assert!(agent.world.state.open_questions().is_empty(), "a turn that is tried again asks again");
    assert_eq!(agent.open(), 0);
    agent.world.step("+10");
    agent.wants("i3", "touch three");
    agent.world.step("crash");
    assert!(agent.world.state.open_questions().is_empty(), "its agent is gone");
}
