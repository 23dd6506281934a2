//! Who calls, and what the protocol lets us ask of them meanwhile.

use std::sync::atomic::{AtomicU64, Ordering};

use co_model::{Actor, CommandKey};
use rmcp::RoleServer;
use rmcp::model::{
    ClientCapabilities, InputResponses, ProgressNotificationParam, ProgressToken, ProtocolVersion,
};
use rmcp::service::{Peer, RequestContext};
use tokio_util::sync::CancellationToken;

/// The longest client name that is recorded, in characters.
const LONGEST_NAME: usize = 80;

/// One request's caller.
pub(crate) struct Caller {
    pub(crate) peer: Peer<RoleServer>,
    /// Ends when the client gives the request up or is gone.
    pub(crate) gone: CancellationToken,
    client: String,
    capabilities: ClientCapabilities,
    version: Option<ProtocolVersion>,
    progress: Option<ProgressToken>,
    /// What the client answers to an earlier question of ours, and the state it brings back.
    pub(crate) answers: Option<(InputResponses, String)>,
}

impl Caller {
    pub(crate) fn new(
        context: &RequestContext<RoleServer>,
        answers: Option<(InputResponses, String)>,
    ) -> Self {
        let client = context.client_info().map_or_else(|| "mcp".to_owned(), |client| client.name);
        Self {
            peer: context.peer.clone(),
            gone: context.ct.clone(),
            client: client.chars().take(LONGEST_NAME).collect(),
            capabilities: context.client_capabilities().unwrap_or_default(),
            version: context.protocol_version(),
            progress: context.meta.get_progress_token(),
            answers,
        }
    }

    /// Whether the client can put a form before a person.
    pub(crate) fn can_ask(&self) -> bool {
        // Neither mode named means forms: the first revision with elicitation knew nothing else.
        self.capabilities
            .elicitation
            .as_ref()
            .is_some_and(|modes| modes.form.is_some() || modes.url.is_none())
    }

    /// Whether questions are part of the answer (2026-07-28 and later) instead of requests of our own.
    pub(crate) fn asks_by_answer(&self) -> bool {
        self.version
            .as_ref()
            .is_some_and(|version| version.as_str() >= ProtocolVersion::V_2026_07_28.as_str())
    }

    /// Who is recorded as having asked: the person the server works for, by way of the client.
    pub(crate) fn actor(&self, person: &str) -> String {
        Actor::new(&format!("{person} (mcp {})", self.client)).as_str().to_owned()
    }

    /// Tells a client that wants to know that we are still at it, which keeps its time-out away.
    pub(crate) async fn tell_progress(&self, done: f64, total: f64, message: String) {
        let Some(token) = &self.progress else { return };
        let news =
            ProgressNotificationParam::new(token.clone(), done).with_total(total).with_message(message);
        // A client that is gone ends the request by itself.
        drop(self.peer.notify_progress(news).await);
    }
}

/// A key that no other command has.
pub(crate) fn fresh_key(now: co_model::Timestamp) -> CommandKey {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    CommandKey(format!("mcp:{}:{}:{number}", std::process::id(), now.as_millis()))
}
