//! Waiting for a run, and putting its questions before the person at the client meanwhile.
//!
//! An elicited answer goes through the run's inbox as everybody else's: the first one wins. A form
//! that is closed, or filled in wrongly, is no answer; the question stays open for others.

use std::collections::BTreeMap;
use std::time::Duration;

use co_model::{Actor, Command, RunId, Verdict};
use co_runtime::RunSnapshot;
use rmcp::RoleServer;
use rmcp::model::{
    ClientResult, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema,
    EnumSchema, InputRequest, InputRequiredResult, ServerRequest, StringSchema,
};
use rmcp::service::{PeerRequestOptions, RequestHandle, ServiceError};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep, sleep_until};

use crate::caller::{Caller, fresh_key};
use crate::desk::{Desk, Question, is_at_rest, questions};
use crate::host::Refusal;

/// How often a run is looked at.
const LOOK: Duration = Duration::from_millis(100);
/// How often the whole run is read though it has not moved: its owner may be gone.
const LOOK_CLOSELY: Duration = Duration::from_secs(2);
/// How often a waiting client is told that we are still waiting.
const TELL: Duration = Duration::from_secs(5);
/// The longest reason that a form may hold, in characters.
const LONGEST_REASON: u32 = 2_000;
/// Under which name the client's answer comes back.
const ANSWER: &str = "answer";

/// What is waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Until {
    /// An event after this one.
    News(co_model::EventSeq),
    /// That nothing more happens by itself.
    Rest,
}

/// How a wait ended.
pub(crate) enum Waited {
    /// What was waited for is there, or patience is over.
    Seen(Box<RunSnapshot>),
    /// The client is to ask its person first.
    Asks(Box<InputRequiredResult>),
}

/// Which question an answer belongs to, as the client carries it for us. It grants nothing: it only
/// keeps an answer from reaching another question than the one that was shown.
#[derive(Debug, Serialize, Deserialize)]
struct Carried {
    run: String,
    stage: String,
    expires_at: String,
}

impl Carried {
    fn of(run: &RunId, question: &Question) -> Self {
        let expires_at = question.expires_at.to_string();
        Self { run: run.to_string(), stage: question.stage.to_string(), expires_at }
    }

    fn fits(&self, run: &RunId, question: &Question) -> bool {
        let open = Self::of(run, question);
        (&self.run, &self.stage, &self.expires_at) == (&open.run, &open.stage, &open.expires_at)
    }
}

/// A form that is before the person.
struct Form {
    question: Question,
    handle: RequestHandle<RoleServer>,
}

/// Waits for a run, at most `patience`.
pub(crate) async fn wait(
    desk: &Desk,
    caller: &Caller,
    run: &RunId,
    until: Until,
    patience: Duration,
) -> Result<Waited, Refusal> {
    let (began, deadline) = (Instant::now(), Instant::now() + patience);
    let mut snapshot = desk.snapshot(run).await?;
    // Questions that the person has seen in this wait: nobody is asked twice.
    let mut shown: Vec<Question> = Vec::new();
    if let Some((answers, state)) = &caller.answers {
        let answered = answers.get(ANSWER).and_then(|value| serde_json::from_value(value.clone()).ok());
        let carried = serde_json::from_str::<Carried>(state).ok();
        let fits = |question: &Question| carried.as_ref().is_some_and(|carried| carried.fits(run, question));
        if let (Some(result), Some(question)) =
            (answered, questions(&snapshot.state).into_iter().find(|question| fits(question)))
        {
            pass_on(desk, caller, run, &question, &result).await?;
            shown.push(question);
            snapshot = desk.snapshot(run).await?;
        }
    }
    let mut form: Option<Form> = None;
    let (mut looked, mut told) = (Instant::now(), Instant::now());
    loop {
        let open = questions(&snapshot.state);
        if form.as_ref().is_some_and(|form| !open.contains(&form.question))
            && let Some(form) = form.take()
        {
            withdraw(form, "the question was answered elsewhere").await;
        }
        let news = match until {
            Until::News(after) => snapshot.state.last_seq > after,
            Until::Rest => false,
        };
        // News do not tear a form out of the person's hands.
        let seen = is_at_rest(&snapshot.state) || (news && form.is_none());
        if seen || Instant::now() >= deadline || caller.gone.is_cancelled() {
            if let Some(form) = form.take() {
                withdraw(form, "nobody waits for the answer any more").await;
            }
            return Ok(Waited::Seen(Box::new(snapshot)));
        }
        if form.is_none()
            && caller.can_ask()
            && let Some(question) = open.into_iter().find(|question| !shown.contains(question))
        {
            shown.push(question.clone());
            if caller.asks_by_answer() {
                return Ok(Waited::Asks(Box::new(to_be_asked(run, &question)?)));
            }
            form = show(caller, run, question).await;
        }
        let answer = tokio::select! {
            answer = answer_to(&mut form) => Some(answer),
            () = sleep(LOOK) => None,
            () = sleep_until(deadline) => None,
            () = caller.gone.cancelled() => None,
        };
        if let Some(answer) = answer
            && let Some(form) = form.take()
        {
            if let Some(result) = answer {
                pass_on(desk, caller, run, &form.question, &result).await?;
            }
            snapshot = desk.snapshot(run).await?;
            continue;
        }
        if told.elapsed() >= TELL {
            told = Instant::now();
            let status = snapshot.state.status().as_str().to_owned();
            caller.tell_progress(began.elapsed().as_secs_f64(), patience.as_secs_f64(), status).await;
        }
        if looked.elapsed() >= LOOK_CLOSELY || desk.moved(run, snapshot.state.last_seq).await? {
            looked = Instant::now();
            snapshot = desk.snapshot(run).await?;
        }
    }
}

/// Waits for the person's answer; for ever when there is no form. `None` is no answer.
async fn answer_to(form: &mut Option<Form>) -> Option<ElicitResult> {
    match form {
        None => std::future::pending().await,
        Some(form) => match (&mut form.handle.rx).await {
            Ok(Ok(ClientResult::ElicitResult(result))) => Some(result),
            // A client that cannot show forms after all, or is gone.
            Ok(Ok(_) | Err(_)) | Err(_) => None,
        },
    }
}

async fn show(caller: &Caller, run: &RunId, question: Question) -> Option<Form> {
    let request = ServerRequest::ElicitRequest(ElicitRequest::new(form_of(run, &question).ok()?));
    let sent: Result<_, ServiceError> =
        caller.peer.send_cancellable_request(request, PeerRequestOptions::no_options()).await;
    // A client that takes no form is like one that never could.
    sent.ok().map(|handle| Form { question, handle })
}

async fn withdraw(form: Form, reason: &str) {
    // A client that is gone needs no notice.
    drop(form.handle.cancel(Some(reason.to_owned())).await);
}

fn to_be_asked(run: &RunId, question: &Question) -> Result<InputRequiredResult, Refusal> {
    let request = InputRequest::Elicitation(ElicitRequest::new(form_of(run, question)?));
    let state = serde_json::to_string(&Carried::of(run, question)).map_err(Refusal::usage)?;
    Ok(InputRequiredResult::new(Some(BTreeMap::from([(ANSWER.to_owned(), request)])), Some(state)))
}

/// The question as a form: yes or no, and why.
fn form_of(run: &RunId, question: &Question) -> Result<ElicitRequestParams, Refusal> {
    let answer = EnumSchema::builder(vec!["yes".to_owned(), "no".to_owned()]).build();
    let reason =
        StringSchema::new().title("Reason").description("Why, for the record").max_length(LONGEST_REASON);
    let schema = ElicitationSchema::builder()
        .required_enum_schema("answer", answer)
        .optional_string_with("reason", |_| reason)
        .build()
        .map_err(|detail| Refusal::new(1, detail))?;
    Ok(ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: format!(
            "Stage `{}` of run `{run}` asks:\n\n{}\n\nUnanswered by {} means no.",
            question.stage, question.message, question.expires_at
        ),
        requested_schema: schema,
    })
}

/// What a filled-in form says; `None` when it says nothing that could be taken for an answer.
fn verdict(result: &ElicitResult) -> Option<(Verdict, Option<String>)> {
    let field = |name: &str| result.content.as_ref()?.get(name)?.as_str().map(str::trim);
    let longest = usize::try_from(LONGEST_REASON).unwrap_or(usize::MAX);
    let reason = field("reason").filter(|text| !text.is_empty());
    let reason = reason.map(|text| text.chars().take(longest).collect());
    match (&result.action, field("answer")) {
        (ElicitationAction::Accept, Some("yes")) => Some((Verdict::Approve, reason)),
        (ElicitationAction::Accept, Some("no")) | (ElicitationAction::Decline, _) => {
            Some((Verdict::Deny, reason))
        }
        _ => None,
    }
}

async fn pass_on(
    desk: &Desk,
    caller: &Caller,
    run: &RunId,
    question: &Question,
    result: &ElicitResult,
) -> Result<(), Refusal> {
    let Some((verdict, reason)) = verdict(result) else { return Ok(()) };
    let (person, now) = desk.ask(|host| Ok((host.actor(), host.orchestrator()?.now()))).await?;
    let command = Command::Answer {
        stage: Some(question.stage.clone()),
        call: None,
        scope: co_model::GrantScope::Once,
        verdict,
        reason,
    };
    let actor = Actor::new(&caller.actor(&person));
    match desk.submit(run, actor, fresh_key(now), command).await {
        // Somebody was faster; the run's events say who.
        Err(refusal) if refusal.exit_code == Refusal::REFUSED => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(action: ElicitationAction, content: serde_json::Value) -> Option<(Verdict, Option<String>)> {
        let mut result = ElicitResult::new(action);
        result.content = Some(content);
        verdict(&result)
    }

    #[test]
    fn only_a_whole_form_is_an_answer() {
        let accept = ElicitationAction::Accept;
        let because = Some("looks good".to_owned());
        assert_eq!(
            said(accept.clone(), json!({ "answer": "yes", "reason": " looks good " })),
            Some((Verdict::Approve, because))
        );
        assert_eq!(
            said(accept.clone(), json!({ "answer": "no", "reason": "" })),
            Some((Verdict::Deny, None))
        );
        for bad in
            [json!({}), json!({ "answer": true }), json!({ "answer": "YES" }), json!("yes"), json!(null)]
        {
            assert_eq!(said(accept.clone(), bad.clone()), None, "{bad}");
        }
    }

    #[test]
    fn declining_is_no_and_closing_is_nothing() {
        assert_eq!(said(ElicitationAction::Decline, json!(null)), Some((Verdict::Deny, None)));
        assert_eq!(said(ElicitationAction::Cancel, json!({ "answer": "yes" })), None);
    }
}
