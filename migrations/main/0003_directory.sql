-- Why: the directory: who there is, what they may do, which policies, limits and stops are in force. Forward only.
--
-- Every row says which ADMIN record came before it and carries a MAC under a key that is not in any database; head binds the set of all rows
-- (gateway/directory/rows.h). Rows are never deleted: what ends is marked. `version` is the directory's version that wrote the row.

CREATE SCHEMA directory;
GRANT USAGE ON SCHEMA directory TO tollgate_directory, tollgate_verifier;

-- One row: the version, the XOR of all rows' MACs (the price book's too), and a MAC over both. Its lock orders all changes.
CREATE TABLE directory.head (
  one bool PRIMARY KEY DEFAULT true CHECK (one),
  version int8 NOT NULL,
  set_xor bytea NOT NULL CHECK (length(set_xor) = 32),
  mac bytea NOT NULL CHECK (length(mac) = 32)
);
INSERT INTO directory.head (version, set_xor, mac) VALUES (0, decode(repeat('00', 32), 'hex'), decode(repeat('00', 32), 'hex'));

-- A table for columns that all rows have; the others are made LIKE it.
CREATE TABLE directory.row_shape (
  id uuid NOT NULL,
  version int8 NOT NULL,
  admin_record uuid NOT NULL,
  admin_log_id int4 NOT NULL,
  admin_index int8 NOT NULL,
  mac bytea NOT NULL
);

CREATE TABLE directory.org (
  LIKE directory.row_shape,
  name text NOT NULL UNIQUE,
  blocked bool NOT NULL,
  PRIMARY KEY (id)
);

CREATE TABLE directory.team (
  LIKE directory.row_shape,
  org uuid NOT NULL REFERENCES directory.org,
  name text NOT NULL,
  blocked bool NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (org, name)
);

CREATE TABLE directory.project (
  LIKE directory.row_shape,
  org uuid NOT NULL REFERENCES directory.org,
  team uuid NOT NULL REFERENCES directory.team,
  name text NOT NULL,
  blocked bool NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (team, name)
);

-- secret_hmac = HMAC-SHA-256(pepper, secret); the pepper is not in any database. predecessor: the key that it replaced.
CREATE TABLE directory.key (
  LIKE directory.row_shape,
  org uuid NOT NULL REFERENCES directory.org,
  project uuid NOT NULL REFERENCES directory.project,
  public_id text NOT NULL UNIQUE,
  name text NOT NULL,
  owner text NOT NULL,
  secret_hmac bytea NOT NULL CHECK (length(secret_hmac) = 32),
  roles text NOT NULL,
  created_us int8 NOT NULL,
  expires_us int8,
  revoked_us int8,
  dev bool NOT NULL,
  predecessor uuid,
  PRIMARY KEY (id)
);

-- Versions never change; policy_binding says which is in force. mode: "enforce"; shadow and canary come with their own columns.
CREATE TABLE directory.policy (
  LIKE directory.row_shape,
  org uuid NOT NULL REFERENCES directory.org,
  name text NOT NULL,
  policy_version int8 NOT NULL,
  sha256 bytea NOT NULL CHECK (length(sha256) = 32),
  yaml text NOT NULL,
  created_us int8 NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (org, name, policy_version)
);

-- policy_version 0: none is in force.
CREATE TABLE directory.policy_binding (
  LIKE directory.row_shape,
  org uuid NOT NULL REFERENCES directory.org,
  name text NOT NULL,
  policy_version int8 NOT NULL,
  mode text NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (org, name)
);

-- state: "granted", "revoked" (off the list, which stands) or "cleared" (the list is gone).
CREATE TABLE directory.model_grant (
  LIKE directory.row_shape,
  org uuid NOT NULL REFERENCES directory.org,
  scope_kind text NOT NULL CHECK (scope_kind IN ('org', 'team', 'project', 'key')),
  scope_id uuid NOT NULL,
  model text NOT NULL,
  state text NOT NULL CHECK (state IN ('granted', 'revoked', 'cleared')),
  PRIMARY KEY (id),
  UNIQUE (scope_kind, scope_id, model)
);

CREATE TABLE directory.quota (
  LIKE directory.row_shape,
  org uuid NOT NULL REFERENCES directory.org,
  scope_kind text NOT NULL CHECK (scope_kind IN ('org', 'team', 'project', 'key')),
  scope_id uuid NOT NULL,
  meter text NOT NULL,
  period text NOT NULL,
  amount int8 NOT NULL CHECK (amount >= 0),
  removed bool NOT NULL,
  PRIMARY KEY (id),
  UNIQUE (scope_kind, scope_id, meter, period)
);

-- Emergency stops. org is NULL for "everything" and "model".
CREATE TABLE directory.stop (
  LIKE directory.row_shape,
  org uuid REFERENCES directory.org,
  scope_kind text NOT NULL CHECK (scope_kind IN ('everything', 'model', 'org', 'team', 'project')),
  scope_id uuid,
  model text,
  reason text NOT NULL,
  since_us int8 NOT NULL,
  lifted bool NOT NULL,
  PRIMARY KEY (id)
);
CREATE UNIQUE INDEX stop_one ON directory.stop
  (scope_kind, coalesce(scope_id, '00000000-0000-0000-0000-000000000000'::uuid), coalesce(model, ''));

-- Readers of changes ask for what is newer than what they have.
CREATE INDEX org_version ON directory.org (version);
CREATE INDEX team_version ON directory.team (version);
CREATE INDEX project_version ON directory.project (version);
CREATE INDEX key_version ON directory.key (version);
CREATE INDEX policy_version ON directory.policy (version);
CREATE INDEX policy_binding_version ON directory.policy_binding (version);
CREATE INDEX model_grant_version ON directory.model_grant (version);
CREATE INDEX quota_version ON directory.quota (version);
CREATE INDEX stop_version ON directory.stop (version);

DROP TABLE directory.row_shape;

GRANT SELECT, INSERT, UPDATE ON ALL TABLES IN SCHEMA directory TO tollgate_directory;
REVOKE UPDATE ON directory.policy FROM tollgate_directory;
REVOKE INSERT ON directory.head FROM tollgate_directory;
GRANT SELECT ON ALL TABLES IN SCHEMA directory TO tollgate_verifier;

CREATE FUNCTION directory.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'rows of % are never deleted', TG_TABLE_NAME;
END $$;
DO $$
DECLARE
  t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['head', 'org', 'team', 'project', 'key', 'policy', 'policy_binding', 'model_grant', 'quota', 'stop'] LOOP
    EXECUTE format('CREATE TRIGGER keep BEFORE DELETE OR TRUNCATE ON directory.%I FOR EACH STATEMENT EXECUTE FUNCTION directory.refuse()', t);
  END LOOP;
END $$;
