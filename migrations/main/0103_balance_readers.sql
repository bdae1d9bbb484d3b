-- Why: how much of a limit is taken is told beside the limit. Balances name limits by id and hold nothing of what was asked or answered. Forward only.

GRANT SELECT ON metering.balance TO tollgate_reader;
