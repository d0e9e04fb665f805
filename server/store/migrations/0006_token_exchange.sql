-- The token that was shown for this one: what takes that one back takes this one back. And who acts for the subject, as in the
-- claim `act`.
ALTER TABLE issued_tokens ADD COLUMN parent TEXT;
ALTER TABLE issued_tokens ADD COLUMN act TEXT CHECK (act IS NULL OR json_type(act) = 'object');
CREATE INDEX issued_tokens_by_parent ON issued_tokens (parent) WHERE parent IS NOT NULL;
