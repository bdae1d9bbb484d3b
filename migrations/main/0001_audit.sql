-- Why: the audit log: records that can only be added, the heads of the logs, and the roles that the gateway takes. Forward only.
-- Formats: audit/FORMAT.md.

-- Roles belong to the whole cluster; several databases may share them.
DO $$
DECLARE
  role text;
BEGIN
  FOREACH role IN ARRAY ARRAY['tollgate_writer', 'tollgate_reader', 'tollgate_keys', 'tollgate_directory', 'tollgate_retention', 'tollgate_verifier'] LOOP
    BEGIN
      IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
        EXECUTE format('CREATE ROLE %I NOLOGIN', role);
      END IF;
    EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
    END;
    BEGIN
      EXECUTE format('GRANT %I TO %I', role, current_user);
    EXCEPTION WHEN unique_violation THEN NULL;
    END;
  END LOOP;
END $$;

CREATE SCHEMA audit;
GRANT USAGE ON SCHEMA audit TO tollgate_writer, tollgate_reader, tollgate_verifier, tollgate_retention;

-- The origin of every log is this id and the log's number.
CREATE TABLE audit.installation (
  id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX installation_one ON audit.installation ((true));
INSERT INTO audit.installation DEFAULT VALUES;

-- Epochs of all logs: no two owners share one, whichever logs they own.
CREATE SEQUENCE audit.epoch;

-- One row a log. `epoch` grows with each owner, `fence` with each connection of an owner; `open_from` is the lowest index that a
-- request without a terminal record can have. `released`: its owner left nothing open; any instance may go on with it.
CREATE TABLE audit.log_head (
  log_id int2 PRIMARY KEY,
  instance_id uuid NOT NULL,
  epoch int8 NOT NULL,
  fence int8 NOT NULL,
  next_index int8 NOT NULL,
  open_from int8 NOT NULL,
  expires_at timestamptz NOT NULL,
  released bool NOT NULL DEFAULT false,
  created_at timestamptz NOT NULL DEFAULT now(),
  CHECK (next_index >= 0 AND open_from BETWEEN 0 AND next_index)
) WITH (fillfactor = 10);

CREATE FUNCTION audit.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% on %.% is not allowed: it can only be added to', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;

CREATE FUNCTION audit.head_grows() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the head of a log only grows' USING ERRCODE = 'insufficient_privilege';
END $$;
-- The condition stands here and not in the function, because it is asked with every commit.
CREATE TRIGGER head_grows BEFORE UPDATE ON audit.log_head FOR EACH ROW
  WHEN (NEW.log_id <> OLD.log_id OR NEW.epoch < OLD.epoch OR NEW.fence < OLD.fence OR NEW.next_index < OLD.next_index)
  EXECUTE FUNCTION audit.head_grows();
CREATE TRIGGER head_stays BEFORE DELETE ON audit.log_head FOR EACH ROW EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER head_stays_whole BEFORE TRUNCATE ON audit.log_head FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();

-- The records. `message` is the stored protobuf message, `content` the sealed text beside it; the other columns are those fields of the
-- record that it is found by, which the message does not repeat. The leaf hash binds all of it. `day` is the UTC day of wall_us, only a partition
-- key. Wide columns come first, and the key begins with its widest: none is padded.
CREATE TABLE audit.record (
  leaf_index int8 NOT NULL,
  wall_us int8 NOT NULL,
  day date NOT NULL,
  segment int4 NOT NULL,
  attempt int2 NOT NULL,
  log_id int2 NOT NULL,
  kind int2 NOT NULL,
  request_id uuid,
  org_id uuid,
  team_id uuid,
  project_id uuid,
  key_id uuid,
  leaf_hash bytea NOT NULL,
  message bytea NOT NULL,
  content bytea,
  PRIMARY KEY (leaf_index, log_id, day)
) PARTITION BY RANGE (day);
-- Two more indexes and no other: each costs every commit. Richer search reads a projection. A team's records of one 17 seconds (2^24 us)
-- share an entry, which is a fifth of the size of an entry each; readers sort by the same steps first (audit/reader.cpp).
CREATE INDEX record_team ON audit.record (team_id, (wall_us >> 24));
-- A page has room left for the entries of a request's later records, which then share one.
CREATE INDEX record_request ON audit.record (request_id) WITH (fillfactor = 70);

CREATE TRIGGER record_stays BEFORE UPDATE OR DELETE ON audit.record FOR EACH ROW EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER record_stays_whole BEFORE TRUNCATE ON audit.record FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();

-- A partition for rows of one day, or the one for days that nobody foresaw.
CREATE FUNCTION audit.make_partition(name text, bounds text) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
  EXECUTE format('CREATE TABLE audit.%I PARTITION OF audit.record %s WITH (toast_tuple_target = 8160)', name, bounds);
  -- Ciphertext does not compress, and small content is read fastest beside its row.
  EXECUTE format('ALTER TABLE audit.%I ALTER content SET STORAGE EXTERNAL, ALTER message SET STORAGE EXTERNAL', name);
  EXECUTE format('CREATE TRIGGER record_stays_whole BEFORE TRUNCATE ON audit.%I FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change()', name);
END $$;
SELECT audit.make_partition('record_default', 'DEFAULT');

-- Makes the partitions from yesterday (UTC) to `days` ahead that are missing. Gives the number of rows that lie in the default
-- partition, which should be none. The journal calls it at its start and daily.
CREATE FUNCTION audit.make_partitions(days int4) RETURNS int8 LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  today date := (now() AT TIME ZONE 'UTC')::date;
  d date;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('tollgate.audit.make_partitions'));
  FOR i IN -1 .. days LOOP
    d := today + i;
    IF to_regclass(format('audit.record_%s', to_char(d, 'YYYYMMDD'))) IS NULL AND NOT EXISTS (SELECT FROM audit.record_default WHERE day = d) THEN
      PERFORM audit.make_partition(format('record_%s', to_char(d, 'YYYYMMDD')), format('FOR VALUES FROM (%L) TO (%L)', d, d + 1));
    END IF;
  END LOOP;
  RETURN (SELECT count(*) FROM audit.record_default);
END $$;
REVOKE EXECUTE ON FUNCTION audit.make_partition(text, text), audit.make_partitions(int4) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.make_partitions(int4) TO tollgate_writer;
SELECT audit.make_partitions(7);

-- What a session may see, set with SET LOCAL by whoever opened it: tollgate.all = 'on', or tollgate.org, or tollgate.team.
CREATE FUNCTION audit.sees_all() RETURNS bool LANGUAGE sql STABLE AS $$ SELECT coalesce(current_setting('tollgate.all', true), '') = 'on' $$;
CREATE FUNCTION audit.sees_org() RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT nullif(current_setting('tollgate.org', true), '')::uuid $$;
CREATE FUNCTION audit.sees_team() RETURNS uuid LANGUAGE sql STABLE AS $$ SELECT nullif(current_setting('tollgate.team', true), '')::uuid $$;

ALTER TABLE audit.record ENABLE ROW LEVEL SECURITY;
ALTER TABLE audit.record FORCE ROW LEVEL SECURITY;
CREATE POLICY writer_adds ON audit.record FOR INSERT TO tollgate_writer WITH CHECK (true);
CREATE POLICY writer_recovers ON audit.record FOR SELECT TO tollgate_writer USING (true);
CREATE POLICY verifier_sees ON audit.record FOR SELECT TO tollgate_verifier USING (true);
CREATE POLICY reader_sees ON audit.record FOR SELECT TO tollgate_reader
  USING ((SELECT audit.sees_all()) OR org_id = (SELECT audit.sees_org()) OR team_id = (SELECT audit.sees_team()));

GRANT SELECT ON audit.installation TO tollgate_writer, tollgate_reader, tollgate_verifier;
GRANT SELECT, INSERT ON audit.record TO tollgate_writer;
GRANT SELECT ON audit.record TO tollgate_reader, tollgate_verifier;
GRANT SELECT, INSERT, UPDATE ON audit.log_head TO tollgate_writer;
GRANT USAGE ON SEQUENCE audit.epoch TO tollgate_writer;
GRANT SELECT ON audit.log_head TO tollgate_reader, tollgate_verifier;
