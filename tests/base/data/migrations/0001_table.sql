-- A table, so that the test cluster has something to migrate.
CREATE TABLE made (n int8);
