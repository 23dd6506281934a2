-- Version 2. Frozen: a database that has it never sees this file again. Changes go into 3.sql.

-- Consents of people. What may change has a column; the rest is in the body.
CREATE TABLE grants (
    id         TEXT    NOT NULL UNIQUE,
    key        TEXT    NOT NULL,
    task       TEXT    NOT NULL,
    run        TEXT    NOT NULL,
    given_at   INTEGER NOT NULL,
    -- Null without a limit.
    uses_left  INTEGER,
    -- Both set or both null.
    revoked_by TEXT,
    revoked_at INTEGER,
    body       TEXT    NOT NULL
) STRICT;

CREATE INDEX grants_by_key ON grants (key);
CREATE INDEX grants_by_age ON grants (given_at);
