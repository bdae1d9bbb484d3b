-- Why: what is used, what it costs and what may be used: usage rows, the ledger, the price book, and the balances that leases are drawn
-- from. Usage, ledger and prices can only be added to. Forward only. Read beside it: metering/README.md.

CREATE SCHEMA metering;
GRANT USAGE ON SCHEMA metering TO tollgate_writer, tollgate_reader, tollgate_directory, tollgate_verifier;

-- One row an attempt, written with its FINAL or ABORT. Names are the directory's. Input includes cached input. `leases`: what its tokens
-- are drawn from, the numbers of leases of `epoch` (metering.lease), 4 bytes each, big-endian. `at_us` is the terminal record's wall time,
-- `stored_at` the database's. Wide columns come first: none is padded.
CREATE TABLE metering.usage (
  request_id uuid NOT NULL,
  leaf_index int8 NOT NULL,
  at_us int8 NOT NULL,
  stored_at timestamptz NOT NULL DEFAULT now(),
  amount_nanos int8 NOT NULL CHECK (amount_nanos >= 0),
  epoch int8 NOT NULL,                    -- 0: drawn from no lease.
  input_tokens int4 NOT NULL,
  cached_input_tokens int4 NOT NULL,
  output_tokens int4 NOT NULL,
  delivered_tokens int4 NOT NULL,
  price_version int4 NOT NULL,
  attempt int2 NOT NULL,
  log_id int2 NOT NULL,
  org_id uuid,
  team_id uuid,
  project_id uuid,
  key_id uuid,
  currency text NOT NULL,
  model text NOT NULL,
  end_user_hmac bytea NOT NULL,           -- Empty: none was named.
  leases bytea NOT NULL,
  PRIMARY KEY (request_id, attempt),
  CHECK (attempt > 0 AND cached_input_tokens BETWEEN 0 AND input_tokens AND delivered_tokens BETWEEN 0 AND output_tokens AND
         length(leases) % 4 = 0)
);
-- Rows come in the order of time: a range index costs a commit nothing.
CREATE INDEX usage_at ON metering.usage USING brin (at_us) WITH (pages_per_range = 32, autosummarize = on);
CREATE INDEX usage_stored ON metering.usage USING brin (stored_at) WITH (pages_per_range = 32, autosummarize = on);

-- The ledger: `amount_nanos` moves from the account `debit` to the account `credit`: `team` is the account of the row's team, `platform` the
-- installation's. Entry 0 of an attempt is its charge and carries its tokens by kind (input without the cached) and its price; a correction
-- is a further entry, never a change. `currency` is the price's, which has three capitals.
CREATE TABLE metering.transfer (
  request_id uuid NOT NULL,
  at_us int8 NOT NULL,
  amount_nanos int8 NOT NULL,
  input_tokens int4 NOT NULL,
  cached_input_tokens int4 NOT NULL,
  output_tokens int4 NOT NULL,
  price_version int4 NOT NULL,
  attempt int2 NOT NULL,
  entry int2 NOT NULL,
  org_id uuid,
  team_id uuid,
  currency text NOT NULL,
  kind text NOT NULL CHECK (kind IN ('usage', 'reversal')),
  debit text NOT NULL,
  credit text NOT NULL,
  PRIMARY KEY (request_id, attempt, entry),
  CHECK (attempt > 0 AND entry >= 0 AND amount_nanos > 0 AND input_tokens >= 0 AND cached_input_tokens >= 0 AND output_tokens >= 0 AND
         credit <> debit AND length(currency) = 3)
);
CREATE INDEX transfer_at ON metering.transfer USING brin (at_us) WITH (pages_per_range = 32, autosummarize = on);

-- The price book. A row of the directory (0003_directory.sql says what the first columns are) that never changes: a new price is a new row.
CREATE TABLE metering.price (
  id uuid PRIMARY KEY,
  version int8 NOT NULL,
  admin_record uuid NOT NULL,
  admin_log_id int4 NOT NULL,
  admin_index int8 NOT NULL,
  mac bytea NOT NULL,
  price_version int8 NOT NULL UNIQUE CHECK (price_version > 0),
  model text NOT NULL CHECK (model <> ''),
  effective_from_us int8 NOT NULL,
  input_nanos int8 NOT NULL CHECK (input_nanos BETWEEN 1000 AND 1000000000000000),
  cached_input_nanos int8 NOT NULL CHECK (cached_input_nanos BETWEEN 1000 AND 1000000000000000),
  output_nanos int8 NOT NULL CHECK (output_nanos BETWEEN 1000 AND 1000000000000000),
  currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$')
);
CREATE INDEX price_by_version ON metering.price (version);

CREATE FUNCTION metering.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% on %.% is not allowed: it can only be added to', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
DO $$
DECLARE
  t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['usage', 'transfer', 'price'] LOOP
    EXECUTE format('CREATE TRIGGER stays BEFORE UPDATE OR DELETE ON metering.%I FOR EACH ROW EXECUTE FUNCTION metering.refuse_change()', t);
    EXECUTE format('CREATE TRIGGER stays_whole BEFORE TRUNCATE ON metering.%I FOR EACH STATEMENT EXECUTE FUNCTION metering.refuse_change()', t);
  END LOOP;
END $$;

-- One life of a log's owner, which may hold leases until it is closed. `seq` counts its exchanges, so that a repeated or late one is known;
-- `life` is the process's own mark; `leases` the number of its latest lease.
CREATE TABLE metering.holder (
  instance_id uuid NOT NULL,
  epoch int8 NOT NULL,
  life uuid,
  seq int8 NOT NULL DEFAULT 0,
  leases int4 NOT NULL DEFAULT 0,
  closed bool NOT NULL DEFAULT false,
  renewed_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (instance_id, epoch)
) WITH (fillfactor = 50);

-- What was granted of one quota in one window, to all holders together.
CREATE TABLE metering.balance (
  quota_id uuid NOT NULL,
  window_start_us int8 NOT NULL,
  window_end_us int8 NOT NULL,
  debited int8 NOT NULL CHECK (debited >= 0),
  PRIMARY KEY (quota_id, window_start_us)
) WITH (fillfactor = 50);

-- What of it was granted to one holder, less what it gave back. `meter`: 0 requests, 1 tokens. Usage names a lease by epoch and number. One
-- that is closed is at rest: its holder has settled with the balance, and draws from the window again only under another number.
CREATE TABLE metering.lease (
  instance_id uuid NOT NULL,
  epoch int8 NOT NULL,
  number int4 NOT NULL,
  quota_id uuid NOT NULL,
  window_start_us int8 NOT NULL,
  meter int2 NOT NULL CHECK (meter IN (0, 1)),
  closed bool NOT NULL DEFAULT false,
  granted int8 NOT NULL CHECK (granted >= 0),
  since timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (epoch, number, instance_id)
) WITH (fillfactor = 50);
CREATE UNIQUE INDEX lease_open ON metering.lease (instance_id, epoch, quota_id, window_start_us) WHERE NOT closed;
CREATE INDEX lease_window ON metering.lease (quota_id, window_start_us);

-- Makes the holder; true if it is `p_life`'s. False: another process has it, or it, or a later one, was closed.
CREATE FUNCTION metering.open_holder(p_instance uuid, p_epoch int8, p_life uuid) RETURNS bool LANGUAGE plpgsql AS $$
BEGIN
  INSERT INTO metering.holder (instance_id, epoch, life) VALUES (p_instance, p_epoch, p_life) ON CONFLICT DO NOTHING;
  RETURN EXISTS (SELECT FROM metering.holder WHERE instance_id = p_instance AND epoch = p_epoch AND life = p_life AND NOT closed)
     AND NOT EXISTS (SELECT FROM metering.holder WHERE instance_id = p_instance AND epoch > p_epoch AND closed);
END $$;

-- One exchange of leases (metering/leases.h), for any number of quotas. The first row out has ord 0, the time and the number of holders;
-- the others stand for the asks, in their order. An exchange whose seq was seen changes nothing and answers how things stand.
CREATE FUNCTION metering.exchange(p_instance uuid, p_epoch int8, p_life uuid, p_seq int8, p_quota uuid[], p_meter int2[], p_start int8[], p_end int8[],
                                  p_amount int8[], p_need int8[], p_want int8[], p_give int8[], p_close bool[])
RETURNS TABLE (ord int8, granted int8, debited int8, number int4) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  h metering.holder;
  alive int8;
  a record;
  mine int8;
  no int4;
  total int8;
  take int8;
BEGIN
  SELECT * INTO h FROM metering.holder WHERE instance_id = p_instance AND epoch = p_epoch FOR UPDATE;
  IF NOT FOUND OR h.closed OR h.life IS DISTINCT FROM p_life OR p_seq NOT IN (h.seq, h.seq + 1) THEN
    RAISE EXCEPTION 'these leases have another owner' USING ERRCODE = 'check_violation';
  END IF;
  UPDATE metering.holder SET seq = p_seq, renewed_at = clock_timestamp() WHERE instance_id = p_instance AND epoch = p_epoch;
  SELECT count(*) INTO alive FROM metering.holder WHERE NOT closed AND renewed_at > clock_timestamp() - interval '15 seconds';
  ord := 0;
  granted := (extract(epoch FROM clock_timestamp()) * 1000000)::int8;
  debited := alive;
  number := 0;
  RETURN NEXT;
  FOR a IN SELECT * FROM unnest(p_quota, p_meter, p_start, p_end, p_amount, p_need, p_want, p_give, p_close) WITH ORDINALITY
             AS u (quota, meter, start, stop, amount, need, want, give, close, n) ORDER BY quota, start LOOP
    INSERT INTO metering.balance VALUES (a.quota, a.start, a.stop, 0) ON CONFLICT DO NOTHING;
    SELECT b.debited INTO total FROM metering.balance b WHERE b.quota_id = a.quota AND b.window_start_us = a.start FOR UPDATE;
    SELECT l.granted, l.number INTO mine, no FROM metering.lease l
      WHERE l.instance_id = p_instance AND l.epoch = p_epoch AND l.quota_id = a.quota AND l.window_start_us = a.start AND NOT l.closed;
    mine := coalesce(mine, 0);
    IF p_seq > h.seq THEN
      take := -least(a.give, mine);
      take := take + least(greatest(a.amount - total - take, 0), greatest(a.need, least(a.want, greatest(a.amount - total - take, 0) / (2 * alive))));
      mine := mine + take;
      total := total + take;
      IF take <> 0 THEN
        UPDATE metering.balance b SET debited = total WHERE b.quota_id = a.quota AND b.window_start_us = a.start;
      END IF;
      IF no IS NULL AND take <> 0 AND NOT a.close THEN
        UPDATE metering.holder SET leases = leases + 1 WHERE instance_id = p_instance AND epoch = p_epoch RETURNING leases INTO no;
        INSERT INTO metering.lease (instance_id, epoch, number, quota_id, window_start_us, meter, granted)
          VALUES (p_instance, p_epoch, no, a.quota, a.start, a.meter, mine);
      ELSIF take <> 0 OR a.close THEN
        UPDATE metering.lease l SET granted = mine, closed = a.close WHERE l.instance_id = p_instance AND l.epoch = p_epoch AND l.number = no;
      END IF;
      IF a.close THEN
        mine := 0;
        no := NULL;
      END IF;
    END IF;
    ord := a.n;
    granted := mine;
    debited := total;
    number := coalesce(no, 0);
    RETURN NEXT;
  END LOOP;
END $$;

-- The number of the lease at place `i`, from 0, of usage.leases.
CREATE FUNCTION metering.lease_number(leases bytea, i int4) RETURNS int4 LANGUAGE sql IMMUTABLE AS
  $$ SELECT ('x' || encode(substr(leases, 4 * i + 1, 4), 'hex'))::bit(32)::int4 $$;

-- Brings home what the instance holds under epochs below `p_below`, but for what its usage rows say was used, and closes those holders.
CREATE FUNCTION metering.return_leases(p_instance uuid, p_below int8) RETURNS TABLE (quota_id uuid, granted int8, used int8) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  r record;
BEGIN
  -- A holder that nobody opened yet is closed as well: its process may only have been slow.
  INSERT INTO metering.holder (instance_id, epoch, closed) VALUES (p_instance, p_below - 1, true) ON CONFLICT DO NOTHING;
  PERFORM FROM metering.holder WHERE instance_id = p_instance AND epoch < p_below ORDER BY epoch FOR UPDATE;
  UPDATE metering.holder SET closed = true WHERE instance_id = p_instance AND epoch < p_below AND NOT closed;
  FOR r IN
    WITH leases AS MATERIALIZED (
      SELECT l.* FROM metering.lease l WHERE l.instance_id = p_instance AND l.epoch < p_below AND NOT l.closed
    ), held AS (
      SELECT u.epoch, u.request_id, u.input_tokens + u.output_tokens AS tokens, metering.lease_number(u.leases, i) AS number
      FROM metering.usage u, generate_series(0, length(u.leases) / 4 - 1) AS i
      WHERE u.epoch IN (SELECT DISTINCT leases.epoch FROM leases) AND u.stored_at >= (SELECT min(since) FROM leases)
    ), used AS (
      SELECT held.epoch, held.number, sum(tokens)::int8 AS tokens, count(DISTINCT request_id) AS requests FROM held GROUP BY 1, 2
    )
    SELECT l.epoch, l.number, l.quota_id AS quota, l.window_start_us AS start, l.granted,
           coalesce(CASE l.meter WHEN 0 THEN used.requests ELSE used.tokens END, 0) AS used
    FROM leases l LEFT JOIN used ON used.epoch = l.epoch AND used.number = l.number
    ORDER BY quota, start, l.epoch
  LOOP
    UPDATE metering.balance b SET debited = b.debited - r.granted + r.used WHERE b.quota_id = r.quota AND b.window_start_us = r.start;
    UPDATE metering.lease l SET granted = r.used, closed = true WHERE l.instance_id = p_instance AND l.epoch = r.epoch AND l.number = r.number;
    quota_id := r.quota;
    granted := r.granted;
    used := r.used;
    RETURN NEXT;
  END LOOP;
END $$;

-- Forgets balances of windows that ended an hour ago and that nobody holds, with the leases closed in them, and holders closed a month ago.
-- Gives the number of balances and holders.
CREATE FUNCTION metering.prune() RETURNS int8 LANGUAGE plpgsql AS $$
DECLARE
  balances int8;
  holders int8;
BEGIN
  DELETE FROM metering.balance b WHERE b.window_end_us < ((extract(epoch FROM now()) - 3600) * 1000000)::int8
    AND NOT EXISTS (SELECT FROM metering.lease l WHERE l.quota_id = b.quota_id AND l.window_start_us = b.window_start_us AND NOT l.closed);
  GET DIAGNOSTICS balances = ROW_COUNT;
  DELETE FROM metering.lease l WHERE l.closed
    AND NOT EXISTS (SELECT FROM metering.balance b WHERE b.quota_id = l.quota_id AND b.window_start_us = l.window_start_us);
  DELETE FROM metering.holder h WHERE h.closed AND h.renewed_at < now() - interval '30 days'
    AND EXISTS (SELECT FROM metering.holder later WHERE later.instance_id = h.instance_id AND later.epoch > h.epoch AND later.closed);
  GET DIAGNOSTICS holders = ROW_COUNT;
  RETURN balances + holders;
END $$;

-- Readers see the rows of their tenant, as in audit.record.
DO $$
DECLARE
  t text;
BEGIN
  FOREACH t IN ARRAY ARRAY['usage', 'transfer'] LOOP
    EXECUTE format('ALTER TABLE metering.%I ENABLE ROW LEVEL SECURITY', t);
    EXECUTE format('ALTER TABLE metering.%I FORCE ROW LEVEL SECURITY', t);
    EXECUTE format('CREATE POLICY writer_adds ON metering.%I FOR INSERT TO tollgate_writer WITH CHECK (true)', t);
    EXECUTE format('CREATE POLICY writer_recounts ON metering.%I FOR SELECT TO tollgate_writer USING (true)', t);
    EXECUTE format('CREATE POLICY verifier_sees ON metering.%I FOR SELECT TO tollgate_verifier USING (true)', t);
    EXECUTE format('CREATE POLICY reader_sees ON metering.%I FOR SELECT TO tollgate_reader USING ((SELECT audit.sees_all()) OR org_id = (SELECT audit.sees_org()) OR team_id = (SELECT audit.sees_team()))', t);
  END LOOP;
END $$;

GRANT SELECT, INSERT ON metering.usage, metering.transfer TO tollgate_writer;
GRANT SELECT ON metering.usage, metering.transfer, metering.price TO tollgate_reader, tollgate_verifier;
GRANT SELECT, INSERT ON metering.price TO tollgate_directory;
GRANT SELECT, INSERT, UPDATE, DELETE ON metering.holder, metering.balance, metering.lease TO tollgate_writer;
GRANT SELECT ON metering.holder, metering.balance, metering.lease TO tollgate_verifier;
REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA metering FROM PUBLIC;
GRANT EXECUTE ON FUNCTION metering.open_holder(uuid, int8, uuid), metering.return_leases(uuid, int8), metering.lease_number(bytea, int4), metering.prune(),
  metering.exchange(uuid, int8, uuid, int8, uuid[], int2[], int8[], int8[], int8[], int8[], int8[], int8[], bool[]) TO tollgate_writer;
