//! Test tools: a scripted model server, a scripted fake agent, temporary repositories.
