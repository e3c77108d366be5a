-- The tables of the main job: events and their datasets, jobs and what hangs on them.
-- Times are instants in UTC. Rows of a dataset are found again by (event_id, source_id).

CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL,
    root_url TEXT NOT NULL,
    source_id TEXT NOT NULL,
    name TEXT,
    latitude REAL,
    longitude REAL,
    location_name TEXT,
    searchable_location_name TEXT,
    starts_at TEXT,
    starts_at_offset TEXT,
    ends_at TEXT,
    ends_at_offset TEXT,
    timezone TEXT,
    description TEXT,
    original_image_url TEXT,
    logo_url TEXT,
    thumbnail_image_url TEXT,
    large_image_url TEXT,
    icon_image_url TEXT,
    placeholder_url TEXT,
    owner_name TEXT,
    owner_description TEXT,
    external_event_url TEXT,
    ticket_url TEXT,
    email TEXT,
    privacy TEXT,
    state TEXT,
    event_type TEXT,
    event_topic TEXT,
    event_sub_topic TEXT,
    code_of_conduct TEXT,
    identifier TEXT,
    schedule_published_on TEXT,
    schedule_published_on_offset TEXT,
    is_sessions_speakers_enabled BOOLEAN,
    copyright TEXT,
    speakers_call TEXT,
    licence_details TEXT,
    extra TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    job_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    gone_at TEXT
);
CREATE INDEX events_by_account ON events (account, id);

CREATE TABLE social_links (
    id INTEGER PRIMARY KEY,
    event_id INTEGER NOT NULL REFERENCES events (id),
    source_id TEXT NOT NULL,
    name TEXT,
    link TEXT,
    extra TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    job_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    gone_at TEXT,
    UNIQUE (event_id, source_id)
);

CREATE TABLE custom_forms (
    id INTEGER PRIMARY KEY,
    event_id INTEGER NOT NULL REFERENCES events (id),
    source_id TEXT NOT NULL,
    field_identifier TEXT,
    form TEXT,
    type TEXT,
    name TEXT,
    description TEXT,
    is_required BOOLEAN,
    is_included BOOLEAN,
    is_fixed BOOLEAN,
    is_complex BOOLEAN,
    position INTEGER,
    extra TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    job_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    gone_at TEXT,
    UNIQUE (event_id, source_id)
);

CREATE TABLE microlocations (
    id INTEGER PRIMARY KEY,
    event_id INTEGER NOT NULL REFERENCES events (id),
    source_id TEXT NOT NULL,
    name TEXT,
    floor INTEGER,
    room TEXT,
    latitude REAL,
    longitude REAL,
    position INTEGER,
    extra TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    job_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    gone_at TEXT,
    UNIQUE (event_id, source_id)
);

CREATE TABLE sponsors (
    id INTEGER PRIMARY KEY,
    event_id INTEGER NOT NULL REFERENCES events (id),
    source_id TEXT NOT NULL,
    name TEXT,
    logo_url TEXT,
    level TEXT,
    type TEXT,
    url TEXT,
    description TEXT,
    extra TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    job_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    gone_at TEXT,
    UNIQUE (event_id, source_id)
);

CREATE TABLE speakers (
    id INTEGER PRIMARY KEY,
    event_id INTEGER NOT NULL REFERENCES events (id),
    source_id TEXT NOT NULL,
    name TEXT,
    email TEXT,
    mobile TEXT,
    photo_url TEXT,
    thumbnail_image_url TEXT,
    small_image_url TEXT,
    icon_image_url TEXT,
    organisation TEXT,
    position TEXT,
    country TEXT,
    city TEXT,
    address TEXT,
    gender TEXT,
    short_biography TEXT,
    long_biography TEXT,
    speaking_experience TEXT,
    heard_from TEXT,
    sponsorship_required TEXT,
    website TEXT,
    twitter TEXT,
    facebook TEXT,
    github TEXT,
    linkedin TEXT,
    instagram TEXT,
    mastodon TEXT,
    is_featured BOOLEAN,
    extra TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    job_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    gone_at TEXT,
    UNIQUE (event_id, source_id)
);

CREATE TABLE tracks (
    id INTEGER PRIMARY KEY,
    event_id INTEGER NOT NULL REFERENCES events (id),
    source_id TEXT NOT NULL,
    name TEXT,
    color TEXT,
    font_color TEXT,
    description TEXT,
    location TEXT,
    position INTEGER,
    track_image_url TEXT,
    extra TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    job_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    gone_at TEXT,
    UNIQUE (event_id, source_id)
);

CREATE TABLE session_types (
    id INTEGER PRIMARY KEY,
    event_id INTEGER NOT NULL REFERENCES events (id),
    source_id TEXT NOT NULL,
    name TEXT,
    length TEXT,
    length_minutes INTEGER,
    position INTEGER,
    extra TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    job_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    gone_at TEXT,
    UNIQUE (event_id, source_id)
);

CREATE TABLE sessions (
    id INTEGER PRIMARY KEY,
    event_id INTEGER NOT NULL REFERENCES events (id),
    source_id TEXT NOT NULL,
    title TEXT,
    subtitle TEXT,
    short_abstract TEXT,
    long_abstract TEXT,
    starts_at TEXT,
    starts_at_offset TEXT,
    ends_at TEXT,
    ends_at_offset TEXT,
    session_type_id INTEGER REFERENCES session_types (id),
    track_id INTEGER REFERENCES tracks (id),
    microlocation_id INTEGER REFERENCES microlocations (id),
    comments TEXT,
    language TEXT,
    level TEXT,
    state TEXT,
    slides_url TEXT,
    audio_url TEXT,
    video_url TEXT,
    signup_url TEXT,
    submitted_at TEXT,
    submitted_at_offset TEXT,
    extra TEXT NOT NULL,
    content_hash TEXT NOT NULL,
    job_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    gone_at TEXT,
    UNIQUE (event_id, source_id)
);
CREATE INDEX sessions_by_session_type ON sessions (session_type_id);
CREATE INDEX sessions_by_track ON sessions (track_id);
CREATE INDEX sessions_by_microlocation ON sessions (microlocation_id);

CREATE TABLE session_speakers (
    session_id INTEGER NOT NULL REFERENCES sessions (id),
    speaker_id INTEGER NOT NULL REFERENCES speakers (id),
    PRIMARY KEY (session_id, speaker_id)
) WITHOUT ROWID;
CREATE INDEX session_speakers_by_speaker ON session_speakers (speaker_id, session_id);

-- References to records that are not there (yet): resolved when the record arrives, written back on export.
CREATE TABLE unresolved_references (
    event_id INTEGER NOT NULL REFERENCES events (id),
    target_dataset TEXT NOT NULL,
    target_source_id TEXT NOT NULL,
    dataset TEXT NOT NULL,
    record_id INTEGER NOT NULL,
    field TEXT NOT NULL,
    PRIMARY KEY (event_id, target_dataset, target_source_id, dataset, record_id, field)
) WITHOUT ROWID;
CREATE INDEX unresolved_references_by_record ON unresolved_references (dataset, record_id, field);

-- One row per field that names a media file or a link.
CREATE TABLE media (
    dataset TEXT NOT NULL,
    record_id INTEGER NOT NULL,
    field TEXT NOT NULL,
    event_id INTEGER NOT NULL REFERENCES events (id),
    path TEXT NOT NULL,
    state TEXT NOT NULL,
    sha256 TEXT,
    bytes INTEGER,
    reason TEXT,
    job_id TEXT NOT NULL,
    created_at TEXT NOT NULL,
    updated_at TEXT NOT NULL,
    PRIMARY KEY (dataset, record_id, field)
) WITHOUT ROWID;
CREATE INDEX media_by_path ON media (event_id, path) WHERE state IN ('pending', 'stored');
CREATE INDEX media_by_sha256 ON media (sha256);

CREATE TABLE users (
    id INTEGER PRIMARY KEY,
    account TEXT NOT NULL UNIQUE,
    email TEXT,
    name TEXT,
    created_at TEXT NOT NULL
);

CREATE TABLE event_roles (
    event_id INTEGER NOT NULL REFERENCES events (id),
    user_id INTEGER NOT NULL REFERENCES users (id),
    role TEXT NOT NULL,
    created_at TEXT NOT NULL,
    PRIMARY KEY (event_id, user_id, role)
) WITHOUT ROWID;

-- The next free id of each table; a chunk takes as many as it needs within its own transaction.
CREATE TABLE id_counters (
    name TEXT PRIMARY KEY,
    next_id INTEGER NOT NULL
) WITHOUT ROWID;
INSERT INTO id_counters (name, next_id) VALUES
    ('events', 1),
    ('social_links', 1),
    ('custom_forms', 1),
    ('microlocations', 1),
    ('sponsors', 1),
    ('speakers', 1),
    ('tracks', 1),
    ('session_types', 1),
    ('sessions', 1),
    ('users', 1);

-- One row per dropped archive. `finished_at` is when the outcome was frozen; the end is the final state.
-- `source_turn` is true from the moment on which no other import with the same source key may begin, to the end.
-- (`owner`, `epoch`) fence every update of a running job; `beat` grows as long as its owner lives.
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    kind TEXT NOT NULL,
    account TEXT NOT NULL,
    state TEXT NOT NULL,
    archive_name TEXT NOT NULL,
    archive_bytes INTEGER NOT NULL,
    archive_sha256 TEXT,
    source_key TEXT,
    source_turn BOOLEAN NOT NULL,
    again BOOLEAN NOT NULL,
    retry_of TEXT,
    related_job TEXT,
    created_at TEXT NOT NULL,
    run_at TEXT NOT NULL,
    started_at TEXT,
    claimed_at TEXT,
    finished_at TEXT,
    owner TEXT,
    epoch INTEGER NOT NULL,
    beat INTEGER NOT NULL,
    attempts INTEGER NOT NULL,
    outages INTEGER NOT NULL,
    strikes INTEGER NOT NULL,
    cancel_requested BOOLEAN NOT NULL,
    last_trouble TEXT,
    waits_for TEXT,
    waits_since TEXT,
    blocked_on TEXT,
    stage TEXT,
    stage_done INTEGER NOT NULL,
    stage_total INTEGER NOT NULL,
    event_id INTEGER,
    event_created BOOLEAN NOT NULL,
    checkpoint TEXT,
    outcome TEXT,
    summary TEXT,
    result_folder TEXT,
    source_state TEXT NOT NULL,
    source_path TEXT
);
CREATE INDEX jobs_to_run ON jobs (account, id, run_at, kind, state) WHERE state IN ('queued', 'paused');
CREATE INDEX jobs_running ON jobs (account, owner) WHERE state = 'running';
CREATE INDEX jobs_blocked ON jobs (blocked_on, id) WHERE state = 'blocked';
CREATE INDEX jobs_unfinished ON jobs (account, source_key, id) WHERE state IN ('queued', 'running', 'blocked', 'paused');
CREATE INDEX jobs_by_claim ON jobs (account, claimed_at);
CREATE INDEX jobs_by_account ON jobs (account, id);
CREATE INDEX jobs_to_move ON jobs (id) WHERE source_state = 'leaving';

CREATE TABLE problems (
    job_id TEXT NOT NULL REFERENCES jobs (id),
    number INTEGER NOT NULL,
    code TEXT NOT NULL,
    severity TEXT NOT NULL,
    file TEXT,
    position INTEGER,
    source_id TEXT,
    field TEXT,
    value TEXT,
    message TEXT NOT NULL,
    hint TEXT NOT NULL,
    PRIMARY KEY (job_id, number)
) WITHOUT ROWID;

-- The bytes that an account imported last into an event; outlives the jobs.
CREATE TABLE import_hashes (
    account TEXT NOT NULL,
    event_id INTEGER NOT NULL REFERENCES events (id),
    sha256 TEXT NOT NULL,
    job_id TEXT NOT NULL,
    imported_at TEXT NOT NULL,
    PRIMARY KEY (account, event_id)
) WITHOUT ROWID;
CREATE INDEX import_hashes_by_sha256 ON import_hashes (account, sha256);

-- Files in the inbox that are no jobs yet, and what was said about them.
CREATE TABLE arrivals (
    path TEXT PRIMARY KEY,
    account TEXT,
    state TEXT NOT NULL,
    identity TEXT NOT NULL,
    bytes INTEGER NOT NULL,
    reason TEXT,
    first_seen TEXT NOT NULL,
    changed_at TEXT NOT NULL,
    told_at TEXT
) WITHOUT ROWID;

CREATE TABLE mails (
    id TEXT PRIMARY KEY,
    subject_key TEXT NOT NULL,
    kind TEXT NOT NULL,
    job_id TEXT,
    account TEXT,
    recipient TEXT,
    state TEXT NOT NULL,
    message_id TEXT NOT NULL,
    subject TEXT NOT NULL,
    body_text TEXT NOT NULL,
    body_html TEXT NOT NULL,
    attachment TEXT,
    created_at TEXT NOT NULL,
    next_attempt_at TEXT NOT NULL,
    attempts INTEGER NOT NULL,
    sent_at TEXT,
    last_error TEXT,
    UNIQUE (subject_key, kind)
);
CREATE INDEX mails_to_send ON mails (next_attempt_at, id) WHERE state = 'queued';

CREATE TABLE notifications (
    id TEXT PRIMARY KEY,
    subject_key TEXT NOT NULL,
    kind TEXT NOT NULL,
    job_id TEXT,
    account TEXT,
    title TEXT NOT NULL,
    body TEXT NOT NULL,
    created_at TEXT NOT NULL,
    read_at TEXT,
    UNIQUE (subject_key, kind)
);
CREATE INDEX notifications_by_account ON notifications (account, id);
