-- Commands: who started a stream, how its process ended, whether the run was told; loops that a stream woke.

-- exec://<runtime>-<n>: n counts in the session and is never used again.
ALTER TABLE sessions ADD COLUMN last_command INTEGER NOT NULL DEFAULT 0;

-- The loop and turn that opened it; NULL: from before this migration. exit_code and signal: of the command, if it is one.
ALTER TABLE subscriptions ADD COLUMN loop_id INTEGER REFERENCES loops (id) ON DELETE CASCADE;
ALTER TABLE subscriptions ADD COLUMN turn_id INTEGER REFERENCES turns (id) ON DELETE CASCADE;
ALTER TABLE subscriptions ADD COLUMN exit_code INTEGER;
ALTER TABLE subscriptions ADD COLUMN signal TEXT;

-- 0: it is closed and no turn of the run has said so yet, or it is open. What closed before was told by nothing.
ALTER TABLE subscriptions ADD COLUMN told INTEGER NOT NULL DEFAULT 0 CHECK (told IN (0, 1));
UPDATE subscriptions SET told = 1 WHERE closed_at IS NOT NULL;

CREATE INDEX subscriptions_by_loop ON subscriptions (loop_id);
CREATE INDEX subscriptions_by_turn ON subscriptions (turn_id);
CREATE INDEX subscriptions_untold ON subscriptions (run_id) WHERE told = 0;

-- The subscription whose end opened this loop; NULL: a prompt did.
ALTER TABLE loops ADD COLUMN woken_by INTEGER REFERENCES subscriptions (id) ON DELETE SET NULL;
CREATE INDEX loops_by_waker ON loops (woken_by);
