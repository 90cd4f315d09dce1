-- From schema version 1 to 2, in one transaction. What version 1 stored keeps no batch number (0) and
-- no read; an app's ledger is taken to be whole from its position on.
BEGIN IMMEDIATE;

ALTER TABLE apps ADD COLUMN ledger_from INTEGER NOT NULL DEFAULT 0;
ALTER TABLE apps ADD COLUMN fingerprints INTEGER NOT NULL DEFAULT 0;
ALTER TABLE seen ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
ALTER TABLE undated ADD COLUMN seq INTEGER NOT NULL DEFAULT 0;
CREATE INDEX undated_by_tick ON undated (app, tick);

UPDATE apps SET
    ledger_from = position,
    fingerprints = (SELECT count(*) FROM seen WHERE app = apps.id)
                 + (SELECT count(*) FROM undated WHERE app = apps.id);

CREATE TABLE reads (
    first_seq      INTEGER PRIMARY KEY,
    last_seq       INTEGER NOT NULL,
    app            INTEGER NOT NULL,
    kind           TEXT    NOT NULL,
    floor          INTEGER NOT NULL,
    ceiling        INTEGER NOT NULL,
    at             INTEGER NOT NULL,
    pages          INTEGER NOT NULL,
    journaled_at   INTEGER NOT NULL,
    added          INTEGER NOT NULL,
    known          INTEGER NOT NULL,
    latest_by      INTEGER,
    median_late_by INTEGER
) STRICT;

CREATE INDEX spent_reads ON reads (first_seq) WHERE known = 0;

CREATE TABLE acks (
    destination TEXT    NOT NULL,
    cursor      INTEGER NOT NULL,
    after       INTEGER NOT NULL,
    at          INTEGER NOT NULL,
    PRIMARY KEY (destination, cursor)
) STRICT, WITHOUT ROWID;

CREATE TABLE gaps (
    app       INTEGER NOT NULL,
    kind      TEXT    NOT NULL,
    floor     INTEGER NOT NULL,
    ceiling   INTEGER NOT NULL,
    at_least  INTEGER NOT NULL,
    seq       INTEGER NOT NULL,
    found_at  INTEGER NOT NULL,
    closed_at INTEGER,
    PRIMARY KEY (app, kind, floor, ceiling)
) STRICT, WITHOUT ROWID;

PRAGMA user_version = 2;

COMMIT;
