-- Why: tokens that a policy rule had the model write anew are billed as a kind of their own: part of the output, told apart. Rows from before
-- have none. Forward only.

ALTER TABLE metering.usage ADD COLUMN discarded_tokens int4 NOT NULL DEFAULT 0;
ALTER TABLE metering.usage ADD CONSTRAINT usage_discarded_check CHECK (discarded_tokens BETWEEN 0 AND output_tokens);
ALTER TABLE metering.transfer ADD COLUMN discarded_tokens int4 NOT NULL DEFAULT 0;
ALTER TABLE metering.transfer ADD CONSTRAINT transfer_discarded_check CHECK (discarded_tokens BETWEEN 0 AND output_tokens);
