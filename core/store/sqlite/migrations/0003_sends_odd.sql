-- What was not sent, or nobody knows of, is looked for by people.
CREATE INDEX sends_odd ON sends (account_n, state) WHERE state > 2;
