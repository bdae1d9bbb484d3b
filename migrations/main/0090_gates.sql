-- Why: an approval for one request is for the very prompt that asked, so that nobody has a harmless prompt approved and sends another one under
-- the grant. Forward only.
--
-- prompt: an HMAC of what was asked, under a key that follows from the root key, so that nobody who reads rows can guess a short prompt.
-- Empty: the approval is for minutes, which let any request of its key pass, or it is from before. Grants for minutes stand as they are. One
-- for one request from before names no prompt and lets nobody pass any more; what waited for one has lapsed: whoever needs it sends the
-- request again, and asks anew. mac, of what waits: over who asked for what with which request. An instance of the version before that still
-- runs can neither write a wish nor read a grant for one request: it refuses what needs one.
ALTER TABLE gate.approval ADD COLUMN prompt bytea NOT NULL DEFAULT '';

-- One of each prompt waits; of those for minutes, one of each key and rule.
DROP INDEX gate.approval_pending;
CREATE UNIQUE INDEX approval_pending ON gate.approval (team_id, key_id, rule, prompt) WHERE state = 'pending';
