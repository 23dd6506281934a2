//! Pure views of a run: manifest, summaries, metrics, task state, event envelope.
