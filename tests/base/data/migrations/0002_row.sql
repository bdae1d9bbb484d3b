-- A row, which needs the table of the file before.
INSERT INTO made VALUES (1);
