-- Why: who runs the installation lays budgets and caps on an org, and the org's own admin could lift them. Forward only.
--
-- true: somebody set it whose permission reaches over the installation; only with that reach is it loosened. NULL, as in rows from before:
-- an org's admin may change it. A row's canonical form leaves NULLs out, so their MACs stay good (gateway/directory/rows.h).
ALTER TABLE directory.quota ADD COLUMN by_installation bool CHECK (by_installation);
ALTER TABLE directory.chat_defaults ADD COLUMN by_installation bool CHECK (by_installation);
