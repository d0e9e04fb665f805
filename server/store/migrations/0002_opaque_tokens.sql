-- SHA-256 of an opaque token. A token that carries its own claims has none: it is verified, not looked up.
ALTER TABLE issued_tokens ADD COLUMN hash BLOB CHECK (hash IS NULL OR length(hash) = 32);
CREATE UNIQUE INDEX issued_tokens_by_hash ON issued_tokens (hash) WHERE hash IS NOT NULL;
