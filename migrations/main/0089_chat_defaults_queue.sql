-- Why: bands and weights in the queue and a cap on thoughts among the chat defaults, and defaults of a key. Forward only.
--
-- NULL: that is not set, as in every row from before, so that rows and MACs stand as they are. *_millionths: the value times 1,000,000.
ALTER TABLE directory.chat_defaults
  ADD COLUMN band int8,
  ADD COLUMN weight_millionths int8,
  ADD COLUMN reasoning_tokens_cap int8,
  DROP CONSTRAINT chat_defaults_scope_kind_check,
  ADD CONSTRAINT chat_defaults_scope_kind_check CHECK (scope_kind IN ('org', 'team', 'project', 'key'));
