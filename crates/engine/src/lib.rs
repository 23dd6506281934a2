//! Pure decisions: planning, decide and evolve, recovery plans.
