"""Real processes as streams: what they write is kept, what they are sent arrives, and they end with their stream."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path

import pytest
import trio

from plurnk.errors import Conflict
from plurnk.store import channels
from plurnk.streams import process, stdin
from tests.support import processes
from tests.support.bare import GRACE_S, Bare, work
from tests.support.faults import FailingWrites
from tests.support.streams import LIMIT_S, OF_COMMANDS, basin, until

# -- ends


@pytest.mark.parametrize(
    ("script", "end"),
    [
        ("exit 0", (200, None, 0, None)),
        ("exit 7", (500, None, 7, None)),
        ("kill -SEGV $$", (500, None, 139, "SIGSEGV")),
    ],
)
async def test_a_command_ends_as_its_own_process_does(
    tmp_path: Path, script: str, end: tuple[int, str | None, int, str | None]
) -> None:
    async with basin(tmp_path / "p.db") as at:
        row = await at.run(work("sh", "-c", f"echo out; echo err >&2; {script}"))
        assert (row.close_status, row.close_detail, row.exit_code, row.signal) == end
        state = "closed" if end[0] == 200 else "errored"
        assert [await at.content(row.entry_id, name) for name in OF_COMMANDS] == [
            (state, b"out\n"),
            (state, b"err\n"),
            (state, b""),
        ]
        (concluded,) = at.concluded()
        assert (concluded.stdout_bytes, concluded.stderr_bytes) == (4, 4)
        assert concluded.summary.startswith("stream://sh-1 ")
        assert concluded.summary.endswith("; 4 bytes on stdout, 4 on stderr")


async def test_a_command_that_takes_too_long_is_ended_504_with_all_it_wrote(tmp_path: Path) -> None:
    script = "trap 'echo late; exit 3' TERM; echo early; while :; do sleep 0.01; done"
    async with basin(tmp_path / "p.db") as at:
        row = await at.run(work("sh", "-c", script, timeout_s=0.4))
        assert (row.close_status, row.close_detail, row.exit_code) == (504, "it had 0.4 s", None)
        assert await at.content(row.entry_id, "stdout") == ("errored", b"early\nlate\n")


@pytest.mark.spec("4.4-partial-output-kept")
async def test_what_a_command_writes_until_its_last_moment_is_kept(tmp_path: Path) -> None:
    # More than a pipe holds, so it can only end because it is read while it is being ended.
    script = (
        "import signal, sys, time\n"
        "def last(*_):\n"
        "    sys.stdout.write('y' * 1_000_000 + 'last words\\n'); sys.stdout.flush(); sys.exit(0)\n"
        "signal.signal(signal.SIGTERM, last)\n"
        "print('first', flush=True)\n"
        "time.sleep(60)\n"
    )
    async with basin(tmp_path / "p.db") as at:
        entry_id = await at.command(work(sys.executable, "-c", script, grace_s=20))
        await at.holds(entry_id, b"first\n")
        assert await at.streams.cancel(entry_id, reason="SEND[499]")
        state, data = await at.content(entry_id, "stdout")
        assert (state, data[:6], data[-11:], len(data)) == ("errored", b"first\n", b"last words\n", 1_000_017)
        assert await at.closes(entry_id) == [(499, "SEND[499]")]


@pytest.mark.spec("4.4-partial-output-kept")
async def test_a_command_that_ignores_term_is_killed_and_its_output_kept(tmp_path: Path) -> None:
    begun: list[Bare] = []
    async with basin(tmp_path / "p.db") as at:
        script = "trap '' TERM; while :; do echo still here; sleep 0.01; done"
        entry_id = await at.command(work("sh", "-c", script, begun=begun.append))
        await at.holds(entry_id, b"still here\n")
        before = trio.current_time()
        assert await at.streams.cancel(entry_id, reason="enough")
        assert trio.current_time() - before >= GRACE_S
        assert processes.is_ended(begun[0].pid)
        _state, data = await at.content(entry_id, "stdout")
        assert set(data.splitlines()) == {b"still here"}


@pytest.mark.spec("4.4-grandchild-cannot-hold")
async def test_a_grandchild_that_keeps_the_pipes_open_does_not_keep_the_stream(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process, "DRAIN_S", 0.1)
    script = (
        "import os, subprocess, sys\n"
        "held = subprocess.Popen(['sleep', '60'], start_new_session=True)\n"
        "print(held.pid, 'and the rest', flush=True)\n"
    )
    async with basin(tmp_path / "p.db") as at:
        with trio.fail_after(LIMIT_S):
            row = await at.run(work(sys.executable, "-c", script))
        _state, data = await at.content(row.entry_id, "stdout")
        os.kill(int(data.split()[0]), 9)
        assert (row.close_status, data.endswith(b" and the rest\n")) == (200, True)


@pytest.mark.spec("4.4-grandchild-cannot-hold")
async def test_nor_does_one_that_never_stops_talking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process, "DRAIN_LIMIT_S", 0.3)
    talk = "import sys, time\nwhile True: print('bla', flush=True); time.sleep(0.01)"
    script = (
        "import subprocess, sys\n"
        f"held = subprocess.Popen([sys.executable, '-c', {talk!r}], start_new_session=True)\n"
        "print(held.pid, flush=True)\n"
    )
    async with basin(tmp_path / "p.db") as at:
        with trio.fail_after(LIMIT_S):
            row = await at.run(work(sys.executable, "-c", script))
        _state, data = await at.content(row.entry_id, "stdout")
        pid = next(int(line) for line in data.splitlines() if line.isdigit())
        os.kill(pid, 9)
        assert row.close_status == 200


@pytest.mark.spec("4.5-cancel-races")
async def test_cancels_at_any_moment_are_all_answered_and_one_end_recorded(tmp_path: Path) -> None:
    begun: list[Bare] = []
    async with basin(tmp_path / "p.db") as at:
        for number in range(25):
            answers: list[bool] = []
            entry_id = await at.entry(f"sh-{number}", OF_COMMANDS)

            async def cancel_after(pause_s: float, entry_id: int = entry_id, answers: list[bool] = answers) -> None:
                await trio.sleep(pause_s)
                answers.append(await at.streams.cancel(entry_id, reason="the race"))

            async def run(entry_id: int = entry_id, number: int = number) -> None:
                script = f"echo begun; sleep 0.0{number % 5}"
                await at.open(entry_id, work("sh", "-c", script, begun=begun.append), names=OF_COMMANDS)

            with trio.fail_after(LIMIT_S):
                async with trio.open_nursery() as racers:
                    racers.start_soon(run)
                    for caller in range(3):
                        racers.start_soon(cancel_after, 0.001 * number + 0.002 * caller)
                await at.ended(entry_id)
            assert len(answers) == 3
            ((status, reason),) = await at.closes(entry_id)
            assert (status, reason) in {(200, None), (499, "the race")}
            assert status == 200 or True in answers
        assert all(processes.is_ended(each.pid) for each in begun)
        assert len(at.concluded()) == 25


async def test_all_that_a_loop_has_started_ends_with_it_and_nothing_else(tmp_path: Path) -> None:
    begun: list[Bare] = []
    async with basin(tmp_path / "p.db") as at:
        first, second = [await at.command(work("sleep", "60", begun=begun.append), name) for name in ("sh-1", "sh-2")]
        await until(lambda: len(begun) == 2)
        assert not await at.streams.cancel_loop(at.turn.loop_id + 1, reason="another's")
        assert not await at.streams.cancel_run(at.turn.run_id + 1, reason="another's")
        assert at.streams.count == 2
        assert await at.streams.cancel_loop(at.turn.loop_id, reason="its loop ended")
        assert at.streams.count == 0
        assert [processes.is_ended(each.pid) for each in begun] == [True, True]
        assert await at.closes(first) == await at.closes(second) == [(499, "its loop ended")]
        third = await at.command(work("sleep", "60"), "sh-3")
        assert await at.streams.cancel_run(at.turn.run_id, reason="its run goes")
        assert await at.closes(third) == [(499, "its run goes")]


# -- output


async def test_the_end_of_the_disk_ends_the_command(tmp_path: Path) -> None:
    begun: list[Bare] = []
    async with basin(tmp_path / "p.db") as at:
        entry_id = await at.entry("sh-1", OF_COMMANDS)
        FailingWrites(at.store, 3)  # the opening, a first line, and this
        script = "echo one; sleep 0.2; echo two; sleep 60"
        await at.open(entry_id, work("sh", "-c", script, begun=begun.append), names=OF_COMMANDS)
        await at.ended(entry_id)
        assert await at.closes(entry_id) == [(500, "database error: disk I/O error")]
        assert processes.is_ended(begun[0].pid)
        assert await at.content(entry_id, "stdout") == ("errored", b"one\n")


async def test_a_command_that_fills_its_channel_is_ended_413_although_it_does_not_stop_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "CHANNEL_CAP_BYTES", 1_000_000)
    begun: list[Bare] = []
    async with basin(tmp_path / "p.db") as at:
        with trio.fail_after(LIMIT_S):
            row = await at.run(work("sh", "-c", "trap '' TERM; yes", begun=begun.append))
        assert (row.close_status, row.close_detail) == (413, "channel stdout holds at most 1000000 bytes")
        assert await at.content(row.entry_id, "stdout") == ("errored", b"y\n" * 500_000)
        assert processes.is_ended(begun[0].pid)


@pytest.mark.spec("4.3-backpressure-bounded")
async def test_a_command_that_writes_faster_than_can_be_written_has_to_wait(tmp_path: Path) -> None:
    """The writer stands still: what is read meanwhile is one piece of each pipe."""
    begun: list[Bare] = []
    size = 50_000_000
    async with basin(tmp_path / "p.db") as at:
        gate, stands = trio.Event(), trio.Event()
        token = trio.lowlevel.current_trio_token()

        def stand_still(_tx: object) -> None:
            token.run_sync_soon(stands.set)
            trio.from_thread.run(gate.wait, trio_token=token)

        entry_id = await at.entry("sh-1", OF_COMMANDS)
        script = f"echo begun; read line; head -c {size} /dev/zero | tr '\\0' x; echo; echo done >&2"
        await at.open(entry_id, work("sh", "-c", script, begun=begun.append), names=OF_COMMANDS)
        await at.holds(entry_id, b"begun\n")
        await at.streams.send(entry_id, b"go\n")
        async with trio.open_nursery() as standing:
            standing.start_soon(at.store.write, stand_still)
            await stands.wait()
            await until(
                lambda: (
                    bool(writers := blocked_writers(begun[0].pids())) and writers == blocked_writers(begun[0].pids())
                )
            )
            waiting = at.store.waiting
            gate.set()
        assert waiting <= 2
        await at.ended(entry_id)
        _state, data = await at.content(entry_id, "stdout")
        # One line of 50 MB.
        assert data == b"begun\n" + b"x" * size + b"\n"
        assert await at.content(entry_id, "stderr") == ("closed", b"done\n")


def blocked_writers(pids: tuple[int, ...]) -> list[int]:
    """Those of the processes that wait for room in a pipe."""
    found: list[int] = []
    for pid in pids:
        try:
            if "pipe_write" in Path(f"/proc/{pid}/wchan").read_text("ascii"):
                found.append(pid)
        except OSError:
            continue
    return found


async def test_many_short_lines_invalid_text_and_split_letters_arrive_as_they_were_written(tmp_path: Path) -> None:
    script = (
        "import sys, time\n"
        "for number in range(20_000):\n"
        "    sys.stdout.buffer.write(b'%d\\n' % number)\n"
        "    sys.stdout.buffer.flush()\n"
        "sys.stdout.buffer.write(b'\\xff\\xfe\\x00 caf\\xc3'); sys.stdout.buffer.flush()\n"
        "time.sleep(0.05)\n"
        "sys.stdout.buffer.write(b'\\xa9\\n')\n"
    )
    async with basin(tmp_path / "p.db") as at:
        row = await at.run(work(sys.executable, "-c", script))
        _state, data = await at.content(row.entry_id, "stdout")
        assert data == b"".join(b"%d\n" % number for number in range(20_000)) + b"\xff\xfe\x00 caf\xc3\xa9\n"
        lengths = [event.content_length for event in at.events("stdout")]
        assert lengths == sorted(lengths)
        assert lengths[-1] == len(data)


# -- input


@pytest.mark.spec("4.3-stdin")
async def test_what_is_sent_arrives_and_is_in_the_channel_until_stdin_is_closed(tmp_path: Path) -> None:
    async with basin(tmp_path / "p.db") as at:
        entry_id = await at.command(work("cat"))
        assert await at.streams.send(entry_id, b"one\n") == 4
        await at.holds(entry_id, b"one\n")
        async with trio.open_nursery() as senders:
            for letter in b"abc":
                senders.start_soon(at.streams.send, entry_id, bytes([letter]) * 200_000)
        await at.streams.close_input(entry_id)
        await at.ended(entry_id)
        _state, data = await at.content(entry_id, "stdout")
        assert await at.content(entry_id, "stdin") == ("closed", data)
        # Whole, one after the other.
        assert len(data) == 600_004
        assert {data[4 + 200_000 * n : 4 + 200_000 * (n + 1)] for n in range(3)} == {
            bytes([letter]) * 200_000 for letter in b"abc"
        }
        for refused in (at.streams.send(entry_id, b"x"), at.streams.close_input(entry_id)):
            with pytest.raises(Conflict):
                await refused


@pytest.mark.spec("4.3-stdin")
async def test_what_is_not_read_is_given_up_and_what_was_taken_is_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdin, "SEND_LIMIT_S", 0.3)
    async with basin(tmp_path / "p.db") as at:
        entry_id = await at.command(work("sleep", "60"))
        data = bytes(range(256)) * 4096
        taken = await at.streams.send(entry_id, data)
        assert 0 < taken < len(data)
        assert await at.content(entry_id, "stdin") == ("active", data[:taken])
        assert await at.streams.send(entry_id, b"more") == 0
        await at.streams.close_input(entry_id)
        with pytest.raises(Conflict):
            await at.streams.send(entry_id, b"x")
        assert await at.streams.cancel(entry_id, reason="x")


@pytest.mark.spec("4.3-stdin")
async def test_what_nobody_will_read_is_refused(tmp_path: Path) -> None:
    async with basin(tmp_path / "p.db") as at:
        entry_id = await at.command(work("sh", "-c", "exec <&-; echo closed; sleep 60"))
        await at.holds(entry_id, b"closed\n")
        with pytest.raises(Conflict, match="reads its stdin no more"):
            await at.streams.send(entry_id, b"x")
        assert await at.streams.cancel(entry_id, reason="x")
        other = await at.entry("quiet")
        with pytest.raises(Conflict):
            await at.streams.send(other, b"x")


async def test_what_is_sent_while_the_command_ends_is_taken_or_refused(tmp_path: Path) -> None:
    async with basin(tmp_path / "p.db") as at:
        for number in range(10):
            entry_id = await at.command(work("sh", "-c", "read line; exit 0"), f"sh-{number}")

            async def send(entry_id: int = entry_id) -> None:
                try:
                    while True:
                        await at.streams.send(entry_id, b"line\n" * 1000)
                except Conflict:
                    pass

            with trio.fail_after(LIMIT_S):
                async with trio.open_nursery() as senders:
                    senders.start_soon(send)
                    senders.start_soon(send)
            await at.ended(entry_id)
            assert (await at.closes(entry_id))[0][0] == 200


@pytest.mark.spec("4.3-awaiting-input")
async def test_a_command_that_waits_for_input_is_reported_once_a_wait(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdin, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(stdin, "AWAITS_AFTER_S", 0.2)
    script = "while echo 'more?'; do read answer || exit 0; sleep 0.3; echo got $answer; done"
    async with basin(tmp_path / "p.db") as at:
        entry_id = await at.command(work("sh", "-c", script))

        def waits() -> list[object]:
            return [each.awaiting_input for each in at.events("stdin") if isinstance(each.awaiting_input, bool)]

        await until(lambda: waits() == [True])
        assert await at.attributes(entry_id) == {"awaitingInput": True}
        # As long as it waits it is not said again.
        await trio.sleep(0.5)
        assert waits() == [True]
        await at.streams.send(entry_id, b"yes\n")
        await until(lambda: waits() == [True, False])
        assert await at.attributes(entry_id) == {}
        await at.holds(entry_id, b"got yes\n")
        await until(lambda: waits() == [True, False, True])
        await at.streams.close_input(entry_id)
        await at.ended(entry_id)
        assert await at.attributes(entry_id) == {}
        assert (await at.closes(entry_id))[0][0] == 200


@pytest.mark.spec("4.3-awaiting-input")
async def test_a_silent_command_is_looked_at_seldom_until_it_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdin, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(stdin, "LOOK_SELDOM_S", 3600.0)
    monkeypatch.setattr(stdin, "AWAITS_AFTER_S", 0.1)
    looks: list[float] = []
    blocked = stdin._blocked_readers

    def look(*args: object) -> list[tuple[int, str]]:
        looks.append(time.monotonic())  # on a thread
        return blocked(*args)  # type: ignore[arg-type]  # handed on

    monkeypatch.setattr(stdin, "_blocked_readers", look)
    go = tmp_path / "go"
    script = f"until test -e {go}; do sleep 0.02; done; echo 'name?'; read answer"
    async with basin(tmp_path / "p.db") as at:
        entry_id = await at.command(work("sh", "-c", script))
        # Each pause is twice the one before.
        await until(lambda: len(looks) > 1 and looks[-1] - looks[-2] > 0.5)
        assert len(looks) < 10
        known = len(looks)
        go.touch()
        await until(lambda: [each.awaiting_input for each in at.events("stdin")][-1:] == [True])
        # The next look would have come after a pause of twice that length; what was heard has brought it on.
        assert looks[known] - looks[known - 1] < 1.5 * (looks[known - 1] - looks[known - 2])
        await at.streams.close_input(entry_id)
        await at.ended(entry_id)


@pytest.mark.spec("4.3-awaiting-input")
async def test_who_reads_something_else_or_is_at_work_does_not_wait_for_input(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(stdin, "LOOK_EVERY_S", 0.02)
    monkeypatch.setattr(stdin, "LOOK_SELDOM_S", 0.02)
    monkeypatch.setattr(stdin, "AWAITS_AFTER_S", 0.1)
    looks: list[object] = []
    blocked = stdin._blocked_readers

    def look(*args: object) -> list[tuple[int, str]]:
        looks.append(args)
        return blocked(*args)  # type: ignore[arg-type]  # handed on

    monkeypatch.setattr(stdin, "_blocked_readers", look)
    async with basin(tmp_path / "p.db") as at:
        os.mkfifo(tmp_path / "fifo")
        sleeper = await at.command(work("sleep", "60"), "sh-1")
        other = await at.command(work("sh", "-c", f"cat < {tmp_path}/fifo"), "sh-2")
        await until(lambda: len(looks) > 40)
        assert [each.awaiting_input for each in at.events("stdin") if each.awaiting_input is True] == []
        for entry_id in (sleeper, other):
            assert await at.streams.cancel(entry_id, reason="x")
