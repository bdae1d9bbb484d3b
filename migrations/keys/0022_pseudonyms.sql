-- Why: what pseudonyms in prompts stand for, so that who may read content can tell, and a person's values can be forgotten. Forward only.
--
-- `sealed`: the value under a key that follows from the tenant's key (audit/FORMAT.md). `subject`: the HMAC of the end user who wrote it, empty
-- where the application named none; one value that two wrote has a row of each. `mark`: the value's HMAC, by which it is found to be erased.
-- A row that is deleted makes its pseudonym mean nothing.
CREATE TABLE keys.pseudonym (
  team_id uuid NOT NULL,
  pseudonym text NOT NULL,
  subject bytea NOT NULL,
  sealed bytea NOT NULL,
  mark bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (team_id, pseudonym, subject)
);
CREATE INDEX pseudonym_subject ON keys.pseudonym (team_id, subject);
CREATE INDEX pseudonym_mark ON keys.pseudonym (team_id, mark);

GRANT SELECT, INSERT, DELETE ON keys.pseudonym TO tollgate_keys;
