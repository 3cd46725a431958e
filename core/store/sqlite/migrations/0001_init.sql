-- Conventions: n is an integer surrogate key and the order of insertion; an id of 32
-- lower-case hex digits is kept as its 16 bytes, any other as text; times are
-- milliseconds since 1970, 0 for "none"; account_n and endpoint_n are names.n.
-- There are no foreign keys: the one writer removes children itself, and a check per
-- insert would cost the hot path a lookup for each.

CREATE TABLE names (
  n    INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE
) STRICT;

CREATE TABLE health (
  n  INTEGER PRIMARY KEY,
  at INTEGER NOT NULL
) STRICT;
INSERT INTO health (n, at) VALUES (1, 0);

CREATE TABLE accounts (
  n          INTEGER PRIMARY KEY,
  id         TEXT NOT NULL UNIQUE,
  name       TEXT NOT NULL,
  collection TEXT NOT NULL,
  jid        TEXT NOT NULL,
  lid        TEXT NOT NULL,
  state      TEXT NOT NULL,
  reason     TEXT NOT NULL,
  connect    INTEGER NOT NULL,
  greeted    INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  version    INTEGER NOT NULL
) STRICT;

-- seq is the last number given; done the one up to which all events are done, so that
-- done < seq marks the chats with work left, and the events need no index for it; epoch
-- is the highest that appended; merged_into the chat that took over when two names
-- turned out to be one chat.
CREATE TABLE chats (
  n           INTEGER PRIMARY KEY,
  account_n   INTEGER NOT NULL,
  chat        TEXT NOT NULL,
  seq         INTEGER NOT NULL,
  done        INTEGER NOT NULL,
  epoch       INTEGER NOT NULL,
  merged_into INTEGER,
  UNIQUE (account_n, chat)
) STRICT;
CREATE INDEX chats_unfinished ON chats (n) WHERE done < seq;

-- root is the n of the form that is the key; a key's root is its own n.
CREATE TABLE aliases (
  n         INTEGER PRIMARY KEY,
  account_n INTEGER NOT NULL,
  form      TEXT NOT NULL,
  root      INTEGER NOT NULL,
  UNIQUE (account_n, form)
) STRICT;
CREATE INDEX aliases_root ON aliases (root);

-- body is the event as JSON, or body_blob names the blob that holds it.
CREATE TABLE events (
  n         INTEGER PRIMARY KEY,
  id        ANY NOT NULL UNIQUE,
  account_n INTEGER NOT NULL,
  chat_n    INTEGER NOT NULL,
  seq       INTEGER NOT NULL,
  stage     INTEGER NOT NULL,
  epoch     INTEGER NOT NULL,
  stored_at INTEGER NOT NULL,
  done_at   INTEGER NOT NULL,
  verdict   BLOB,
  body      BLOB,
  body_blob TEXT,
  UNIQUE (chat_n, seq)
) STRICT;
CREATE INDEX events_account ON events (account_n);
CREATE INDEX events_body ON events (body_blob) WHERE body_blob IS NOT NULL;

-- n is the event's n. The content is the event's as long as body is null.
CREATE TABLE messages (
  n          INTEGER PRIMARY KEY,
  account_n  INTEGER NOT NULL,
  chat_n     INTEGER NOT NULL,
  wa_id      TEXT NOT NULL,
  time       INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  body       BLOB
) STRICT;
CREATE INDEX messages_wa_id ON messages (account_n, wa_id);
CREATE INDEX messages_time ON messages (time);
CREATE INDEX messages_account ON messages (account_n, time);
CREATE INDEX messages_chat ON messages (chat_n, time);

-- state: 0 queued, 1 sending, 2 sent, 3 failed, 4 unknown.
CREATE TABLE sends (
  n          INTEGER PRIMARY KEY,
  id         ANY NOT NULL UNIQUE,
  account_n  INTEGER NOT NULL,
  chat       TEXT NOT NULL,
  wa_id      TEXT NOT NULL,
  address    TEXT NOT NULL,
  event_id   ANY,
  rule       TEXT NOT NULL,
  idx        INTEGER NOT NULL,
  key        TEXT,
  key_hash   TEXT NOT NULL,
  repeatable INTEGER NOT NULL,
  state      INTEGER NOT NULL,
  attempt    INTEGER NOT NULL,
  epoch      INTEGER NOT NULL,
  reason     TEXT NOT NULL,
  sent_at    INTEGER NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  payload    BLOB,
  UNIQUE (account_n, wa_id)
) STRICT;
CREATE UNIQUE INDEX sends_key ON sends (account_n, key) WHERE key IS NOT NULL;
CREATE INDEX sends_event ON sends (event_id) WHERE event_id IS NOT NULL;
CREATE INDEX sends_open ON sends (account_n, state) WHERE state < 2;

-- state: 0 queued, 1 ok, 2 dead, 3 parked, 4 cancelled. attempts is one JSON object a line.
-- deliveries_lane answers "the seq last queued before this one" (prev): whatever
-- removes old rows must keep the newest of each (endpoint_n, chat_n).
CREATE TABLE deliveries (
  n          INTEGER PRIMARY KEY,
  id         ANY NOT NULL UNIQUE,
  event_n    INTEGER NOT NULL,
  endpoint_n INTEGER NOT NULL,
  chat_n     INTEGER NOT NULL,
  part       INTEGER NOT NULL,
  seq        INTEGER NOT NULL,
  prev       INTEGER NOT NULL,
  state      INTEGER NOT NULL,
  generation INTEGER NOT NULL,
  attempt    INTEGER NOT NULL,
  due        INTEGER NOT NULL,
  stepped    INTEGER NOT NULL,
  crashes    INTEGER NOT NULL,
  epoch      INTEGER NOT NULL,
  reason     TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  attempts   BLOB
) STRICT;
CREATE INDEX deliveries_event ON deliveries (event_n);
CREATE INDEX deliveries_endpoint ON deliveries (endpoint_n);
CREATE INDEX deliveries_lane ON deliveries (endpoint_n, chat_n, seq);
CREATE INDEX deliveries_queued ON deliveries (endpoint_n, chat_n, seq) WHERE state = 0;
CREATE INDEX deliveries_odd ON deliveries (endpoint_n, state) WHERE state > 1;

CREATE TABLE endpoints (
  id         TEXT PRIMARY KEY,
  disabled   INTEGER NOT NULL,
  reason     TEXT NOT NULL,
  open_since INTEGER NOT NULL,
  last_ok    INTEGER NOT NULL,
  updated_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE webhooks (
  n          INTEGER PRIMARY KEY,
  id         TEXT NOT NULL UNIQUE,
  url        TEXT NOT NULL,
  account    TEXT NOT NULL,
  events     TEXT NOT NULL,
  secret     TEXT NOT NULL,
  headers    TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  UNIQUE (url, account)
) STRICT;

-- id is null until the file is whole, which keeps it out of every query. internal
-- marks the engine's own files (large event bodies).
CREATE TABLE blobs (
  n          INTEGER PRIMARY KEY,
  id         TEXT UNIQUE,
  account_n  INTEGER NOT NULL,
  internal   INTEGER NOT NULL,
  name       TEXT NOT NULL,
  mime       TEXT NOT NULL,
  size       INTEGER NOT NULL,
  sha256     TEXT NOT NULL,
  created_at INTEGER NOT NULL,
  meta       TEXT NOT NULL
) STRICT;
CREATE INDEX blobs_account ON blobs (account_n);
CREATE INDEX blobs_unfinished ON blobs (n) WHERE id IS NULL;

-- n is blobs.n * 1048576 + the number of the 256 KiB piece.
CREATE TABLE blob_chunks (
  n    INTEGER PRIMARY KEY,
  data BLOB NOT NULL
) STRICT;

CREATE TABLE kv (
  namespace TEXT NOT NULL,
  key       TEXT NOT NULL,
  value     BLOB NOT NULL,
  expires   INTEGER,
  PRIMARY KEY (namespace, key)
) STRICT, WITHOUT ROWID;
CREATE INDEX kv_expires ON kv (expires) WHERE expires IS NOT NULL;

CREATE TABLE leases (
  name  TEXT PRIMARY KEY,
  owner TEXT NOT NULL,
  epoch INTEGER NOT NULL,
  until INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
