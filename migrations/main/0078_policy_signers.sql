-- Why: policies that come as signed bundles: whose signatures an org trusts, and whether only signed policies may act there. Forward only.
--
-- Every new column may be NULL, which rows written before are: a row's canonical form leaves NULLs out, so their MACs stay good
-- (gateway/directory/rows.h).

-- policy_signers: a line for each trusted key, "NAME BASE64", of an Ed25519 public key's 32 bytes; by name. signed_policies: no policy acts
-- that none of them signed.
ALTER TABLE directory.org ADD COLUMN policy_signers text, ADD COLUMN signed_policies bool;
