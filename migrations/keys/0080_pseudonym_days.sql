-- Why: a value that nobody sends any more can be aged out with the days of its tenant: last_seen is the last day on which a request of the
-- team held it. And of two values that share a pseudonym (40 bits) both are kept, so that nobody takes one for the other. Forward only.
ALTER TABLE keys.pseudonym ADD COLUMN last_seen date NOT NULL DEFAULT current_date;
ALTER TABLE keys.pseudonym DROP CONSTRAINT pseudonym_pkey;
ALTER TABLE keys.pseudonym ADD PRIMARY KEY (team_id, pseudonym, subject, mark);
CREATE INDEX pseudonym_last_seen ON keys.pseudonym (last_seen);

GRANT UPDATE (last_seen) ON keys.pseudonym TO tollgate_keys;
