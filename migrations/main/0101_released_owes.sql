-- Why: an instance from before 0092 knows nothing of what a log owes. It may adopt one that does, beside instances of this version, and was then
-- refused to let it go (SQLSTATE 23514), adopted it again when its claim had lapsed, and so on, each time with another START. Now it may: a log
-- that was let go while it owes is gone on with by nobody, and adopted by an instance that tells of what is owed. Forward only.
--
-- The table has a row a log: nobody waits for this for long.
ALTER TABLE audit.log_head
  DROP CONSTRAINT log_head_owes_check,
  ADD CONSTRAINT log_head_owes_check CHECK ((owes IS NULL) = (owes_below IS NULL));
