-- Why: who serves could accept that keys are lost by itself, off the record and in advance, and so hide what it rolled back. As with lost records
-- only the owner accepts it now, and what was accepted stays as it is. Forward only.
REVOKE INSERT ON keys.loss FROM tollgate_keys;

CREATE FUNCTION keys.refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION '% on %.% is not allowed: it can only be added to', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER loss_stays BEFORE UPDATE OR DELETE ON keys.loss FOR EACH ROW EXECUTE FUNCTION keys.refuse_change();
CREATE TRIGGER loss_stays_whole BEFORE TRUNCATE ON keys.loss FOR EACH STATEMENT EXECUTE FUNCTION keys.refuse_change();
