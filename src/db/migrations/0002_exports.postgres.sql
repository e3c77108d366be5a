-- Exports: what a job is to export, when schedules were due, and what calendars were told of each session.

-- What a job that is no import is to do, as JSON.
ALTER TABLE jobs ADD COLUMN request TEXT;

-- The seed of the ids in exported files: random, so that two installations never name two things alike.
CREATE TABLE installation (
    id BIGINT PRIMARY KEY CHECK (id = 1),
    salt TEXT NOT NULL,
    created_at TIMESTAMPTZ NOT NULL
);

-- One row per schedule that was ever seen. Due times up to `looked_until` have their slots, or were dropped by policy.
CREATE TABLE schedules (
    name TEXT PRIMARY KEY,
    expression TEXT NOT NULL,
    looked_until TIMESTAMPTZ NOT NULL,
    dropped BIGINT NOT NULL,
    failures BIGINT NOT NULL,
    failing_since TIMESTAMPTZ,
    last_error TEXT,
    told_at TIMESTAMPTZ
);

-- One row per schedule and due time, inserted with the job that serves it.
CREATE TABLE schedule_slots (
    schedule TEXT NOT NULL,
    due_at TIMESTAMPTZ NOT NULL,
    job_id TEXT NOT NULL,
    PRIMARY KEY (schedule, due_at)
);
CREATE INDEX schedule_slots_by_job ON schedule_slots (job_id);

-- The folder of an event's exports: chosen once, kept when the event is renamed.
CREATE TABLE export_folders (
    event_id BIGINT PRIMARY KEY REFERENCES events (id),
    folder TEXT NOT NULL
);

-- The last good run of each scope (a schedule, or `by hand`) over an event.
CREATE TABLE export_runs (
    event_id BIGINT NOT NULL REFERENCES events (id),
    scope TEXT NOT NULL,
    job_id TEXT NOT NULL,
    observed_at TIMESTAMPTZ NOT NULL,
    folder TEXT NOT NULL,
    PRIMARY KEY (event_id, scope)
);

-- What calendars show of each session that takes place, as it was last exported, and when an export first saw it change.
CREATE TABLE export_sessions (
    event_id BIGINT NOT NULL REFERENCES events (id),
    session_id BIGINT NOT NULL,
    sequence BIGINT NOT NULL,
    digest TEXT NOT NULL,
    place TEXT NOT NULL,
    title TEXT NOT NULL,
    added_at TIMESTAMPTZ NOT NULL,
    changed_at TIMESTAMPTZ,
    moved_at TIMESTAMPTZ,
    removed_at TIMESTAMPTZ,
    PRIMARY KEY (event_id, session_id)
);
