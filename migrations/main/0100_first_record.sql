-- Why: a record before its log's first, at an index below 0, could be added by whoever may add records, and nothing that walks a log from its
-- first record came by it. Forward only.
--
-- Nothing is read to add this, however large the log is, and partitions that are made later have it from their table. What lies there from
-- before stands, and `tollgate audit verify` names it; audit.move_strays() refuses to copy it.
ALTER TABLE audit.record ADD CONSTRAINT record_leaf_index_check CHECK (leaf_index >= 0) NOT VALID;
