-- Why: nothing said whose records a keys database opens, so an empty one, another's or one from an old backup was taken without a word, and from then
-- on the same persons had other names and what was on record could not be read. Forward only.
--
-- The installation whose records are sealed under these keys (audit.installation in the main database): one row, from the first start on that finds
-- none. A database from before has its row with its next start.
CREATE TABLE keys.installation (
  id uuid NOT NULL,
  created_at timestamptz NOT NULL DEFAULT now()
);
CREATE UNIQUE INDEX installation_one ON keys.installation ((true));

-- Keys that are gone for good, as whoever runs the installation accepted on record (`tollgate migrate --lost-keys`): of records from before
-- `accepted_at` no key is missed any more.
CREATE TABLE keys.loss (
  accepted_at timestamptz NOT NULL DEFAULT now(),
  reason text NOT NULL
);

GRANT SELECT, INSERT ON keys.installation, keys.loss TO tollgate_keys;
