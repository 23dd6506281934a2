//! Ids, values, states, events and commands: the words every other room uses.
