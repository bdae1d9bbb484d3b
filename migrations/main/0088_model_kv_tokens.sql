-- Why: models whose slots share the memory of contexts, for bursts. Forward only.
--
-- Tokens that they share, or NULL = each slot has its own, as in every model registered before; so that rows and MACs from before stand as
-- they are.
ALTER TABLE directory.model ADD COLUMN kv_tokens int8 CHECK (kv_tokens > 0);
