-- Why: after a failover to a standby that was behind, or a restored backup, an instance whose log had lost records refused to start for ever,
-- and the only way on, to move its state away, left no trace. Whoever accepts the loss does so on record. Forward only.
--
-- Each time that a loss is accepted (`tollgate migrate --lost-records`): a row for every log that nobody was serving, with where its head
-- stood, and one of log 0, which stands for logs that the database knows nothing of any more. An instance whose state says that its log had
-- more records goes on if this happened since it last took a log, and puts on record which of them are missing.
CREATE TABLE audit.loss (
  accepted_at timestamptz NOT NULL,
  log_id int2 NOT NULL,
  next_index int8 NOT NULL,
  reason text NOT NULL,
  PRIMARY KEY (accepted_at, log_id)
);
CREATE TRIGGER loss_stays BEFORE UPDATE OR DELETE ON audit.loss FOR EACH ROW EXECUTE FUNCTION audit.refuse_change();
CREATE TRIGGER loss_stays_whole BEFORE TRUNCATE ON audit.loss FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse_change();

GRANT SELECT ON audit.loss TO tollgate_writer, tollgate_reader, tollgate_verifier;
