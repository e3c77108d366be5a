-- Exports: what a job is to export, when schedules were due, and what calendars were told of each session.

-- What a job that is no import is to do, as JSON.
ALTER TABLE jobs ADD COLUMN request TEXT;

-- The seed of the ids in exported files: random, so that two installations never name two things alike.
CREATE TABLE installation (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    salt TEXT NOT NULL,
    created_at TEXT NOT NULL
);

-- One row per schedule that was ever seen. Due times up to `looked_until` have their slots, or were dropped by policy.
CREATE TABLE schedules (
    name TEXT PRIMARY KEY,
    expression TEXT NOT NULL,
    looked_until TEXT NOT NULL,
    dropped INTEGER NOT NULL,
    failures INTEGER NOT NULL,
    failing_since TEXT,
    last_error TEXT,
    told_at TEXT
) WITHOUT ROWID;

-- One row per schedule and due time, inserted with the job that serves it.
CREATE TABLE schedule_slots (
    schedule TEXT NOT NULL,
    due_at TEXT NOT NULL,
    job_id TEXT NOT NULL,
    PRIMARY KEY (schedule, due_at)
) WITHOUT ROWID;
CREATE INDEX schedule_slots_by_job ON schedule_slots (job_id);

-- The folder of an event's exports: chosen once, kept when the event is renamed.
CREATE TABLE export_folders (
    event_id INTEGER PRIMARY KEY REFERENCES events (id),
    folder TEXT NOT NULL
);

-- The last good run of each scope (a schedule, or `by hand`) over an event.
CREATE TABLE export_runs (
    event_id INTEGER NOT NULL REFERENCES events (id),
    scope TEXT NOT NULL,
    job_id TEXT NOT NULL,
    observed_at TEXT NOT NULL,
    folder TEXT NOT NULL,
    PRIMARY KEY (event_id, scope)
) WITHOUT ROWID;

-- What calendars show of each session that takes place, as it was last exported, and when an export first saw it change.
CREATE TABLE export_sessions (
    event_id INTEGER NOT NULL REFERENCES events (id),
    session_id INTEGER NOT NULL,
    sequence INTEGER NOT NULL,
    digest TEXT NOT NULL,
    place TEXT NOT NULL,
    title TEXT NOT NULL,
    added_at TEXT NOT NULL,
    changed_at TEXT,
    moved_at TEXT,
    removed_at TEXT,
    PRIMARY KEY (event_id, session_id)
) WITHOUT ROWID;
