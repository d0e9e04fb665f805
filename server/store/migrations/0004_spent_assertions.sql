-- Assertions that were used, by a hash of who they are from and what names them: each is good for one token.
CREATE TABLE spent_assertions (
    id         BLOB PRIMARY KEY NOT NULL CHECK (length(id) = 32),
    expires_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX spent_assertions_by_end ON spent_assertions (expires_at);
