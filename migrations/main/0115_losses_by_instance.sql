-- Why: who accepted lost records was told "1 are being served" of a log that an adopter was only looking after, or that another instance
-- had taken since, and the instance that had lost it was refused on. What counts is whether that one was running. Forward only.
--
-- `adopted`: the epoch of an adoption. While it is the log's epoch, the instance that the row names is dead, and an adopter closes what it
-- left.
ALTER TABLE audit.log_head ADD COLUMN adopted int8;

-- In the row of log 0: the instances that were running when the loss was accepted, for which nothing was. In rows of other logs, and in all
-- of before, there is none: those go by logs, for instances of the version before.
ALTER TABLE audit.loss ADD COLUMN alive uuid[];
