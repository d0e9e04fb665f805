-- Times are milliseconds since 1970 (UTC). What is called `sealed` or `wrapped` is encrypted by the gateway.

-- Facts about the store as a whole.
CREATE TABLE meta (
    name  TEXT PRIMARY KEY NOT NULL,
    value TEXT NOT NULL
) STRICT;

-- The keys that encrypt values, themselves encrypted by the master key.
CREATE TABLE data_keys (
    id         TEXT PRIMARY KEY NOT NULL,
    wrapped    TEXT NOT NULL,
    active     INTEGER NOT NULL CHECK (active IN (0, 1)),
    created_at INTEGER NOT NULL
) STRICT;
CREATE UNIQUE INDEX data_keys_active ON data_keys (active) WHERE active = 1;

CREATE TABLE signing_keys (
    kid        TEXT PRIMARY KEY NOT NULL,
    usage      TEXT NOT NULL CHECK (usage IN ('access', 'internal')),
    algorithm  TEXT NOT NULL,
    state      TEXT NOT NULL CHECK (state IN ('active', 'retiring', 'retired')),
    sealed     TEXT,
    created_at INTEGER NOT NULL,
    CHECK ((state = 'retired') = (sealed IS NULL))
) STRICT;
CREATE UNIQUE INDEX signing_keys_active ON signing_keys (usage) WHERE state = 'active';

-- `groups` and `scopes` decide what a client may do; `labels` only select.
CREATE TABLE clients (
    id                    TEXT PRIMARY KEY NOT NULL,
    name                  TEXT NOT NULL,
    kind                  TEXT NOT NULL CHECK (kind IN ('machine', 'agent')),
    groups                TEXT NOT NULL CHECK (json_type(groups) = 'array'),
    labels                TEXT NOT NULL CHECK (json_type(labels) = 'object'),
    scopes                TEXT NOT NULL,
    enabled               INTEGER NOT NULL CHECK (enabled IN (0, 1)),
    rate_limit_per_second INTEGER,
    rate_limit_burst      INTEGER,
    created_at            INTEGER NOT NULL,
    CHECK ((rate_limit_per_second IS NULL) = (rate_limit_burst IS NULL))
) STRICT;
CREATE INDEX clients_by_age ON clients (created_at, id);

CREATE TABLE client_secrets (
    client_id  TEXT NOT NULL REFERENCES clients (id) ON DELETE CASCADE,
    id         TEXT NOT NULL,
    hash       BLOB NOT NULL CHECK (length(hash) = 32),
    hint       TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    expires_at INTEGER,
    PRIMARY KEY (client_id, id)
) STRICT;

-- `client_id` is no foreign key: clients of the configuration file have no row, and a token outlives its client here
-- so that its revocation is known until it ends.
CREATE TABLE issued_tokens (
    id         TEXT PRIMARY KEY NOT NULL,
    client_id  TEXT NOT NULL,
    subject    TEXT NOT NULL,
    scope      TEXT NOT NULL,
    audience   TEXT NOT NULL CHECK (json_type(audience) = 'array'),
    issued_at  INTEGER NOT NULL,
    expires_at INTEGER NOT NULL,
    revoked_at INTEGER
) STRICT;
CREATE INDEX issued_tokens_by_age ON issued_tokens (issued_at, id);
CREATE INDEX issued_tokens_by_client ON issued_tokens (client_id, issued_at, id);
CREATE INDEX issued_tokens_by_end ON issued_tokens (expires_at);
CREATE INDEX issued_tokens_revoked ON issued_tokens (expires_at) WHERE revoked_at IS NOT NULL;
