//! Asking the person at the client before something is done that the user's policy wants a consent to.
//!
//! A form that is closed, or filled in wrongly, is a no: nothing is done without a yes.

use std::collections::BTreeMap;

use rmcp::model::{
    ClientResult, ElicitRequest, ElicitRequestParams, ElicitResult, ElicitationAction, ElicitationSchema,
    EnumSchema, InputRequest, InputRequiredResult, ServerRequest,
};
use rmcp::service::PeerRequestOptions;
use sha2::{Digest as _, Sha256};

use crate::caller::Caller;
use crate::host::Refusal;

/// Under which name the client's answer comes back.
const ANSWER: &str = "answer";

/// What the person says.
pub(crate) enum Consent {
    /// Yes.
    Given,
    /// No, or nothing.
    Refused,
    /// Nothing yet: the client is to ask, and to repeat the request with the answer.
    Asked(Box<InputRequiredResult>),
}

/// Asks the person at the client whether `what`, in the words of `reason`, may be done.
///
/// # Errors
/// [`Refusal`] when the client cannot ask anybody.
pub(crate) async fn consent(caller: &Caller, what: &str, reason: &str) -> Result<Consent, Refusal> {
    let digest: [u8; 32] = Sha256::digest(format!("{what}\n{reason}").as_bytes()).into();
    let state = format!("{digest:02x?}");
    if let Some((answers, carried)) = &caller.answers {
        let answered = answers.get(ANSWER).and_then(|value| serde_json::from_value(value.clone()).ok());
        // An answer to another question is none.
        let fits = *carried == state;
        return Ok(if answered.as_ref().is_some_and(|answer| fits && is_yes(answer)) {
            Consent::Given
        } else {
            Consent::Refused
        });
    }
    if !caller.can_ask() {
        return Err(Refusal::new(Refusal::REFUSED, format!("{reason}, and this client can ask nobody")));
    }
    let form = form(reason)?;
    if caller.asks_by_answer() {
        let request = InputRequest::Elicitation(ElicitRequest::new(form));
        let asked =
            InputRequiredResult::new(Some(BTreeMap::from([(ANSWER.to_owned(), request)])), Some(state));
        return Ok(Consent::Asked(Box::new(asked)));
    }
    let request = ServerRequest::ElicitRequest(ElicitRequest::new(form));
    let sent = caller.peer.send_cancellable_request(request, PeerRequestOptions::no_options()).await;
    let Ok(mut handle) = sent else { return Ok(Consent::Refused) };
    let answer = tokio::select! {
        answer = &mut handle.rx => answer,
        () = caller.gone.cancelled() => return Ok(Consent::Refused),
    };
    Ok(match answer {
        Ok(Ok(ClientResult::ElicitResult(result))) if is_yes(&result) => Consent::Given,
        _ => Consent::Refused,
    })
}

fn is_yes(result: &ElicitResult) -> bool {
    let answer = result.content.as_ref().and_then(|content| content.get("answer")?.as_str());
    result.action == ElicitationAction::Accept && answer == Some("yes")
}

fn form(reason: &str) -> Result<ElicitRequestParams, Refusal> {
    let answer = EnumSchema::builder(vec!["yes".to_owned(), "no".to_owned()]).build();
    let schema = ElicitationSchema::builder()
        .required_enum_schema("answer", answer)
        .build()
        .map_err(|detail| Refusal::new(1, detail))?;
    Ok(ElicitRequestParams::FormElicitationParams {
        meta: None,
        message: format!("{reason}\n\nMay it be done, this once?"),
        requested_schema: schema,
    })
}
