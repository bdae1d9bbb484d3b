-- Why: what a request's guard models used is metered apart from what it used itself: one more row a guard model, in the same transaction.
-- Rows from before are part 0, a request's own. Forward only.

-- 0: the request's own tokens. From 1: those of the guard models that judged it, in the order of EndBody.guard_usage.
ALTER TABLE metering.usage ADD COLUMN part int2 NOT NULL DEFAULT 0 CHECK (part >= 0);
ALTER TABLE metering.usage DROP CONSTRAINT usage_pkey, ADD PRIMARY KEY (request_id, attempt, part);
ALTER TABLE metering.transfer ADD COLUMN part int2 NOT NULL DEFAULT 0 CHECK (part >= 0);
ALTER TABLE metering.transfer DROP CONSTRAINT transfer_pkey, ADD PRIMARY KEY (request_id, attempt, part, entry);

-- A guard's charge is named as such: 'guard', entry 0 of its part.
ALTER TABLE metering.transfer DROP CONSTRAINT transfer_kind_check;
ALTER TABLE metering.transfer ADD CONSTRAINT transfer_kind_check
  CHECK (kind IN ('usage', 'guard', 'reversal') AND (kind <> 'guard' OR part > 0) AND (kind <> 'usage' OR part = 0));
