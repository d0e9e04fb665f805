-- What is under way between two steps of a login, and must be taken up at most once. Found by the SHA-256 of a random value.
CREATE TABLE tickets (
    hash    BLOB PRIMARY KEY NOT NULL CHECK (length(hash) = 32),
    kind    TEXT NOT NULL,
    sealed  TEXT NOT NULL,
    ends_at INTEGER NOT NULL
) STRICT;
CREATE INDEX tickets_by_end ON tickets (ends_at);

-- Persons who logged in at a provider. `browser` is the SHA-256 of the cookie's value; `sealed` what the provider said.
CREATE TABLE logins (
    id               TEXT PRIMARY KEY NOT NULL,
    browser          BLOB NOT NULL CHECK (length(browser) = 32),
    provider         TEXT NOT NULL,
    user             TEXT NOT NULL,
    provider_session TEXT,
    sealed           TEXT NOT NULL,
    authenticated_at INTEGER NOT NULL,
    seen_at          INTEGER NOT NULL,
    ends_at          INTEGER NOT NULL,
    ended_at         INTEGER
) STRICT;
CREATE UNIQUE INDEX logins_by_browser ON logins (browser);
CREATE INDEX logins_by_user ON logins (user);
CREATE INDEX logins_by_end ON logins (ends_at);

-- What persons have allowed to clients: scopes, separated by spaces.
CREATE TABLE consents (
    user       TEXT NOT NULL,
    client_id  TEXT NOT NULL,
    scope      TEXT NOT NULL,
    created_at INTEGER NOT NULL,
    PRIMARY KEY (user, client_id)
) STRICT;

-- Everything that descends from one consent in one login. `code` is the SHA-256 of the authorization code.
CREATE TABLE families (
    id         TEXT PRIMARY KEY NOT NULL,
    login_id   TEXT NOT NULL REFERENCES logins (id) ON DELETE CASCADE,
    client_id  TEXT NOT NULL,
    user       TEXT NOT NULL,
    scope      TEXT NOT NULL,
    code       BLOB NOT NULL CHECK (length(code) = 32),
    challenge  TEXT NOT NULL,
    redirect_uri TEXT NOT NULL,
    code_ends_at INTEGER NOT NULL,
    redeemed_at  INTEGER,
    revoked_at   INTEGER
) STRICT;
CREATE UNIQUE INDEX families_by_code ON families (code);
CREATE INDEX families_by_login ON families (login_id);
CREATE INDEX families_by_user ON families (user, client_id);

-- One is good at a time in each family; those that were used are kept to be known again.
CREATE TABLE refresh_tokens (
    hash    BLOB PRIMARY KEY NOT NULL CHECK (length(hash) = 32),
    family  TEXT NOT NULL REFERENCES families (id) ON DELETE CASCADE,
    ends_at INTEGER NOT NULL,
    used_at INTEGER
) STRICT;
CREATE INDEX refresh_tokens_by_family ON refresh_tokens (family);

ALTER TABLE issued_tokens ADD COLUMN family TEXT;
ALTER TABLE issued_tokens ADD COLUMN login TEXT;
CREATE INDEX issued_tokens_by_family ON issued_tokens (family) WHERE family IS NOT NULL;
