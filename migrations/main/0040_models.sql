-- Why: models as data: the registry, which says what may be loaded, and names that lead to models. Forward only.
--
-- Rows of the directory as in 0003_directory.sql: each with its ADMIN record and MAC, never deleted, of the whole installation.

-- `file` is a path within each instance's pool.models_dir. restricted: only scopes whose allow-list names the model may use it. loaded:
-- whether instances shall have it in memory.
CREATE TABLE directory.model (
  id uuid PRIMARY KEY,
  version int8 NOT NULL,
  admin_record uuid NOT NULL,
  admin_log_id int4 NOT NULL,
  admin_index int8 NOT NULL,
  mac bytea NOT NULL,
  name text NOT NULL UNIQUE,
  engine text NOT NULL,
  file text,
  sha256 bytea CHECK (length(sha256) = 32),
  licence text NOT NULL,
  chat_template text NOT NULL,
  context_tokens int8 NOT NULL,
  slots int8 NOT NULL,
  threads int8 NOT NULL,
  kv text NOT NULL,
  queue_max int8 NOT NULL,
  queue_timeout_ms int8 NOT NULL,
  prefix_cache_bytes int8 NOT NULL,
  step_target_ms int8 NOT NULL,
  restricted bool NOT NULL,
  loaded bool NOT NULL,
  retired bool NOT NULL
);
CREATE INDEX model_version ON directory.model (version);

-- Names that lead to models. targets: "qwen3=90 qwen4=10", models with their weights; fallbacks: "smollm2 tiny", in order. previous_*: what
-- it led to before its last change, for going back at once.
CREATE TABLE directory.alias (
  id uuid PRIMARY KEY,
  version int8 NOT NULL,
  admin_record uuid NOT NULL,
  admin_log_id int4 NOT NULL,
  admin_index int8 NOT NULL,
  mac bytea NOT NULL,
  name text NOT NULL UNIQUE,
  targets text NOT NULL,
  fallbacks text NOT NULL,
  previous_targets text,
  previous_fallbacks text,
  removed bool NOT NULL
);
CREATE INDEX alias_version ON directory.alias (version);

GRANT SELECT, INSERT, UPDATE ON directory.model, directory.alias TO tollgate_directory;
GRANT SELECT ON directory.model, directory.alias TO tollgate_verifier;
CREATE TRIGGER keep BEFORE DELETE OR TRUNCATE ON directory.model FOR EACH STATEMENT EXECUTE FUNCTION directory.refuse();
CREATE TRIGGER keep BEFORE DELETE OR TRUNCATE ON directory.alias FOR EACH STATEMENT EXECUTE FUNCTION directory.refuse();

-- The name that the caller used, where an alias led from it to `model`. Rows from before have none.
ALTER TABLE metering.usage ADD COLUMN model_requested text NOT NULL DEFAULT '';
