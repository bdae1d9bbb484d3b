-- Why: a policy's way from draft to retired: who wrote a version, what is tried beside the one in force, and what was in force before. Forward only.
--
-- Every new column may be NULL, which rows written before are: a row's canonical form leaves NULLs out, so their MACs stay good
-- (gateway/directory/rows.h).

-- author: the person who stored the version. draft: "its own tests did not pass when it was stored".
ALTER TABLE directory.policy ADD COLUMN author text, ADD COLUMN draft bool;

-- previous_version: in force before policy_version; 0 = none was. candidate_*: a version that is tried beside the one in force: "shadow" judges
-- and does not act; "canary" acts on a share of requests, in ten-thousandths, chosen by "request" or by "tenant".
ALTER TABLE directory.policy_binding
  ADD COLUMN previous_version int8,
  ADD COLUMN candidate_version int8,
  ADD COLUMN candidate_mode text CHECK (candidate_mode IN ('shadow', 'canary')),
  ADD COLUMN canary_by text CHECK (canary_by IN ('request', 'tenant')),
  ADD COLUMN canary_share int8 CHECK (canary_share BETWEEN 1 AND 10000);

-- second_person: whoever wrote a version may not put it in force.
ALTER TABLE directory.org ADD COLUMN second_person bool;
