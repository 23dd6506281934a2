-- Version 1. Frozen: a database that has it never sees this file again. Changes go into 2.sql.

-- One row per run: its head, its lease and the searchable part of its state.
-- Rows are wide, so they sit in a rowid table; the narrow indexes keep the trees flat.
CREATE TABLE runs (
    run            TEXT    NOT NULL UNIQUE,
    task           TEXT    NOT NULL,
    pipeline       TEXT    NOT NULL,
    parent         TEXT,
    status         TEXT    NOT NULL,
    status_detail  TEXT,
    created_at     INTEGER NOT NULL,
    completed_at   INTEGER,
    stages_passed  INTEGER NOT NULL,
    stages_failed  INTEGER NOT NULL,
    stages_planned INTEGER NOT NULL,
    summary        TEXT,
    metrics        TEXT,
    last_seq       INTEGER NOT NULL,
    updated_at     INTEGER NOT NULL,
    views_seq      INTEGER NOT NULL DEFAULT 0,
    -- Whether views_seq < last_seq. Its own column, so that an append that changes nothing
    -- about it leaves the index below untouched.
    views_stale    INTEGER NOT NULL,
    generation     INTEGER NOT NULL,
    -- All four set or all four null.
    owner          TEXT,
    owner_host     TEXT,
    owner_process  TEXT,
    renewed_at     INTEGER
) STRICT;

CREATE INDEX runs_by_task ON runs (task, run);
CREATE INDEX runs_by_pipeline ON runs (pipeline, run);
CREATE INDEX runs_by_status ON runs (status, run);
CREATE INDEX runs_by_parent ON runs (parent, run) WHERE parent IS NOT NULL;
CREATE INDEX runs_with_stale_views ON runs (run) WHERE views_stale = 1;
-- Holds every column the totals of a task need; a run enters it when it is over.
CREATE INDEX runs_over ON runs (task, status, created_at, completed_at, stages_passed, stages_failed)
    WHERE status IN ('succeeded', 'failed', 'cancelled');

-- The facts. Clustered by run, so that a replay is one sequential read.
CREATE TABLE events (
    run     TEXT    NOT NULL,
    seq     INTEGER NOT NULL,
    at      INTEGER NOT NULL,
    kind    TEXT    NOT NULL,
    version INTEGER NOT NULL,
    body    TEXT    NOT NULL,
    PRIMARY KEY (run, seq)
) STRICT, WITHOUT ROWID;

-- Commands for runs, kept after they are settled: a repeated key gets the first answer.
CREATE TABLE inbox (
    seq        INTEGER PRIMARY KEY,
    run        TEXT NOT NULL,
    key        TEXT NOT NULL,
    envelope   TEXT NOT NULL,
    -- Null while open, then 'accepted' or 'refused'.
    settlement TEXT,
    detail     TEXT,
    UNIQUE (run, key)
) STRICT;

CREATE INDEX inbox_open ON inbox (run, seq) WHERE settlement IS NULL;
