-- Why: a recount left out usage that was stored, by the database's clock, before the life's first lease was granted. Where that clock stepped back (a failover
-- to a server that is behind), that was usage of the life itself, and its tokens could be spent again. A day is more than clocks differ by, and less
-- than the weeks after which a lease's number may be another's. Forward only.

-- Brings home what the instance holds under epochs below `p_below`, but for what its usage rows say was used, and closes those holders.
CREATE OR REPLACE FUNCTION metering.return_leases(p_instance uuid, p_below int8) RETURNS TABLE (quota_id uuid, granted int8, used int8) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  r record;
  lives int8[];
  began timestamptz;
BEGIN
  -- A holder that nobody opened yet is closed as well: its process may only have been slow.
  INSERT INTO metering.holder (instance_id, epoch, closed) VALUES (p_instance, p_below - 1, true) ON CONFLICT DO NOTHING;
  PERFORM FROM metering.holder WHERE instance_id = p_instance AND epoch < p_below ORDER BY epoch FOR UPDATE;
  UPDATE metering.holder SET closed = true WHERE instance_id = p_instance AND epoch < p_below AND NOT closed;
  -- Values and not a join: the planner then sees which ranges of usage they lie in.
  SELECT array_agg(DISTINCT l.epoch), min(l.since) INTO lives, began
    FROM metering.lease l WHERE l.instance_id = p_instance AND l.epoch < p_below AND NOT l.closed;
  FOR r IN
    WITH held AS (
      SELECT u.epoch, u.request_id, u.input_tokens + u.output_tokens AS tokens, metering.lease_number(u.leases, i) AS number
      FROM metering.usage u, generate_series(0, length(u.leases) / 4 - 1) AS i
      WHERE u.epoch > 0 AND u.epoch = ANY (lives) AND u.stored_at >= began - interval '1 day'
    ), used AS (
      SELECT held.epoch, held.number, sum(tokens)::int8 AS tokens, count(DISTINCT request_id) AS requests FROM held GROUP BY 1, 2
    )
    SELECT l.epoch, l.number, l.quota_id AS quota, l.window_start_us AS start, l.granted,
           coalesce(CASE l.meter WHEN 0 THEN used.requests ELSE used.tokens END, 0) AS used
    FROM metering.lease l LEFT JOIN used ON used.epoch = l.epoch AND used.number = l.number
    WHERE l.instance_id = p_instance AND l.epoch < p_below AND NOT l.closed
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
