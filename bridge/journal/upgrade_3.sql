-- From schema version 2 to 3, in one transaction. A destination out of use holds batches from now on:
-- those that are there. What was removed behind its cursor it does not wait for.
BEGIN IMMEDIATE;

ALTER TABLE cursors ADD COLUMN paused INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cursors ADD COLUMN dead_letters INTEGER NOT NULL DEFAULT 0;
ALTER TABLE cursors ADD COLUMN dead_bytes INTEGER NOT NULL DEFAULT 0;

CREATE TABLE letters (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    destination TEXT    NOT NULL,
    uid         TEXT    NOT NULL,
    seq         INTEGER NOT NULL,
    refused_at  INTEGER NOT NULL,
    replay      INTEGER NOT NULL,
    size        INTEGER NOT NULL,
    reason      TEXT    NOT NULL,
    answer      TEXT    NOT NULL,
    gzip        BLOB    NOT NULL,
    UNIQUE (destination, uid)
) STRICT;

INSERT INTO letters
SELECT id, destination, uid, seq, refused_at, 0, length(gzip) + length(CAST(reason AS BLOB)),
       reason, '', gzip
FROM dead_letters ORDER BY id;

DROP TABLE dead_letters;
ALTER TABLE letters RENAME TO dead_letters;

UPDATE cursors SET
    cursor = max(cursor, coalesce((SELECT min(seq) - 1 FROM batches),
                                  (SELECT seq FROM sqlite_sequence WHERE name = 'batches'), 0)),
    dead_letters = (SELECT count(*) FROM dead_letters AS letters
                    WHERE letters.destination = cursors.destination),
    dead_bytes = (SELECT coalesce(sum(size), 0) FROM dead_letters AS letters
                  WHERE letters.destination = cursors.destination);

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

PRAGMA user_version = 3;

COMMIT;
