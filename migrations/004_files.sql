-- Proposals that outlive the daemon, standing approvals, and what files held before they were written.

-- An operation that waits, or has waited, to be accepted; its state is its log row's. statement: as it was asked, so
-- that it can be worked out again when it is accepted; told: as clients were; steps: what an accepted one is about to
-- do on disk, until nothing is left of that.
CREATE TABLE proposals (
  log_entry_id INTEGER PRIMARY KEY REFERENCES log_entries (id) ON DELETE CASCADE,
  session_id   INTEGER NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  loop_id      INTEGER NOT NULL REFERENCES loops (id) ON DELETE CASCADE,
  statement    TEXT NOT NULL,
  project_root TEXT,
  told         TEXT NOT NULL,
  steps        TEXT
) STRICT;

CREATE INDEX log_proposed ON log_entries (id) WHERE state = 'proposed';
CREATE INDEX proposals_by_session ON proposals (session_id);
CREATE INDEX proposals_by_loop ON proposals (loop_id);
CREATE INDEX proposals_with_steps ON proposals (log_entry_id) WHERE steps IS NOT NULL;

CREATE TABLE approvals (
  id              INTEGER PRIMARY KEY AUTOINCREMENT,
  session_id      INTEGER NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  op              TEXT NOT NULL,
  scheme          TEXT,
  path_glob       TEXT,
  command_prefix  TEXT,
  sandbox_profile TEXT,
  created_at      TEXT NOT NULL
) STRICT;

CREATE INDEX approvals_by_session ON approvals (session_id, id);

-- Contents by their sha-256, compressed. They go with the last version that names them.
CREATE TABLE file_contents (
  sha256       TEXT PRIMARY KEY,
  length_bytes INTEGER NOT NULL,
  data         BLOB NOT NULL
) STRICT, WITHOUT ROWID;

-- What a file held before an accepted write; sha256 and mode NULL: it was not there. after_sha256: what it held then.
-- kept_bytes: of its content, compressed; one that several versions share counts for each.
CREATE TABLE file_versions (
  id           INTEGER PRIMARY KEY AUTOINCREMENT,
  session_id   INTEGER NOT NULL REFERENCES sessions (id) ON DELETE CASCADE,
  log_entry_id INTEGER REFERENCES log_entries (id) ON DELETE SET NULL,
  project_root TEXT NOT NULL,
  pathname     TEXT NOT NULL,
  sha256       TEXT REFERENCES file_contents (sha256),
  mode         INTEGER,
  after_sha256 TEXT,
  kept_bytes   INTEGER NOT NULL,
  at           TEXT NOT NULL
) STRICT;

CREATE INDEX file_versions_by_session ON file_versions (session_id, id);
CREATE INDEX file_versions_by_path ON file_versions (session_id, project_root, pathname, id);
CREATE INDEX file_versions_by_content ON file_versions (sha256);
CREATE INDEX file_versions_by_log_entry ON file_versions (log_entry_id);

CREATE TRIGGER file_content_goes_with_its_last_version AFTER DELETE ON file_versions
WHEN OLD.sha256 IS NOT NULL AND NOT EXISTS (SELECT 1 FROM file_versions WHERE sha256 = OLD.sha256)
BEGIN
  DELETE FROM file_contents WHERE sha256 = OLD.sha256;
END;

-- The sum of kept_bytes of the session's versions, so that nobody has to look at all of them at every write.
ALTER TABLE sessions ADD COLUMN versions_bytes INTEGER NOT NULL DEFAULT 0;

CREATE TRIGGER session_versions_grow AFTER INSERT ON file_versions
BEGIN
  UPDATE sessions SET versions_bytes = versions_bytes + NEW.kept_bytes WHERE id = NEW.session_id;
END;

CREATE TRIGGER session_versions_shrink AFTER DELETE ON file_versions
BEGIN
  UPDATE sessions SET versions_bytes = versions_bytes - OLD.kept_bytes WHERE id = OLD.session_id;
END;
