//! `acp_agent FILE`: an agent of the Agent Client Protocol, built on the official crate, that plays a script.
//!
//! What it does within the protocol goes through the crate; what it does against it goes past the crate, to stdout.

use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use agent_client_protocol::v1::ConnectionTo;
use agent_client_protocol::v1::schema::{
    AgentCapabilities, CancelNotification, InitializeRequest, InitializeResponse, LoadSessionRequest,
    LoadSessionResponse, NewSessionRequest, NewSessionResponse, PromptRequest, PromptResponse,
    RequestPermissionOutcome, RequestPermissionRequest, ResumeSessionRequest, ResumeSessionResponse,
    SessionCapabilities, SessionNotification, SessionResumeCapabilities, SessionUpdate, StopReason,
};
use agent_client_protocol::{Agent, Client, Error, Stdio};
use co_testkit::{ACP_NEW_SESSION, ACP_OLD_SESSION, AcpAction, AcpScript};
use futures::channel::oneshot;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

fn main() -> ExitCode {
    match play() {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            writeln!(std::io::stderr(), "acp_agent: {message}").ok();
            ExitCode::from(2)
        }
    }
}

fn play() -> Result<(), String> {
    let path = std::env::args_os().nth(1).ok_or("usage: acp_agent FILE")?;
    let text = std::fs::read_to_string(&path).map_err(|error| error.to_string())?;
    let script: AcpScript = serde_json::from_str(&text).map_err(|error| error.to_string())?;
    futures::executor::block_on(serve(Arc::new(Player { script, ..Player::default() })))
        .map_err(|error| error.to_string())
}

#[derive(Debug, Default)]
struct Player {
    script: AcpScript,
    turn: AtomicUsize,
    cancelled: Cancelled,
}

/// Holds whether the turn is cancelled, and who waits for it.
#[derive(Debug, Default)]
struct Cancelled(Mutex<(bool, Option<oneshot::Sender<()>>)>);

impl Cancelled {
    fn set(&self) {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.0 = true;
        if let Some(waiting) = state.1.take() {
            waiting.send(()).ok();
        }
    }

    async fn wait(&self) {
        let waiting = {
            let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if std::mem::take(&mut state.0) {
                return;
            }
            let (sender, receiver) = oneshot::channel();
            state.1 = Some(sender);
            receiver
        };
        waiting.await.ok();
    }
}

/// Reads what a script holds in the protocol's own words.
fn words<T: DeserializeOwned>(value: Value) -> Result<T, Error> {
    serde_json::from_value(value).map_err(|_| Error::invalid_params())
}

async fn serve(player: Arc<Player>) -> Result<(), Error> {
    let [initializing, opening, loading, resuming, prompting, cancelling] =
        std::array::from_fn(|_| Arc::clone(&player));
    Agent
        .v1()
        .on_receive_request(
            async move |request: InitializeRequest, responder, _connection| {
                let script = &initializing.script;
                if let Some(result) = script.initialize.clone() {
                    raw(&format!("{}\n", json!({"jsonrpc": "2.0", "id": 0, "result": result})));
                    std::mem::forget(responder);
                    return Ok(());
                }
                let mut sessions = SessionCapabilities::new();
                if script.resume {
                    sessions = sessions.resume(SessionResumeCapabilities::new());
                }
                let can = AgentCapabilities::new().load_session(script.load).session_capabilities(sessions);
                responder.respond(InitializeResponse::new(request.protocol_version).agent_capabilities(can))
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |_request: NewSessionRequest, responder, _connection| {
                if opening.script.needs_login {
                    return responder.respond_with_error(Error::auth_required());
                }
                responder.respond(NewSessionResponse::new(ACP_NEW_SESSION))
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |request: LoadSessionRequest, responder, connection: ConnectionTo<Client>| {
                if !loading.script.load || &*request.session_id.0 != ACP_OLD_SESSION {
                    return responder.respond_with_error(Error::new(-32002, "no such session"));
                }
                let past = json!({
                    "sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": "the past"},
                });
                connection.send_notification(SessionNotification::new(request.session_id, words(past)?))?;
                responder.respond(LoadSessionResponse::new())
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |request: ResumeSessionRequest, responder, _connection| {
                if !resuming.script.resume || &*request.session_id.0 != ACP_OLD_SESSION {
                    return responder.respond_with_error(Error::new(-32002, "no such session"));
                }
                responder.respond(ResumeSessionResponse::new())
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_request(
            async move |request: PromptRequest, responder, connection: ConnectionTo<Client>| {
                let player = Arc::clone(&prompting);
                // A turn waits for answers, which the connection reads.
                connection.clone().spawn(async move {
                    match turn(&player, &request, &connection).await {
                        Ok(Some(reason)) => responder.respond(PromptResponse::new(reason)),
                        Ok(None) => {
                            std::mem::forget(responder);
                            Ok(())
                        }
                        Err(error) => responder.respond_with_error(error),
                    }
                })
            },
            agent_client_protocol::on_receive_request!(),
        )
        .on_receive_notification(
            async move |_cancel: CancelNotification, _connection| {
                cancelling.cancelled.set();
                Ok(())
            },
            agent_client_protocol::on_receive_notification!(),
        )
        .connect_to(Stdio::new())
        .await
}

/// Plays one turn; none if the prompt is never to be answered.
async fn turn(
    player: &Player,
    request: &PromptRequest,
    connection: &ConnectionTo<Client>,
) -> Result<Option<StopReason>, Error> {
    let number = player.turn.fetch_add(1, Ordering::Relaxed);
    let session = &request.session_id;
    let update = |update: Value| {
        let update: SessionUpdate = words(update)?;
        connection.send_notification(SessionNotification::new(session.clone(), update))
    };
    let say = |text: &str| {
        update(json!({"sessionUpdate": "agent_message_chunk", "content": {"type": "text", "text": text}}))
    };
    for action in player.script.turns.get(number).map_or(&[][..], Vec::as_slice) {
        match action {
            AcpAction::Update { update: value } => update(value.clone())?,
            AcpAction::Say { text } => say(text)?,
            AcpAction::Ask { call, options } => {
                let options: Vec<Value> = options
                    .iter()
                    .map(|kind| json!({"optionId": kind, "name": kind, "kind": kind}))
                    .collect();
                let question = json!({"sessionId": session, "toolCall": call, "options": options});
                let question: RequestPermissionRequest = words(question)?;
                let answer = connection.send_request(question).block_task().await?;
                let chosen = match answer.outcome {
                    RequestPermissionOutcome::Selected(selected) => selected.option_id.0.to_string(),
                    _ => "cancelled".to_owned(),
                };
                let status = if chosen.starts_with("allow") { "completed" } else { "failed" };
                let id = &call["toolCallId"];
                update(json!({"sessionUpdate": "tool_call_update", "toolCallId": id, "status": status}))?;
                say(&format!("chosen: {chosen}. "))?;
            }
            AcpAction::AwaitCancel => {
                player.cancelled.wait().await;
                return Ok(Some(StopReason::Cancelled));
            }
            AcpAction::Stop { reason } => return words(json!(reason)).map(Some),
            AcpAction::Refuse { code, message } => return Err(Error::new(*code, message)),
            AcpAction::Raw { text } => raw(text),
            AcpAction::Flood { bytes } => {
                let content = json!({"type": "text", "text": "flood ".repeat(100)});
                let update = json!({"sessionUpdate": "agent_message_chunk", "content": content});
                let params = json!({"sessionId": session, "update": update});
                let line = json!({"jsonrpc": "2.0", "method": "session/update", "params": params});
                let line = format!("{line}\n");
                for _ in 0..bytes.div_ceil(line.len()) {
                    raw(&line);
                }
            }
            AcpAction::Silence => return Ok(None),
            #[expect(clippy::exit, reason = "a script that says so is to end in the middle of everything")]
            AcpAction::Exit { code } => std::process::exit(*code),
        }
    }
    Ok(Some(StopReason::EndTurn))
}

/// Writes past the protocol.
fn raw(text: &str) {
    let mut stdout = std::io::stdout().lock();
    // Nobody to tell: the reader may be gone, which is what some tests want.
    stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).ok();
}
