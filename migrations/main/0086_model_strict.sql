-- Why: models that give strict answers too, from a second copy with one slot. Forward only.
--
-- true, or NULL = it gives none, as every model registered before does; so that rows and MACs from before stand as they are.
ALTER TABLE directory.model ADD COLUMN strict bool CHECK (strict);
