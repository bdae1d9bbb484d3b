-- Why: models that embed or rerank instead of chatting. Forward only.
--
-- "model", "mean", "cls", "last" or "rank"; NULL = it chats, as every model registered before does.
ALTER TABLE directory.model ADD COLUMN pooling text;
