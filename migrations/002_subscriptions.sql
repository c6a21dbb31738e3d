-- One row per stream; it is open for as long as somebody writes the entry's channels (SPEC 4.1).

CREATE TABLE subscriptions (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id       INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  entry_id     INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
  scheme       TEXT NOT NULL,
  handle       TEXT NOT NULL,
  opened_at    TEXT NOT NULL,
  closed_at    TEXT,
  close_status INTEGER,
  close_detail TEXT,
  CHECK ((closed_at IS NULL) = (close_status IS NULL))
) STRICT;

CREATE UNIQUE INDEX subscriptions_one_open ON subscriptions (run_id, entry_id) WHERE closed_at IS NULL;
CREATE INDEX subscriptions_by_run ON subscriptions (run_id);
CREATE INDEX subscriptions_by_entry ON subscriptions (entry_id);
