//! Which consent covers a call.

use std::collections::HashMap;

use co_model::{Actor, Grant, GrantScope, RunId, TaskId, Timestamp};

use crate::key::CallKeys;

/// Where and when a consent would be used.
#[derive(Debug, Clone, Copy)]
pub struct Context<'c> {
    /// The instant.
    pub now: Timestamp,
    /// The run.
    pub run: &'c RunId,
    /// The run's task.
    pub task: &'c TaskId,
    /// The session in which the run was started, if that is known.
    pub session: Option<&'c str>,
    /// Who started the run, if that is known.
    pub starter: Option<&'c Actor>,
}

/// Whether a consent is good, here and now, for one of a call's keys.
///
/// A patch of several files has several keys, and needs a consent for each: see
/// [`GrantIndex::find`]. A consent for once that does not say how often is good for nothing.
pub fn covers(grant: &Grant, keys: &CallKeys, context: &Context<'_>) -> bool {
    keys.as_slice().contains(&grant.key) && is_good(grant, context)
}

fn is_good(grant: &Grant, context: &Context<'_>) -> bool {
    let serves = grant.starter.is_none() || grant.starter.as_ref() == context.starter;
    let is_in_scope = match grant.scope {
        GrantScope::Once => grant.run == *context.run && grant.uses_left.is_some(),
        GrantScope::Run => grant.run == *context.run,
        GrantScope::Session => {
            serves && grant.session.is_some() && grant.session.as_deref() == context.session
        }
        GrantScope::Task => serves && grant.task == *context.task,
        GrantScope::Always => serves,
    };
    is_in_scope
        && grant.revoked.is_none()
        && grant.uses_left != Some(0)
        && grant.expires_at.is_none_or(|expires_at| context.now <= expires_at)
}

/// Consents by key, so that a look-up does not depend on how many there are.
#[derive(Debug, Clone, Default)]
pub struct GrantIndex {
    by_key: HashMap<String, Vec<Grant>>,
}

impl GrantIndex {
    /// Adds a consent, or puts it in the place of the one with the same id and key.
    pub fn put(&mut self, grant: Grant) {
        let grants = self.by_key.entry(grant.key.clone()).or_default();
        match grants.iter_mut().find(|known| known.id == grant.id) {
            Some(known) => *known = grant,
            None => grants.push(grant),
        }
    }

    /// Finds a consent for each key of a call, in their order; `None` when one key has none.
    ///
    /// Of several good ones the narrowest is taken, so that a consent for once is used up before one
    /// that stays is leaned on.
    pub fn find(&self, keys: &CallKeys, context: &Context<'_>) -> Option<Vec<&Grant>> {
        keys.as_slice()
            .iter()
            .map(|key| {
                let grants = self.by_key.get(key)?;
                grants.iter().filter(|grant| is_good(grant, context)).min_by_key(|grant| grant.scope)
            })
            .collect()
    }

    /// Every consent, in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = &Grant> {
        self.by_key.values().flatten()
    }
}

impl Extend<Grant> for GrantIndex {
    fn extend<T: IntoIterator<Item = Grant>>(&mut self, grants: T) {
        for grant in grants {
            self.put(grant);
        }
    }
}

impl FromIterator<Grant> for GrantIndex {
    fn from_iter<T: IntoIterator<Item = Grant>>(grants: T) -> Self {
        let mut index = Self::default();
        index.extend(grants);
        index
    }
}
