-- Why: a record before its log's first, at an index below 0, could be added by whoever may add records, and nothing that walks a log from its
-- first record came by it. Forward only.
--
-- What lies there from before stands, and `tollgate audit verify` names it; audit.move_strays() does not copy it and fails. Nothing is read to
-- add this, also of a large log, and partitions that are made later have it from their table. But it waits for a lock that all writers then wait
-- behind, and a dump holds that off for as long as it takes: so it is asked for again and again, each time for less than a request waits for
-- its record, and for longer than Postgres takes to call off a vacuum (1 s).
DO $$
BEGIN
  FOR i IN 1 .. 40 LOOP
    BEGIN
      SET LOCAL lock_timeout = '1500ms';
      ALTER TABLE audit.record ADD CONSTRAINT record_leaf_index_check CHECK (leaf_index >= 0) NOT VALID;
      RETURN;
    EXCEPTION WHEN lock_not_available THEN
      IF i = 40 THEN
        RAISE;
      END IF;
      PERFORM pg_sleep(3);
    END;
  END LOOP;
END $$;
