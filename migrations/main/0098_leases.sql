-- Why: that leases have another owner is said in a code of its own, which nothing else has; an epoch never runs out of numbers of leases; and old
-- balances are forgotten piece by piece, so that nobody waits for it. Forward only.
--
-- An instance of the version before that still runs takes the new code for a database that does not answer, and spends nothing more after its
-- lease_ttl; it prunes nothing.

CREATE OR REPLACE FUNCTION metering.exchange(p_instance uuid, p_epoch int8, p_life uuid, p_seq int8, p_quota uuid[], p_meter int2[], p_start int8[],
                                             p_end int8[], p_amount int8[], p_need int8[], p_want int8[], p_give int8[], p_close bool[])
RETURNS TABLE (ord int8, granted int8, debited int8, number int4) LANGUAGE plpgsql AS $$
#variable_conflict use_column
DECLARE
  h metering.holder;
  alive int8;
  a record;
  mine int8;
  no int4;
  latest int4;
  total int8;
  take int8;
BEGIN
  SELECT * INTO h FROM metering.holder WHERE instance_id = p_instance AND epoch = p_epoch FOR UPDATE;
  IF NOT FOUND OR h.closed OR h.life IS DISTINCT FROM p_life OR p_seq NOT IN (h.seq, h.seq + 1) THEN
    RAISE EXCEPTION 'these leases have another owner' USING ERRCODE = 'TG001';
  END IF;
  latest := h.leases;
  UPDATE metering.holder SET seq = p_seq, renewed_at = clock_timestamp() WHERE instance_id = p_instance AND epoch = p_epoch;
  SELECT count(*) INTO alive FROM metering.holder WHERE NOT closed AND renewed_at > clock_timestamp() - interval '15 seconds';
  ord := 0;
  granted := (extract(epoch FROM clock_timestamp()) * 1000000)::int8;
  debited := alive;
  number := 0;
  RETURN NEXT;
  FOR a IN SELECT * FROM unnest(p_quota, p_meter, p_start, p_end, p_amount, p_need, p_want, p_give, p_close) WITH ORDINALITY
             AS u (quota, meter, start, stop, amount, need, want, give, close, n) ORDER BY quota, start LOOP
    LOOP  -- Between the two, what is over long since may be pruned.
      SELECT b.debited INTO total FROM metering.balance b WHERE b.quota_id = a.quota AND b.window_start_us = a.start FOR UPDATE;
      EXIT WHEN FOUND;
      INSERT INTO metering.balance VALUES (a.quota, a.start, a.stop, 0) ON CONFLICT DO NOTHING;
    END LOOP;
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
        LOOP  -- After the last one from the first again: those that are still kept are passed over.
          latest := CASE latest WHEN 2147483647 THEN 1 ELSE latest + 1 END;
          EXIT WHEN NOT EXISTS (SELECT FROM metering.lease l WHERE l.epoch = p_epoch AND l.number = latest AND l.instance_id = p_instance);
        END LOOP;
        no := latest;
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
  IF latest <> h.leases THEN
    UPDATE metering.holder SET leases = latest WHERE instance_id = p_instance AND epoch = p_epoch;
  END IF;
END $$;

-- Forgets balances of windows that ended an hour ago and that nobody holds, with the leases closed in them: at most p_max of them, in the order of
-- their ends from behind (p_end, p_quota) on, for about p_for. The answer says where to go on; no next_end: there are no more, and then holders
-- closed a month ago went too. One instance at a time; whatever another transaction holds is passed over, until the next round.
CREATE INDEX balance_over ON metering.balance (window_end_us, quota_id);
DROP FUNCTION metering.prune();
CREATE FUNCTION metering.prune(p_max int4, p_for interval, p_end int8, p_quota uuid, OUT pruned int8, OUT next_end int8, OUT next_quota uuid)
LANGUAGE plpgsql SET lock_timeout = '100ms' AS $$
#variable_conflict use_column
DECLARE
  b record;
  seen int4 := 0;
  until timestamptz := clock_timestamp() + p_for;
BEGIN
  pruned := 0;
  IF NOT pg_try_advisory_xact_lock(hashtext('tollgate.metering.prune')) THEN
    RETURN;
  END IF;
  FOR b IN SELECT o.quota_id AS quota, o.window_start_us AS start, o.window_end_us AS stop FROM metering.balance o
             WHERE o.window_end_us < ((extract(epoch FROM now()) - 3600) * 1000000)::int8 AND (o.window_end_us, o.quota_id) > (p_end, p_quota)
             ORDER BY o.window_end_us, o.quota_id LIMIT p_max FOR UPDATE SKIP LOCKED LOOP
    -- Asked once the balance is locked: nobody takes a lease in it any more.
    IF NOT EXISTS (SELECT FROM metering.lease l WHERE l.quota_id = b.quota AND l.window_start_us = b.start AND NOT l.closed) THEN
      DELETE FROM metering.lease l WHERE l.quota_id = b.quota AND l.window_start_us = b.start;
      DELETE FROM metering.balance o WHERE o.quota_id = b.quota AND o.window_start_us = b.start;
      pruned := pruned + 1;
    END IF;
    seen := seen + 1;
    IF seen = p_max OR clock_timestamp() > until THEN
      next_end := b.stop;
      next_quota := b.quota;
      RETURN;
    END IF;
  END LOOP;
  DELETE FROM metering.holder WHERE (instance_id, epoch) IN (
    SELECT h.instance_id, h.epoch FROM metering.holder h
    WHERE h.closed AND h.renewed_at < now() - interval '30 days'
      AND EXISTS (SELECT FROM metering.holder later WHERE later.instance_id = h.instance_id AND later.epoch > h.epoch AND later.closed)
      AND NOT EXISTS (SELECT FROM metering.lease l WHERE l.instance_id = h.instance_id AND l.epoch = h.epoch AND NOT l.closed)
    LIMIT p_max FOR UPDATE OF h SKIP LOCKED);
END $$;
REVOKE EXECUTE ON FUNCTION metering.prune(int4, interval, int8, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION metering.prune(int4, interval, int8, uuid) TO tollgate_writer;
