-- A key of internal tokens waits until the engine takes it. A check cannot be changed, so the table is made anew.
CREATE TABLE signing_keys_new (
    kid        TEXT PRIMARY KEY NOT NULL,
    usage      TEXT NOT NULL CHECK (usage IN ('access', 'internal')),
    algorithm  TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('waiting', 'active', 'retiring', 'retired')),
    sealed     TEXT,
    created_at INTEGER NOT NULL,
    CHECK ((state = 'retired') = (sealed IS NULL))
) STRICT;
INSERT INTO signing_keys_new (kid, usage, algorithm, state, sealed, created_at)
    SELECT kid, usage, algorithm, state, sealed, created_at FROM signing_keys;
DROP TABLE signing_keys;
ALTER TABLE signing_keys_new RENAME TO signing_keys;
CREATE UNIQUE INDEX signing_keys_active ON signing_keys (usage) WHERE state = 'active';
CREATE UNIQUE INDEX signing_keys_waiting ON signing_keys (usage) WHERE state = 'waiting';

-- How far a cluster is on its way from one key of internal tokens to the next; the only cluster has the empty name. A
-- cluster without an active key here uses the active one of `signing_keys`. `ends_at`: the end of the last token signed with
-- a retiring key, once that is known.
CREATE TABLE engine_keys (
    cluster TEXT NOT NULL,
    kid     TEXT NOT NULL,
    state   TEXT NOT NULL CHECK (state IN ('active', 'retiring')),
    ends_at INTEGER,
    PRIMARY KEY (cluster, kid),
    CHECK (state = 'retiring' OR ends_at IS NULL)
) STRICT;
CREATE UNIQUE INDEX engine_keys_active ON engine_keys (cluster) WHERE state = 'active';
