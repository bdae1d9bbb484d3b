-- Why: what policy asks before a request goes on: how often it may match a rule, whether an end user accepted terms, whether a second person
-- approved. Shared by all instances, so kept here and not in memory. Forward only.
CREATE SCHEMA gate;
GRANT USAGE ON SCHEMA gate TO tollgate_writer;

-- Requests that matched a rule in one window, by whom: a key, project or team (its id) or an end user (an HMAC). Old windows are deleted.
CREATE TABLE gate.rate (
  team_id uuid NOT NULL,
  rule text NOT NULL,
  who bytea NOT NULL,
  window_start timestamptz NOT NULL,
  used int8 NOT NULL,
  PRIMARY KEY (team_id, rule, who, window_start)
);
CREATE INDEX rate_window ON gate.rate (window_start);

-- Who accepted which version of which terms, "acceptable-use@3", and the request that said so.
CREATE TABLE gate.acceptance (
  team_id uuid NOT NULL,
  end_user bytea NOT NULL,
  terms text NOT NULL,
  request_id uuid NOT NULL,
  accepted_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (team_id, end_user, terms)
);

-- Approvals asked for and given. minutes: how long a grant lasts; 0 = for one request, which makes it "used".
CREATE TABLE gate.approval (
  id uuid PRIMARY KEY,
  org_id uuid NOT NULL,
  team_id uuid NOT NULL,
  key_id uuid NOT NULL,
  rule text NOT NULL,
  request_id uuid NOT NULL,
  minutes int8 NOT NULL CHECK (minutes >= 0),
  state text NOT NULL DEFAULT 'pending' CHECK (state IN ('pending', 'granted', 'used')),
  asked_at timestamptz NOT NULL DEFAULT now(),
  granted_at timestamptz,
  granted_by text
);
CREATE UNIQUE INDEX approval_pending ON gate.approval (team_id, key_id, rule) WHERE state = 'pending';
CREATE INDEX approval_granted ON gate.approval (team_id, key_id, rule) WHERE state = 'granted';
CREATE INDEX approval_org ON gate.approval (org_id, asked_at);

GRANT SELECT, INSERT, UPDATE, DELETE ON gate.rate TO tollgate_writer;
GRANT SELECT, INSERT ON gate.acceptance TO tollgate_writer;
GRANT SELECT, INSERT, UPDATE ON gate.approval TO tollgate_writer;
