"""The parent of a command's tree where there is no PID namespace: starts it, adopts its orphans, ends it.

Runs as a process of its own, outside what it confines, and starts with every command: ``os``, ``ctypes``,
``marshal`` and ``select`` only. Three descriptors lead to whoever started it: the plan (read
once), the control pipe (``g``: go; ``t``: TERM to the tree; ``k``: KILL; end of file: the starter is dead,
KILL and leave) and the status pipe, which gets a line when there is a process that waits for the go
(``forked PID``), when it has become the command (``started``) or could not (``failed STAGE ERRNO``), and when
nothing of the tree is left (``ended CODE``; negative: by that signal).
"""

from __future__ import annotations

import errno
import marshal
import os
import select
import stat
import sys

from sandbox import domain, links, private

TYPE_CHECKING = False  # as typing has it, without the 8 ms that it costs
if TYPE_CHECKING:
    from typing import Any, Final, NoReturn

SCOPES_SIGNALS_ABI: Final = 6
AGAIN_MS: Final = 10
"""How often a tree that is to end is looked at for processes that have come since."""
AT_ONCE: Final = 256
"""How many processes are held open at once: 1024 descriptors is what an ordinary process may have."""


class _Failed(Exception):
    """The command could not be started: STAGE ERRNO."""


class _Supervisor:
    def __init__(self, plan: dict[str, Any], control: int, status: int) -> None:
        self._plan = plan
        self._control = control
        self._status = status
        self._pid = 0
        self._code: int | None = None
        self._heard = False
        self._running = False
        self._terminated: set[int] | None = None
        self._scoped = False
        self._signals = -1
        self._gate = -1

    def run(self) -> None:
        """Start the command and stay until nothing of its tree is left."""
        domain.signal_when_parent_ends(domain.SIGTERM)
        domain.adopt_orphans()
        self._signals = domain.open_signals(domain.SIGCHLD, domain.SIGTERM)
        try:
            domain.no_new_privileges()
            self._scoped = self._plan["abi"] >= SCOPES_SIGNALS_ABI and _scope_signals()
            failures = self._start()
        except _Failed as failed:
            self._report(f"failed {failed}")
            return
        try:
            is_orphan = self._serve(failures)
        finally:
            self._end_all()
        if is_orphan and self._plan["private"] is not None:
            private.remove(self._plan["private"])
        if self._running:
            self._report(f"ended {self._code}")

    def _start(self) -> int:
        """Fork the command's process; returns what it reports through until its program runs."""
        ruleset = -1 if self._plan["rules"] is None else _ruleset(self._plan)
        failures, write_end = os.pipe()
        closed_gate, self._gate = os.pipe()
        supervisor = os.getpid()
        try:
            self._pid = os.fork()
        except OSError as error:
            raise _Failed(f"fork {error.errno}") from error
        if self._pid == 0:
            os.close(self._gate)  # a copy of ours would keep it from seeing that we are gone
            _become(self._plan, ruleset, supervisor, closed_gate, write_end)
        os.close(write_end)
        self._report(f"forked {self._pid}")
        # Whoever reads the command's output sees its end when the tree has let go of it, not when we have.
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
        return failures

    def _serve(self, failures: int) -> bool:
        """Until the command's own process has ended, or all have, or whoever started us has; then returns True."""
        poll = select.poll()
        for descriptor in (self._control, self._signals, failures):
            poll.register(descriptor, select.POLLIN)
        is_left = True
        # One that was told to end is over when all of its tree is: who obeys TERM has its time, too.
        while is_left and (self._code is None or self._terminated is not None):
            ready = {descriptor for descriptor, _ in poll.poll(None if self._terminated is None else AGAIN_MS)}
            if failures in ready:
                poll.unregister(failures)
                self._hear(failures)
            if self._signals in ready and self._has_come(domain.SIGTERM):
                return True
            if self._control in ready and not self._obey(os.read(self._control, 64)):
                return True
            if self._terminated is not None:
                self._terminate(self._terminated)
            is_left = self._reap()
        if not self._heard:
            self._hear(failures)  # it has ended since the last look
        return False

    def _hear(self, failures: int) -> None:
        """Whether the process has become the command; it speaks only if it has not."""
        self._heard = True
        failure = os.read(failures, 64).decode()
        self._running = not failure
        self._report(f"failed {failure}" if failure else "started")

    def _has_come(self, number: int) -> bool:
        """Read what signals have come; whether this one is among them."""
        size = 128
        data = os.read(self._signals, 16 * size)
        return number in {int.from_bytes(data[at : at + 4], sys.byteorder) for at in range(0, len(data), size)}

    def _obey(self, orders: bytes) -> bool:
        if b"g" in orders:
            os.write(self._gate, b"g")
        if b"k" in orders:
            self._end_all()
        elif b"t" in orders and self._terminated is None:
            self._terminated = set()
        return bool(orders)

    def _terminate(self, already: set[int]) -> None:
        """TERM to what has not had it, and CONT: a process that is stopped takes no TERM."""
        fresh = [pid for pid in _tree(os.getpid()) if pid not in already]
        already.update(fresh)
        _send(fresh, domain.SIGTERM, domain.SIGCONT)

    def _reap(self) -> bool:
        """Wait for what has ended; returns whether any process is left. Orphans are ours, so none is missed."""
        try:
            while True:
                pid, status = os.waitpid(-1, os.WNOHANG)
                if pid == 0:
                    return True
                if pid == self._pid:
                    self._code = os.waitstatus_to_exitcode(status)
        except ChildProcessError:
            return False

    def _end_all(self) -> None:
        """KILL until nothing is left."""
        poll = select.poll()
        poll.register(self._signals, select.POLLIN)
        while True:
            self._kill()
            if not self._reap():
                return
            if poll.poll(AGAIN_MS):
                os.read(self._signals, 1024)

    def _kill(self) -> None:
        if self._scoped:
            # All that we may signal is beneath us, so this is one step that no fork can slip through.
            os.kill(-1, domain.SIGKILL)
            return
        # Stop them first, until a look finds nobody new: what is stopped does not fork.
        stopped: set[int] = set()
        while fresh := set(_tree(os.getpid())) - stopped:
            stopped |= fresh
            _send([*fresh], domain.SIGSTOP)
        _send([*stopped], domain.SIGKILL)

    def _report(self, line: str) -> None:
        try:
            os.write(self._status, f"{line}\n".encode())
        except BrokenPipeError:
            return  # nobody is there to hear it


def _scope_signals() -> bool:
    """Confine this process so that it, and all beneath it, can signal only what is beneath it.

    The command is confined once more, so it cannot signal us. Whether that is so is looked at before
    anything is built on it.
    """
    try:
        ruleset = domain.landlock_ruleset(0, 0, domain.SCOPE_SIGNAL)
        domain.landlock_restrict(ruleset)
        os.close(ruleset)
    except OSError:
        return False
    parent = os.getppid()
    if parent <= 0:
        return False
    try:
        os.kill(parent, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        return False
    return False


def _ruleset(plan: dict[str, Any]) -> int:
    """What the command may do to files; its descriptors are opened here, where nothing is forbidden."""
    try:
        ruleset = domain.landlock_ruleset(*plan["handled"])
        for path, allowed in plan["rules"]:
            _allow(ruleset, path, allowed, plan["of_files"])
    except OSError as error:
        raise _Failed(f"landlock {error.errno}") from error
    return ruleset


def _allow(ruleset: int, path: bytes, allowed: int, of_files: int) -> None:
    try:
        # No link on the way either: another command could have made one since the path was found.
        descriptor = links.open_real(os.fsdecode(path), os.O_PATH)
    except OSError:
        return  # gone since, or not for us: what is not allowed is forbidden
    try:
        mode = os.fstat(descriptor).st_mode
        rights = allowed if stat.S_ISDIR(mode) else allowed & of_files
        if rights and not stat.S_ISLNK(mode):
            domain.landlock_allow(ruleset, descriptor, rights)
    finally:
        os.close(descriptor)


def _become(plan: dict[str, Any], ruleset: int, supervisor: int, closed_gate: int, failures: int) -> NoReturn:
    """In the new process: wait until limits are set, give up what the plan forbids and become the command."""
    stage = "cwd"
    try:
        os.setsid()
        if not os.read(closed_gate, 1):
            os._exit(1)
        os.chdir(plan["cwd"])
        stage = "confine"
        domain.reset_signals()
        if plan["confined"]:
            domain.drop_capabilities()
        # Should the supervisor be killed from outside, its command goes with it.
        domain.signal_when_parent_ends(domain.SIGKILL)
        if os.getppid() != supervisor:
            os._exit(1)
        if ruleset >= 0:
            domain.landlock_restrict(ruleset)
        if plan["seccomp"]:
            domain.seccomp(plan["seccomp"])
        stage = "exec"
        _execute(plan["argv"], plan["env"])
    except OSError as error:
        os.write(failures, f"{stage} {error.errno}".encode())
    finally:
        os._exit(127)


def _execute(argv: list[bytes], env: dict[bytes, bytes]) -> NoReturn:
    """As execvp; os.execvpe imports on its way, from where the command may not be able to read."""
    name = argv[0]
    folders = env.get(b"PATH", b"/usr/local/bin:/usr/bin:/bin").split(b":")
    paths = [name] if b"/" in name else [(folder or b".") + b"/" + name for folder in folders]
    refused: OSError = FileNotFoundError(errno.ENOENT, "")
    for path in paths:
        try:
            os.execve(path, argv, env)  # noqa: S606 – no shell is what is wanted
        except (FileNotFoundError, NotADirectoryError):
            continue
        except PermissionError as error:
            refused = error  # a later folder may have one that runs; if none does, this is the better reason
    raise refused


def _tree(top: int) -> list[int]:
    """The processes beneath ``top``."""
    found = [top]
    for pid in found:
        try:
            for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 – pathlib costs 5 ms
                with open(f"/proc/{pid}/task/{thread}/children", "rb") as file:  # noqa: PTH123
                    found += map(int, file.read().split())
        except OSError:
            continue  # it has ended
    return found[1:]


def _send(pids: list[int], *numbers: int) -> None:
    """Send signals to processes of the tree, and to no others that have come to their numbers meanwhile."""
    for start in range(0, len(pids), AT_ONCE):
        opened: dict[int, int] = {}
        try:
            for pid in pids[start : start + AT_ONCE]:
                _keep_open(opened, pid)
            still = set(_tree(os.getpid()))
            for pid, descriptor in opened.items():
                if pid in still:
                    _try_send(descriptor, numbers)
        finally:
            for descriptor in opened.values():
                os.close(descriptor)


def _keep_open(opened: dict[int, int], pid: int) -> None:
    try:
        opened[pid] = os.pidfd_open(pid)
    except OSError:
        return  # it has ended


def _try_send(descriptor: int, numbers: tuple[int, ...]) -> None:
    try:
        for number in numbers:
            domain.send(descriptor, number)
    except OSError:
        return  # it has ended


def main(plan_fd: int, control: int, status: int) -> NoReturn:
    """Never returns; whatever happens, no process of the tree is left."""
    for descriptor in (plan_fd, control, status):
        os.set_inheritable(descriptor, False)
    with open(plan_fd, "rb") as file:
        plan = marshal.load(file)  # noqa: S302 – written by whoever started us, for us alone
    _Supervisor(plan, control, status).run()
    os._exit(0)  # nothing is open; taking the interpreter down would cost 2 ms
