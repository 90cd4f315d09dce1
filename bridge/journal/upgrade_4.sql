-- From schema version 3 to 4, in one transaction: backfills. Where a destination's cursor began is
-- where its first known acknowledgement did.
BEGIN IMMEDIATE;

ALTER TABLE apps ADD COLUMN begun INTEGER NOT NULL DEFAULT 1;
ALTER TABLE batches ADD COLUMN audience TEXT;
ALTER TABLE cursors ADD COLUMN began INTEGER NOT NULL DEFAULT 0;

UPDATE cursors SET began = coalesce((SELECT min(after) FROM acks
                                     WHERE acks.destination = cursors.destination), cursor);

CREATE TABLE backfills (
    id          INTEGER PRIMARY KEY,       -- in the order of coming
    name        TEXT    NOT NULL UNIQUE,
    asked       TEXT    NOT NULL,          -- JSON: what was asked for, in the words of the command
    floor       INTEGER NOT NULL,          -- tick
    ceiling     INTEGER NOT NULL,          -- tick
    audience    TEXT    NOT NULL,          -- JSON array of destinations, empty for all
    own_stream  INTEGER NOT NULL,
    state       TEXT    NOT NULL,
    created_at  INTEGER NOT NULL,          -- tick, wall clock
    finished_at INTEGER                    -- tick, wall clock
) STRICT;

-- How far a job has come with each of its apps; `fingerprints` counts rows in `backfilled`.
CREATE TABLE backfill_apps (
    job          INTEGER NOT NULL,
    app          INTEGER NOT NULL,
    stream       TEXT    NOT NULL,
    filters      TEXT    NOT NULL,
    position     INTEGER NOT NULL,         -- tick
    added        INTEGER NOT NULL,
    known        INTEGER NOT NULL,
    gaps         INTEGER NOT NULL,
    last_seq     INTEGER NOT NULL,
    fingerprints INTEGER NOT NULL,
    note         TEXT    NOT NULL,
    PRIMARY KEY (job, app)
) STRICT, WITHOUT ROWID;

-- The fingerprints of what jobs journaled, apart from the ledger: they prune neither each other nor
-- move the live edge's anchor. `audience` is as in `batches`, empty for all; an entry without a time
-- has -1 as its tick and lies `around` a borrowed one.
CREATE TABLE backfilled (
    app      INTEGER NOT NULL,
    tick     INTEGER NOT NULL,
    uid      BLOB    NOT NULL,
    audience TEXT    NOT NULL,
    seq      INTEGER NOT NULL,
    job      INTEGER NOT NULL,
    around   INTEGER NOT NULL,
    PRIMARY KEY (app, tick, uid, audience)
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 4;

COMMIT;
