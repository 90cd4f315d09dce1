-- The journal's schema, version 1. Built under another name and moved into place whole, so a file
-- that bears the journal's name has all of it.
BEGIN;

CREATE TABLE apps (
    id       INTEGER PRIMARY KEY,
    name     TEXT    NOT NULL UNIQUE,
    stream   TEXT    NOT NULL,
    filters  TEXT    NOT NULL,
    position INTEGER NOT NULL,             -- tick
    swept    TEXT    NOT NULL              -- JSON object: age in ticks to tick
) STRICT;

-- Fingerprints of journaled entries. The key is the whole row: one b-tree, in time order per app.
CREATE TABLE seen (
    app  INTEGER NOT NULL,
    tick INTEGER NOT NULL,
    uid  BLOB    NOT NULL,
    PRIMARY KEY (app, tick, uid)
) STRICT, WITHOUT ROWID;

-- The same for entries without a readable time. Their tick is borrowed and may differ at the next
-- reading, so it is not part of the key; it only says when they may be forgotten.
CREATE TABLE undated (
    app  INTEGER NOT NULL,
    uid  BLOB    NOT NULL,
    tick INTEGER NOT NULL,
    PRIMARY KEY (app, uid)
) STRICT, WITHOUT ROWID;

-- AUTOINCREMENT, because a plain INTEGER PRIMARY KEY starts again at 1 once the table is empty,
-- below every cursor. The `..._through` columns are running totals up to and including the row:
-- batches leave only from the front, so two rows give the sum of everything between them.
-- The payload stands last: the figures are read without touching its overflow pages.
CREATE TABLE batches (
    seq             INTEGER PRIMARY KEY AUTOINCREMENT,
    app             INTEGER NOT NULL,
    records         INTEGER NOT NULL,
    size            INTEGER NOT NULL,      -- bytes before compression
    journaled_at    INTEGER NOT NULL,      -- tick, wall clock
    records_through INTEGER NOT NULL,
    bytes_through   INTEGER NOT NULL,      -- compressed bytes
    gzip            BLOB    NOT NULL
) STRICT;

-- `in_use` is the state of the running process: cleared at every start, set when a destination
-- is attached. It stands here so that attaching and clean-up are ordered by the same transactions.
CREATE TABLE cursors (
    destination TEXT    PRIMARY KEY,
    cursor      INTEGER NOT NULL,
    in_use      INTEGER NOT NULL
) STRICT;

CREATE TABLE dead_letters (
    id          INTEGER PRIMARY KEY,
    destination TEXT    NOT NULL,
    uid         TEXT    NOT NULL,
    seq         INTEGER NOT NULL,
    reason      TEXT    NOT NULL,
    refused_at  INTEGER NOT NULL,          -- tick
    gzip        BLOB    NOT NULL,
    UNIQUE (destination, uid)
) STRICT;

COMMIT;
