-- Why: whether a stored bundle has a greater number was told by reading the texts of all versions while every other change of the directory
-- waited. Forward only.

-- The text's number as a bundle (docs/policy.md); 0: it has none. NULL in rows from before, whose canonical form leaves it out, so their MACs
-- stay good (gateway/directory/rows.h): their texts are read where a number is asked for.
ALTER TABLE directory.policy ADD COLUMN bundle int8 CHECK (bundle >= 0);
