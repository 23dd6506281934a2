//! Confines programs: which files they may write, what they may reach and see.
