-- Why: what an org, team or project puts before its prompts, what holds where a request leaves a value out, and caps. Forward only.
--
-- Rows of the directory as in 0003_directory.sql: each with its ADMIN record and MAC, never deleted. One row a scope, which holds what is in
-- force; defaults_version rises with each change. NULL: that is not set. *_millionths: the value times 1,000,000.
CREATE TABLE directory.chat_defaults (
  id uuid PRIMARY KEY,
  version int8 NOT NULL,
  admin_record uuid NOT NULL,
  admin_log_id int4 NOT NULL,
  admin_index int8 NOT NULL,
  mac bytea NOT NULL,
  org uuid NOT NULL REFERENCES directory.org,
  scope_kind text NOT NULL CHECK (scope_kind IN ('org', 'team', 'project')),
  scope_id uuid NOT NULL,
  defaults_version int8 NOT NULL,
  system_prompt text,
  replaces_system bool NOT NULL,
  temperature_millionths int8,
  top_p_millionths int8,
  top_k int8,
  min_p_millionths int8,
  presence_penalty_millionths int8,
  frequency_penalty_millionths int8,
  repeat_penalty_millionths int8,
  max_tokens int8,
  temperature_cap_millionths int8,
  input_tokens_cap int8,
  output_tokens_cap int8,
  stop_cap int8,
  clamp bool NOT NULL,
  shares_cache bool NOT NULL,
  removed bool NOT NULL,
  UNIQUE (scope_kind, scope_id)
);
CREATE INDEX chat_defaults_version ON directory.chat_defaults (version);

GRANT SELECT, INSERT, UPDATE ON directory.chat_defaults TO tollgate_directory;
GRANT SELECT ON directory.chat_defaults TO tollgate_verifier;
CREATE TRIGGER keep BEFORE DELETE OR TRUNCATE ON directory.chat_defaults FOR EACH STATEMENT EXECUTE FUNCTION directory.refuse();
