-- Why: wrapped data keys live in a database of their own, so that destroying a row destroys the content that it opens, in every copy of the
-- audit log. Nothing here opens anything without the root key. Forward only.
DO $$
BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'tollgate_keys') THEN
    CREATE ROLE tollgate_keys NOLOGIN;
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;
DO $$ BEGIN EXECUTE format('GRANT tollgate_keys TO %I', current_user); EXCEPTION WHEN unique_violation THEN NULL; END $$;

CREATE SCHEMA keys;
GRANT USAGE ON SCHEMA keys TO tollgate_keys;

-- One row: which root key wraps the tenant keys. `check_value` is a value sealed under it, so that a wrong root key is found at start-up.
CREATE TABLE keys.root (
  id text PRIMARY KEY,
  check_value bytea NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);

-- A tenant's key, wrapped by the root key. A new version is a rotation: days wrapped by older versions are wrapped anew.
CREATE TABLE keys.tenant (
  team_id uuid NOT NULL,
  version int4 NOT NULL,
  root_id text NOT NULL,
  wrapped bytea,                          -- NULL once destroyed.
  created_at timestamptz NOT NULL DEFAULT now(),
  destroyed_at timestamptz,
  PRIMARY KEY (team_id, version)
);

-- A tenant's key of one day (UTC), wrapped by the tenant key. What a retention ceiling destroys.
CREATE TABLE keys.tenant_day (
  number int4 GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
  team_id uuid NOT NULL,
  day date NOT NULL,
  tenant_version int4 NOT NULL,
  wrapped bytea,
  created_at timestamptz NOT NULL DEFAULT now(),
  destroyed_at timestamptz,
  UNIQUE (team_id, day)
);

-- What a request's key is derived from beside its tenant-day key; without it nobody can make that key again. `subject` is the end user's
-- HMAC, by which erasure finds it.
CREATE TABLE keys.request (
  request_id uuid PRIMARY KEY,            -- Version 7: the index grows at its end.
  tenant_day int4 NOT NULL,
  salt bytea,                             -- NULL once destroyed.
  subject bytea,
  destroyed_at timestamptz
);
CREATE INDEX request_subject ON keys.request (subject) WHERE subject IS NOT NULL;

GRANT SELECT, INSERT ON keys.root, keys.tenant, keys.tenant_day, keys.request TO tollgate_keys;
