-- Why: that leases have another owner is said in a code of its own, which nothing else has. Forward only.
--
-- An instance of the version before that still runs takes the new code for a database that does not answer, and spends nothing more after its
-- lease_ttl.

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
  total int8;
  take int8;
BEGIN
  SELECT * INTO h FROM metering.holder WHERE instance_id = p_instance AND epoch = p_epoch FOR UPDATE;
  IF NOT FOUND OR h.closed OR h.life IS DISTINCT FROM p_life OR p_seq NOT IN (h.seq, h.seq + 1) THEN
    RAISE EXCEPTION 'these leases have another owner' USING ERRCODE = 'TG001';
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
