-- Why: what an org's own administrators do must not undo what was laid down for the whole installation, nor stand for two persons where one
-- did it. Forward only.
--
-- Every new column may be NULL, which rows written before are: a row's canonical form leaves NULLs out, so their MACs stay good
-- (gateway/directory/rows.h).

-- true: somebody did it whose permission reaches over the installation. Only such a grant opens a restricted model, and such a stop is lifted
-- only with that reach. A grant of a restricted model from before opens it no more: give it again.
ALTER TABLE directory.model_grant ADD COLUMN by_installation bool CHECK (by_installation);
ALTER TABLE directory.stop ADD COLUMN by_installation bool CHECK (by_installation);

-- Persons, a line for each: those beside its owner who may know a key's secret, because they made or rotated it; and of a policy's version
-- those who may know that of its author's key.
ALTER TABLE directory.key ADD COLUMN made_by text;
ALTER TABLE directory.policy ADD COLUMN author_made_by text;

-- Whether a project has a key of that name is asked while all other changes wait.
CREATE INDEX key_project_name ON directory.key (project, name);
