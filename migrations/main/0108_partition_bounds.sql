-- Why: who may make partitions could make them for any number of days ahead, which only the owner can drop and which each search of all days has
-- to lock, and could say that a default partition of any size is small. The journal asks for a week and 16 MiB. Forward only.
CREATE OR REPLACE FUNCTION audit.make_partitions_beside(days int4, bytes int8, OUT strays bool, OUT left_out int4)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  today date := (now() AT TIME ZONE 'UTC')::date;
  days_most int4 := least(greatest(days, 0), 31);
  bytes_most int8 := least(bytes, 16777216);
  d date;
BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('tollgate.audit.make_partitions'));
  left_out := 0;
  FOR i IN -1 .. days_most LOOP
    d := today + i;
    CONTINUE WHEN to_regclass(format('audit.record_%s', to_char(d, 'YYYYMMDD'))) IS NOT NULL;
    IF pg_relation_size('audit.record_default') > bytes_most OR EXISTS (SELECT FROM audit.record_default WHERE day = d) THEN
      left_out := left_out + 1;
    ELSE
      PERFORM audit.make_partition(format('record_%s', to_char(d, 'YYYYMMDD')), format('FOR VALUES FROM (%L) TO (%L)', d, d + 1));
    END IF;
  END LOOP;
  strays := EXISTS (SELECT FROM audit.record_default);
END $$;
