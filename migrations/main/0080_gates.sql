-- Why: a grant is signed, so that a row which Tollgate did not grant lets nobody pass; it can be taken back, and one that a request used up
-- which then went nowhere is given back; what an end user accepted can be forgotten. Grants made before this have no signature and lapse.
-- Forward only.
ALTER TABLE gate.approval ADD COLUMN mac bytea;       -- Under a key that follows from the root key; over what was granted, by whom and when.
ALTER TABLE gate.approval ADD COLUMN used_by uuid;    -- The request that used up a grant for one request.
ALTER TABLE gate.approval DROP CONSTRAINT approval_state_check;
ALTER TABLE gate.approval ADD CONSTRAINT approval_state_check CHECK (state IN ('pending', 'granted', 'used', 'revoked'));

GRANT DELETE ON gate.acceptance TO tollgate_writer;
