-- Why: records of days that nobody foresaw, which a wrong clock wrote, lie in the default partition, and Postgres reads all of it under a lock
-- that stops every writer whenever a partition is made. So none is made beside a long one, and the owner can move what lies there to
-- partitions of its days; which this does once, for what lies there by now. Forward only.

CREATE INDEX ON audit.record_default (day);

-- Makes the partitions from yesterday (UTC) to `days` ahead that are missing, but for days that have records in the default partition, and
-- none where that takes more than `bytes`. Gives whether anything lies there, which should not be, and how many of those days have no
-- partition. The journal calls it at its start and daily.
CREATE FUNCTION audit.make_partitions_beside(days int4, bytes int8, OUT strays bool, OUT left_out int4)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  today date := (now() AT TIME ZONE 'UTC')::date;
  d date;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('tollgate.audit.make_partitions'));
  left_out := 0;
  FOR i IN -1 .. days LOOP
    d := today + i;
    CONTINUE WHEN to_regclass(format('audit.record_%s', to_char(d, 'YYYYMMDD'))) IS NOT NULL;
    IF pg_relation_size('audit.record_default') > bytes OR EXISTS (SELECT FROM audit.record_default WHERE day = d) THEN
      left_out := left_out + 1;
    ELSE
      PERFORM audit.make_partition(format('record_%s', to_char(d, 'YYYYMMDD')), format('FOR VALUES FROM (%L) TO (%L)', d, d + 1));
    END IF;
  END LOOP;
  strays := EXISTS (SELECT FROM audit.record_default);
END $$;

-- As before, for who still calls it: 1 if anything lies in the default partition.
CREATE OR REPLACE FUNCTION audit.make_partitions(days int4) RETURNS int8 LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
  $$ SELECT strays::int::int8 FROM audit.make_partitions_beside(days, 16777216) $$;

-- Moves what lies in the default partition to partitions of its days, as it is, and gives the number of records. For the owner alone, at a
-- quiet hour: nothing can be written meanwhile.
CREATE FUNCTION audit.move_strays() RETURNS int8 LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  d date;
  moved int8;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('tollgate.audit.make_partitions'));
  LOCK TABLE audit.record IN ACCESS EXCLUSIVE MODE;
  IF NOT EXISTS (SELECT FROM audit.record_default) THEN
    RETURN 0;
  END IF;
  -- Records are never deleted, so they are copied from a table that then goes as a whole.
  ALTER TABLE audit.record DETACH PARTITION audit.record_default;
  ALTER TABLE audit.record_default RENAME TO record_strays;
  PERFORM audit.make_partition('record_default', 'DEFAULT');
  CREATE INDEX ON audit.record_default (day);
  FOREACH d IN ARRAY (SELECT array_agg(DISTINCT day) FROM audit.record_strays) LOOP
    PERFORM audit.make_partition(format('record_%s', to_char(d, 'YYYYMMDD')), format('FOR VALUES FROM (%L) TO (%L)', d, d + 1));
  END LOOP;
  INSERT INTO audit.record SELECT * FROM audit.record_strays;
  GET DIAGNOSTICS moved = ROW_COUNT;
  DROP TABLE audit.record_strays;
  RETURN moved;
END $$;

REVOKE EXECUTE ON FUNCTION audit.make_partitions_beside(int4, int8), audit.move_strays() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION audit.make_partitions_beside(int4, int8) TO tollgate_writer;
SELECT audit.move_strays();
SELECT audit.make_partitions_beside(7, 16777216);
