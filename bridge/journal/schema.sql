-- The journal's schema, version 4. Built under another name and moved into place whole, so a file
-- that bears the journal's name has all of it. What the upgrades make of older versions is the same,
-- column for column; hence the defaults.
BEGIN;

CREATE TABLE apps (
    id       INTEGER PRIMARY KEY,
    name     TEXT    NOT NULL UNIQUE,
    stream   TEXT    NOT NULL,
    filters  TEXT    NOT NULL,
    position INTEGER NOT NULL,             -- tick
    swept    TEXT    NOT NULL,             -- JSON object: age in ticks to tick
    ledger_from  INTEGER NOT NULL DEFAULT 0,   -- tick: the ledger is whole from here on
    fingerprints INTEGER NOT NULL DEFAULT 0,   -- rows of the app in `seen` and `undated`
    begun        INTEGER NOT NULL DEFAULT 1    -- 0: only backfills have read it, no position counts
) STRICT;

-- The ledger: fingerprints of journaled entries, each with the batch it went into (0 for those that
-- version 1 stored, -1 for one that was dropped by rule and is in none). One b-tree, in time order
-- per app.
CREATE TABLE seen (
    app  INTEGER NOT NULL,
    tick INTEGER NOT NULL,
    uid  BLOB    NOT NULL,
    seq  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (app, tick, uid)
) STRICT, WITHOUT ROWID;

-- The same for entries without a readable time. Their tick is borrowed and may differ at the next
-- reading, so it is not part of the key; it only says when they may be forgotten.
CREATE TABLE undated (
    app  INTEGER NOT NULL,
    uid  BLOB    NOT NULL,
    tick INTEGER NOT NULL,
    seq  INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (app, uid)
) STRICT, WITHOUT ROWID;

CREATE INDEX undated_by_tick ON undated (app, tick);

-- AUTOINCREMENT, because a plain INTEGER PRIMARY KEY starts again at 1 once the table is empty,
-- below every cursor. The `..._through` columns are running totals up to and including the row:
-- batches leave only from the front, so two rows give the sum of everything between them.
-- The payload stands behind the figures: they are read without touching its overflow pages. Behind
-- it is what is read only together with it: the one destination that a batch is for, NULL for all.
CREATE TABLE batches (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    app             INTEGER NOT NULL,
    records         INTEGER NOT NULL,
    size            INTEGER NOT NULL,      -- bytes before compression
    journaled_at    INTEGER NOT NULL,      -- tick, wall clock
    records_through INTEGER NOT NULL,
    bytes_through   INTEGER NOT NULL,      -- compressed bytes
    gzip            BLOB    NOT NULL,
    audience        TEXT
) STRICT;

-- Every destination that was ever attached and not forgotten; all of them hold batches. `in_use` is
-- the state of the running process: cleared at every start, set when a destination is attached. The
-- two `dead` columns count its dead letters, kept by the triggers below. `began` is where its cursor
-- began: batches up to there were never for it to take.
CREATE TABLE cursors (
    destination  TEXT    PRIMARY KEY,
    cursor       INTEGER NOT NULL,
    in_use       INTEGER NOT NULL,
    paused       INTEGER NOT NULL DEFAULT 0,
    dead_letters INTEGER NOT NULL DEFAULT 0,
    dead_bytes   INTEGER NOT NULL DEFAULT 0,
    began        INTEGER NOT NULL DEFAULT 0
) STRICT;

-- AUTOINCREMENT, so that an order for those that are there never meets one that came later.
CREATE TABLE dead_letters (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    destination TEXT    NOT NULL,
    uid         TEXT    NOT NULL,
    seq         INTEGER NOT NULL,
    refused_at  INTEGER NOT NULL,          -- tick
    replay      INTEGER NOT NULL,          -- a person wants it sent again
    size        INTEGER NOT NULL,          -- bytes of reason, answer and gzip
    reason      TEXT    NOT NULL,
    answer      TEXT    NOT NULL,
    gzip        BLOB    NOT NULL,
    UNIQUE (destination, uid)
) STRICT;

CREATE INDEX wished_letters ON dead_letters (destination) WHERE replay;

CREATE TRIGGER letter_kept AFTER INSERT ON dead_letters BEGIN
    UPDATE cursors SET dead_letters = dead_letters + 1, dead_bytes = dead_bytes + new.size
    WHERE destination = new.destination;
END;

CREATE TRIGGER letter_changed AFTER UPDATE OF size ON dead_letters BEGIN
    UPDATE cursors SET dead_bytes = dead_bytes + new.size - old.size
    WHERE destination = new.destination;
END;

CREATE TRIGGER letter_gone AFTER DELETE ON dead_letters BEGIN
    UPDATE cursors SET dead_letters = dead_letters - 1, dead_bytes = dead_bytes - old.size
    WHERE destination = old.destination;
END;

-- The walks that filled batches. An append's batches have consecutive numbers, so the first one is
-- a key. `known` counts the fingerprints that still point here: a row without any is spent once its
-- batches are delivered. The two last columns: how late after its time an entry of a sweep came.
CREATE TABLE reads (
    first_seq      INTEGER PRIMARY KEY,
    last_seq       INTEGER NOT NULL,
    app            INTEGER NOT NULL,
    kind           TEXT    NOT NULL,
    floor          INTEGER NOT NULL,       -- tick
    ceiling        INTEGER NOT NULL,       -- tick
    at             INTEGER NOT NULL,       -- tick, server time
    pages          INTEGER NOT NULL,
    journaled_at   INTEGER NOT NULL,       -- tick, wall clock
    added          INTEGER NOT NULL,
    known          INTEGER NOT NULL,
    latest_by      INTEGER,                -- ticks
    median_late_by INTEGER                 -- ticks
) STRICT;

CREATE INDEX spent_reads ON reads (first_seq) WHERE known = 0;

-- When a destination passed the batches after `after`, up to and including `cursor`.
CREATE TABLE acks (
    destination TEXT    NOT NULL,
    cursor      INTEGER NOT NULL,
    after       INTEGER NOT NULL,
    at          INTEGER NOT NULL,          -- tick, wall clock
    PRIMARY KEY (destination, cursor)
) STRICT, WITHOUT ROWID;

-- Stretches that could not be proved, open until `closed_at`. `seq` is the batch of the record.
CREATE TABLE gaps (
    app       INTEGER NOT NULL,
    kind      TEXT    NOT NULL,
    floor     INTEGER NOT NULL,            -- tick
    ceiling   INTEGER NOT NULL,            -- tick
    at_least  INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    found_at  INTEGER NOT NULL,            -- tick, wall clock
    closed_at INTEGER,                     -- tick, wall clock
    PRIMARY KEY (app, kind, floor, ceiling)
) STRICT, WITHOUT ROWID;

-- Backfills: named jobs that read a window of the past, kept until they are forgotten by command.
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

COMMIT;
