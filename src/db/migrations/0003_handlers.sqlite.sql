-- Event handlers: what they are told, and how they do. And what running jobs wait for.

-- Whether handlers are called for a job: none where neither a command nor its archive has said so.
ALTER TABLE jobs ADD COLUMN with_handlers BOOLEAN;
-- Whether a running job waits for what `waits_for` says; `waits_detail` says more of it.
ALTER TABLE jobs ADD COLUMN held BOOLEAN NOT NULL DEFAULT FALSE;
ALTER TABLE jobs ADD COLUMN waits_detail TEXT;

-- One row per handler that was ever served. `owner` and `epoch` fence what is written about its messages; `beat` grows as
-- long as the owner lives. `failing_since` is when it first failed without having taken anything since.
CREATE TABLE handlers (
    name TEXT PRIMARY KEY,
    owner TEXT,
    epoch INTEGER NOT NULL,
    beat INTEGER NOT NULL,
    state TEXT NOT NULL,
    state_reason TEXT,
    state_since TEXT NOT NULL,
    rest_until TEXT,
    rest_reason TEXT,
    failing_since TEXT,
    failures INTEGER NOT NULL,
    last_error TEXT,
    last_delivered_at TEXT
) WITHOUT ROWID;

-- One row per message and handler, written with the data that it speaks of. Ids grow in the order of their commits.
-- Of messages of the same `order_key` the oldest goes first; one that `closes_job` goes after all others of its job.
-- `taken` is true as soon as a receiver may have seen it, `hurried` once it was tried before its time since the receiver was back.
-- `put_off_since` is when its receiver first asked for patience. `body` is what is sent; `data` is kept where the body only refers to it.
CREATE TABLE deliveries (
    id INTEGER PRIMARY KEY,
    message_id TEXT NOT NULL UNIQUE,
    handler TEXT NOT NULL,
    type TEXT NOT NULL,
    subject TEXT NOT NULL,
    order_key TEXT,
    closes_job BOOLEAN NOT NULL,
    account TEXT NOT NULL,
    job_id TEXT NOT NULL,
    event_id INTEGER,
    body TEXT NOT NULL,
    data TEXT,
    state TEXT NOT NULL,
    taken BOOLEAN NOT NULL,
    attempts INTEGER NOT NULL,
    created_at TEXT NOT NULL,
    next_attempt_at TEXT NOT NULL,
    finished_at TEXT,
    put_off_since TEXT,
    hurried BOOLEAN NOT NULL DEFAULT FALSE,
    last_error TEXT
);
CREATE INDEX deliveries_due ON deliveries (handler, next_attempt_at, id) WHERE state = 'pending';
CREATE INDEX deliveries_in_order ON deliveries (handler, order_key, id) WHERE state = 'pending';
CREATE INDEX deliveries_of_job ON deliveries (job_id, handler, id) WHERE state = 'pending';
CREATE INDEX deliveries_ended ON deliveries (handler, state, finished_at, id) WHERE state <> 'pending';
CREATE INDEX deliveries_by_job ON deliveries (job_id, id);
INSERT INTO id_counters (name, next_id) VALUES ('deliveries', 1);
