-- Sessions, runs, loops, turns; entries with append-only channels; the log; the outbox of events.
-- Ids that a client may hold are never used again (AUTOINCREMENT). Moments are RFC 3339 UTC text
-- with milliseconds; money is integer pico-USD; JSON is text.

CREATE TABLE sessions (
  id             INTEGER PRIMARY KEY AUTOINCREMENT,
  name           TEXT NOT NULL UNIQUE,
  project_root   TEXT,
  persona        TEXT,
  created_at     TEXT NOT NULL,
  archived       INTEGER NOT NULL DEFAULT 0 CHECK (archived IN (0, 1)),
  cost_pico      INTEGER NOT NULL DEFAULT 0,
  last_event_seq INTEGER NOT NULL DEFAULT 0
) STRICT;

CREATE TABLE runs (
  id            INTEGER PRIMARY KEY AUTOINCREMENT,
  session_id    INTEGER NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  name          TEXT NOT NULL,
  persona       TEXT,
  created_at    TEXT NOT NULL,
  parent_run_id INTEGER REFERENCES runs (id) ON DELETE SET NULL,
  cost_pico     INTEGER NOT NULL DEFAULT 0,
  log_version   INTEGER NOT NULL DEFAULT 0,
  UNIQUE (session_id, name)
) STRICT;

CREATE INDEX runs_by_parent ON runs (parent_run_id);

CREATE TABLE loops (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id     INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  seq        INTEGER NOT NULL,
  origin     TEXT NOT NULL CHECK (origin IN ('model', 'client')),
  status     INTEGER NOT NULL,
  reason     TEXT,
  prompt     TEXT NOT NULL,
  flags      TEXT NOT NULL,
  alias      TEXT,
  persona    TEXT,
  max_turns  INTEGER NOT NULL,
  created_at TEXT NOT NULL,
  started_at TEXT,
  ended_at   TEXT,
  UNIQUE (run_id, seq)
) STRICT;

-- A run has at most one loop that a model is driving.
CREATE UNIQUE INDEX loops_one_running ON loops (run_id) WHERE status = 102 AND origin = 'model';
CREATE INDEX loops_live ON loops (status) WHERE status IN (100, 102);

-- Prompts that came while a loop was live; turn_id is the turn that showed them.
CREATE TABLE injections (
  id      INTEGER PRIMARY KEY,
  loop_id INTEGER NOT NULL REFERENCES loops (id) ON DELETE CASCADE,
  prompt  TEXT NOT NULL,
  turn_id INTEGER REFERENCES turns (id) ON DELETE CASCADE
) STRICT;

CREATE INDEX injections_by_loop ON injections (loop_id, id);
CREATE INDEX injections_by_turn ON injections (turn_id);

CREATE TABLE turns (
  id                INTEGER PRIMARY KEY AUTOINCREMENT,
  loop_id           INTEGER NOT NULL REFERENCES loops (id) ON DELETE CASCADE,
  seq               INTEGER NOT NULL,
  status            INTEGER NOT NULL,
  reason            TEXT,
  started_at        TEXT NOT NULL,
  ended_at          TEXT,
  packet            TEXT,
  telemetry         TEXT NOT NULL DEFAULT '[]',
  model             TEXT,
  finish_reason     TEXT,
  prompt_tokens     INTEGER NOT NULL DEFAULT 0,
  completion_tokens INTEGER NOT NULL DEFAULT 0,
  cached_tokens     INTEGER NOT NULL DEFAULT 0,
  reasoning_tokens  INTEGER NOT NULL DEFAULT 0,
  cost_pico         INTEGER NOT NULL DEFAULT 0,
  UNIQUE (loop_id, seq)
) STRICT;

CREATE INDEX turns_open ON turns (id) WHERE ended_at IS NULL;

CREATE TRIGGER turn_cost_rolls_up AFTER UPDATE OF cost_pico ON turns
WHEN NEW.cost_pico <> OLD.cost_pico
BEGIN
  UPDATE runs SET cost_pico = cost_pico + NEW.cost_pico - OLD.cost_pico
   WHERE id = (SELECT run_id FROM loops WHERE id = NEW.loop_id);
  UPDATE sessions SET cost_pico = cost_pico + NEW.cost_pico - OLD.cost_pico
   WHERE id = (SELECT session_id FROM runs WHERE id = (SELECT run_id FROM loops WHERE id = NEW.loop_id));
END;

-- session_id NULL: the entry is the agent's, seen by every session; scheme NULL: a project file.
CREATE TABLE entries (
  id         INTEGER PRIMARY KEY AUTOINCREMENT,
  session_id INTEGER REFERENCES sessions (id) ON DELETE CASCADE,
  scheme     TEXT,
  pathname   TEXT NOT NULL,
  attributes TEXT NOT NULL DEFAULT '{}',
  created_at TEXT NOT NULL,
  updated_at TEXT NOT NULL
) STRICT;

-- NULLs are distinct in a plain unique index, so identity is indexed with stand-ins for them.
CREATE UNIQUE INDEX entry_identity ON entries (coalesce(session_id, 0), coalesce(scheme, ''), pathname);

CREATE TABLE entry_tags (
  entry_id INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
  tag      TEXT NOT NULL,
  PRIMARY KEY (entry_id, tag)
) STRICT, WITHOUT ROWID;

-- Replacing a channel's content makes a new generation; appending extends the present one.
CREATE TABLE entry_channels (
  id           INTEGER PRIMARY KEY,
  entry_id     INTEGER NOT NULL REFERENCES entries (id) ON DELETE CASCADE,
  name         TEXT NOT NULL,
  mimetype     TEXT NOT NULL,
  state        TEXT NOT NULL CHECK (state IN ('static', 'active', 'closed', 'errored')),
  generation   INTEGER NOT NULL DEFAULT 1,
  length_bytes INTEGER NOT NULL DEFAULT 0,
  newlines     INTEGER NOT NULL DEFAULT 0,
  ends_newline INTEGER NOT NULL DEFAULT 0 CHECK (ends_newline IN (0, 1)),
  tokens       INTEGER NOT NULL DEFAULT 0,
  UNIQUE (entry_id, name)
) STRICT;

-- start_byte and start_newlines count what lies before the chunk in its generation, so a byte or a
-- line is found by one index seek whatever the channel's length.
CREATE TABLE channel_chunks (
  id             INTEGER PRIMARY KEY,
  channel_id     INTEGER NOT NULL REFERENCES entry_channels (id) ON DELETE CASCADE,
  generation     INTEGER NOT NULL,
  start_byte     INTEGER NOT NULL,
  start_newlines INTEGER NOT NULL,
  data           BLOB NOT NULL,
  UNIQUE (channel_id, generation, start_byte)
) STRICT;

CREATE INDEX chunks_by_line ON channel_chunks (channel_id, generation, start_newlines, start_byte);

-- One bit per run and channel; no row means archived.
CREATE TABLE visibility (
  run_id     INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  channel_id INTEGER NOT NULL REFERENCES entry_channels (id) ON DELETE CASCADE,
  PRIMARY KEY (run_id, channel_id)
) STRICT, WITHOUT ROWID;

CREATE INDEX visibility_by_channel ON visibility (channel_id);

CREATE TABLE log_entries (
  id          INTEGER PRIMARY KEY AUTOINCREMENT,
  run_id      INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  loop_id     INTEGER NOT NULL REFERENCES loops (id) ON DELETE CASCADE,
  turn_id     INTEGER NOT NULL REFERENCES turns (id) ON DELETE CASCADE,
  loop_seq    INTEGER NOT NULL,
  turn_seq    INTEGER NOT NULL,
  sequence    INTEGER NOT NULL,
  at          TEXT NOT NULL,
  origin      TEXT NOT NULL CHECK (origin IN ('model', 'client', 'system', 'plugin')),
  op          TEXT NOT NULL,
  suffix      TEXT NOT NULL,
  signal      TEXT NOT NULL,
  scheme      TEXT,
  username    TEXT,
  password    TEXT,
  hostname    TEXT,
  port        INTEGER,
  pathname    TEXT,
  params      TEXT,
  fragment    TEXT,
  line_marker TEXT,
  tx          TEXT NOT NULL,
  mimetype_tx TEXT NOT NULL,
  rx          TEXT NOT NULL,
  mimetype_rx TEXT NOT NULL,
  status_rx   INTEGER NOT NULL,
  tokens      INTEGER NOT NULL DEFAULT 0,
  state       TEXT NOT NULL,
  outcome     TEXT,
  hidden      INTEGER NOT NULL DEFAULT 0 CHECK (hidden IN (0, 1)),
  UNIQUE (turn_id, sequence)
) STRICT;

CREATE INDEX log_by_age ON log_entries (run_id);
CREATE INDEX log_by_coordinates ON log_entries (run_id, loop_seq, turn_seq, sequence);
CREATE INDEX log_by_loop ON log_entries (loop_id, id);

-- Rows are only ever added, so whoever has read a run's log reads on from there; unless an old row
-- looks different now, which is when its run's log_version goes up.
CREATE TRIGGER log_looks_different AFTER UPDATE OF rx, status_rx, outcome, hidden ON log_entries
BEGIN
  UPDATE runs SET log_version = log_version + 1 WHERE id = NEW.run_id;
END;

-- What was asked, where, when and by whom never changes; the answer may (a proposal is resolved).
CREATE TRIGGER log_identity_is_immutable BEFORE UPDATE OF
  id, run_id, loop_id, turn_id, loop_seq, turn_seq, sequence, at, origin, op, suffix, signal, scheme, username,
  password, hostname, port, pathname, params, fragment, line_marker, tx, mimetype_tx ON log_entries
BEGIN
  SELECT raise(ABORT, 'a log row''s identity, target and tx are immutable');
END;

-- The transactional outbox: seq counts from 1 in each session, without holes. An event about a log
-- row refers to it; every other one carries its params.
CREATE TABLE events (
  session_id   INTEGER NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  seq          INTEGER NOT NULL,
  method       TEXT NOT NULL,
  params       TEXT,
  log_entry_id INTEGER REFERENCES log_entries (id) ON DELETE CASCADE,
  at           TEXT NOT NULL,
  PRIMARY KEY (session_id, seq),
  CHECK ((params IS NULL) <> (log_entry_id IS NULL))
) STRICT, WITHOUT ROWID;

CREATE INDEX events_by_log_entry ON events (log_entry_id) WHERE log_entry_id IS NOT NULL;
