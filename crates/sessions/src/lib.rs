//! Live sessions: shells and programs that stay, by id, until they end or are ended.
