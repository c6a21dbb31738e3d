-- Rails, wakes, folds; a packet's texts are kept once for each run, not once for each turn.

-- What a turn did, for the rails. fingerprint NULL: it did nothing of its own accord (not answered, a client's turn);
-- empty: nothing that could be a repetition. fault: why it is a strike by itself; NULL: it is none.
ALTER TABLE turns ADD COLUMN fingerprint TEXT;
ALTER TABLE turns ADD COLUMN fault TEXT;

-- What we took the packet's tokens for; prompt_tokens is what the provider counted.
ALTER TABLE turns ADD COLUMN asked_tokens INTEGER NOT NULL DEFAULT 0;

-- JSON: which packet_texts stand where in the packet. NULL: the packet has its texts itself.
ALTER TABLE turns ADD COLUMN packet_refs TEXT;

-- number counts from 1 in each part of a run's texts, without holes.
CREATE TABLE packet_texts (
  run_id INTEGER NOT NULL REFERENCES runs (id) ON DELETE CASCADE,
  part   TEXT NOT NULL CHECK (part IN ('log', 'other')),
  number INTEGER NOT NULL,
  digest BLOB NOT NULL,
  text   TEXT NOT NULL,
  PRIMARY KEY (run_id, part, number)
) STRICT;

-- Why the provider failed, or what else ended the loop that its reason does not tell; NULL: there is nothing to tell.
ALTER TABLE loops ADD COLUMN error TEXT;

-- How many loops in a row streams have opened, this one included, since a prompt of a person's.
ALTER TABLE loops ADD COLUMN wakes INTEGER NOT NULL DEFAULT 0;

-- The id of the last log row whose body is folded, and of the last row that is left out of packets altogether.
ALTER TABLE runs ADD COLUMN bodies_folded_to INTEGER NOT NULL DEFAULT 0;
ALTER TABLE runs ADD COLUMN rows_folded_to INTEGER NOT NULL DEFAULT 0;

-- Whoever reads a run's log does not keep a row that is still proposed, so its answer changes nothing that was kept.
DROP TRIGGER log_looks_different;
CREATE TRIGGER log_looks_different AFTER UPDATE OF rx, status_rx, outcome, hidden ON log_entries
WHEN OLD.state <> 'proposed' OR NEW.hidden <> OLD.hidden
BEGIN
  UPDATE runs SET log_version = log_version + 1 WHERE id = NEW.run_id;
END;
