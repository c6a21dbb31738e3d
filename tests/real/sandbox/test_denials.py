"""What a command may not do. Each attempt first succeeds without a sandbox, or it would prove nothing."""

from __future__ import annotations

import os
import pty
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import pytest

from tests.support import processes
from tests.support.people import python
from tests.support.sandbox import (
    SECRET,
    Person,
    Place,
    assert_denied,
    assert_ran,
    missing_programs,
    opened_place,
    people,
)

pytestmark = pytest.mark.skipif(bool(missing_programs("git", "unshare")), reason="needs: bubblewrap, git, util-linux")

_BYSTANDER: Final = """
import ctypes, sys
ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1))  # PR_SET_PTRACER: may be traced by anybody who is no stranger
print(flush=True)
sys.stdin.read()
"""

_ATTACH: Final = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
attached = libc.ptrace(16, int(sys.argv[1]), None, None) == 0
attached and os.waitpid(int(sys.argv[1]), 0x40000000) and libc.ptrace(17, int(sys.argv[1]), None, None)
sys.exit(not attached)
"""

_CONNECT: Final = """
import socket, sys
family, address = sys.argv[1], sys.argv[2]
if family == "tcp":
    socket.create_connection(("127.0.0.1", int(address)), timeout=5)
elif family == "udp":
    asking = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    asking.settimeout(5)
    asking.connect(("127.0.0.1", int(address)))
    asking.send(b"?")
    assert asking.recv(9) == b"!"
else:
    socket.socket(socket.AF_UNIX).connect("\\0" + address[1:] if address.startswith("@") else address)
"""

_PUSH_INPUT: Final = """
import errno, fcntl, sys
sys.stdin.readline()
try:
    fcntl.ioctl(0, 0x5412, b"x")
except OSError as error:
    sys.exit(2 if error.errno == errno.EPERM else 3)
"""


@pytest.fixture(params=people(), ids=lambda person: person.name)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    person: Person = request.param
    with opened_place(person) as opened:
        yield opened


# Files


@pytest.mark.spec("4.6-write-outside-denied")
def test_nothing_can_be_written_outside_the_root(place: Place) -> None:
    file, link = place.outside / "file", place.root / "link"
    link.symlink_to(place.outside)
    assert_denied(place, f"echo changed > '{file}'")
    file.write_text("as it was")
    assert_denied(place, f"echo changed > '{link}/file'")
    file.write_text("as it was")
    assert_denied(place, f"echo changed > '/proc/self/root{file}'")
    file.write_text("as it was")
    assert_denied(place, f"touch '{place.base}/beside' && rm '{place.base}/beside'")
    assert_denied(place, f"chmod 600 '{file}'")
    assert_denied(place, f"mv '{file}' '{file}.away' && mv '{file}.away' '{file}'")
    assert file.read_text() == "as it was"


@pytest.mark.spec("4.6-write-outside-denied")
@pytest.mark.skipif(os.getuid() != 0, reason="needs: root, whom nothing else would stop")
@pytest.mark.parametrize("path", ["/etc", "/usr/bin", "/proc/sys/kernel/core_pattern", "/", "/boot"])
def test_root_cannot_write_to_the_system(path: str) -> None:
    with opened_place(Person("root", 0)) as place:
        assert_ran(place.sh(f"test -w {path}"))
        assert place.sandboxed_sh(f"test -w {path}").returncode == 1


@pytest.mark.spec("4.6-write-outside-denied")
def test_read_only_means_the_project_too_but_not_temporary_files(place: Place) -> None:
    attempt = "touch new && rm new"
    assert_ran(place.sandboxed_sh(attempt))
    run = place.sandboxed_sh(attempt, policy=place.policy("read-only"))
    assert "Read-only file system" in run.stderr
    assert_ran(place.sandboxed_sh('echo x > "$TMPDIR/x" && cat /tmp/x', policy=place.policy("read-only")), "x")


@pytest.mark.spec("4.6-write-outside-denied")
def test_what_is_granted_beyond_the_profile_can_be_written_and_nothing_beside_it(place: Place) -> None:
    granted = place.outside / "granted"
    granted.mkdir()
    place.give(granted)
    policy = place.policy(writable=(str(granted),))
    assert_ran(place.sandboxed_sh(f"echo x > '{granted}/x'", policy=policy))
    assert (granted / "x").read_text() == "x\n"
    assert "Read-only" in place.sandboxed_sh(f"echo x > '{place.outside}/x'", policy=policy).stderr


def test_a_link_in_the_place_of_a_granted_directory_grants_nothing(place: Place) -> None:
    granted = place.root / "granted"
    granted.symlink_to(place.outside)
    policy = place.policy("read-only", writable=(str(granted),))
    assert "Read-only" in place.sandboxed_sh(f"echo x > '{granted}/file'", policy=policy).stderr
    assert (place.outside / "file").read_text() == SECRET


@pytest.mark.spec("4.6-secrets-hidden")
def test_the_home_is_hidden_but_for_its_tools(place: Place) -> None:
    for name in (".ssh/id_ed25519", ".aws/credentials", ".netrc", ".cargo/credentials.toml", ".config/gh/hosts.yml"):
        assert_denied(place, f"cat '{place.home}/{name}'")
        assert_denied(place, f"cat '/proc/self/root{place.home}/{name}'")
    assert_ran(place.sandboxed("tool"), "the tool")
    assert_ran(place.sandboxed_sh("git config user.name"), "Somebody")
    assert_denied(place, "echo x >> ~/.local/bin/tool")
    # What it writes there is its own, and goes with it.
    assert_ran(place.sandboxed_sh("mkdir -p ~/.cache/pip ~/.ssh && echo x > ~/.cache/pip/x && cat ~/.cache/pip/x"), "x")
    assert not (place.home / ".cache").exists()


@pytest.mark.spec("4.6-secrets-hidden")
def test_a_project_in_the_home_shows_nothing_else_of_it_and_the_home_as_project_no_secrets(place: Place) -> None:
    project = place.home / "project"
    project.mkdir()
    (project / "file").write_text("mine")
    place.give(project)
    policy = place.policy(root=str(project))
    inside = place.sandboxed_sh("cat file; echo; ls -A ..; cat ~/.ssh/id_ed25519", policy=policy, cwd=project)
    assert SECRET not in inside.stdout
    assert inside.stdout.split() == ["mine", ".gitconfig", ".local", "project"]
    policy = place.policy(root=str(place.home))
    inside = place.sandboxed_sh("cat project/file .ssh/* .aws/* .netrc .config/gh/*", policy=policy, cwd=place.home)
    assert inside.stdout == "mine"
    assert inside.stderr.count("Permission denied") == 4


@pytest.mark.spec("4.6-secrets-hidden")
def test_what_is_the_daemons_cannot_be_read_in_any_way(place: Place) -> None:
    database, token, own = place.state / "plurnk.db", place.state / "run" / "token", place.root / "hidden"
    own.write_text(SECRET)
    own.chmod(0o600)
    place.give(own)
    (place.root / "link").symlink_to(database)
    for attempt in (
        f"cat '{database}'",
        f"cat '{token}'",
        "cat link",
        f"cat '/proc/self/root{database}'",
        f"cat '/proc/self/cwd/../state/{database.name}'",
        f"ls '{place.state}/run'",
        f"chmod 700 '{place.state}' && cat '{token}'",
    ):
        assert_denied(place, attempt)
    assert_ran(place.sh("cat hidden"), SECRET)
    policy = place.policy("workspace", hidden=(str(own),))
    for attempt in ("cat hidden", "chmod 644 hidden; cat hidden", "mv hidden away", "rm -f hidden", "ln hidden other"):
        run = place.sandboxed_sh(attempt, policy=policy)
        assert run.returncode != 0
        assert SECRET not in run.stdout
    assert own.read_text() == SECRET


@pytest.mark.spec("4.6-secrets-hidden")
def test_a_root_within_what_is_hidden_is_seen_alone(place: Place) -> None:
    root, tmp = place.state / "sessions" / "1", place.state / "tmp" / "1"
    for path in (root, tmp, place.state / "sessions" / "2"):
        path.mkdir(parents=True)
    place.give(place.state)
    policy = place.policy(root=str(root), tmp=str(tmp))
    assert_ran(place.sandboxed_sh("echo x > x && echo y > /tmp/y", policy=policy, cwd=root))
    assert (root / "x").read_text() + (tmp / "y").read_text() == "x\ny\n"
    for path in (place.state / "plurnk.db", place.state / "run" / "token", tmp / "y"):
        assert place.sandboxed_sh(f"cat '{path}'", policy=policy, cwd=root).returncode == 1
    assert place.sandboxed_sh("ls ../2 2>&1", policy=policy, cwd=root).returncode != 0


def test_nothing_is_left_behind_of_a_command(place: Place) -> None:
    assert_ran(place.sh("git init -q . && rm -rf .git/hooks/*"))
    before, inside = place.names(), sorted(place.root.rglob("*"))
    assert_ran(place.sandboxed("/bin/sh", script=b"touch ~/x /tmp/x /var/tmp/x /run/x /dev/shm/x"))
    assert_ran(place.sandboxed("/bin/sh", policy=place.policy("off"), script=b"true"))
    assert place.names() == before
    assert sorted(place.root.rglob("*")) == inside


# Processes and the kernel


@contextmanager
def _bystander(place: Place) -> Iterator[int]:
    """A process of the same person, outside."""
    with subprocess.Popen(
        [python(), "-c", _BYSTANDER],
        env={**place.env, "PROVIDER_API_KEY": SECRET},
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        **place.person.credentials,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield process.pid
        assert process.poll() is None
        process.kill()


@pytest.mark.spec("4.6-secrets-hidden")
def test_processes_outside_are_out_of_reach(place: Place) -> None:
    with _bystander(place) as pid:
        assert_denied(place, f"grep -a {SECRET} /proc/{pid}/environ")
        assert_denied(place, f"cat '/proc/{pid}/root{place.state}/plurnk.db'")
        assert_denied(place, f"kill -0 {pid}")
        attach = f"{python()} -c '{_ATTACH}' {pid}"
        assert_ran(place.sh(attach))
        assert place.sandboxed_sh(attach).returncode == 1
        assert_ran(place.sandboxed_sh("kill -KILL -1; true"))
        assert not processes.is_ended(pid)


@pytest.mark.spec("4.6-secrets-hidden")
def test_the_first_process_is_no_way_out(place: Place) -> None:
    own = "/proc/self/root"
    for way in ("/proc/1/root", "/proc/1/cwd", f"{own}/proc/1/root", f"{own}{own}", "/proc/self/cwd/../../../../.."):
        run = place.sandboxed_sh(f"cat '{way}{place.state}/plurnk.db' '{way}{place.home}/.netrc' 2>&1")
        assert run.returncode != 0
        assert SECRET not in run.stdout
        run = place.sandboxed_sh(f"echo x > '{way}{place.outside}/file'")
        assert run.returncode != 0
    assert (place.outside / "file").read_text() == SECRET


def test_no_namespace_and_no_mount_can_be_made(place: Place) -> None:
    mount = "-m" if place.person.uid == 0 else "-rm"
    assert_denied(place, "unshare -r true")
    assert_denied(place, "unshare -rn true")
    assert_denied(place, f"unshare {mount} mount -t tmpfs none '{place.root}'")
    for call in (f"mount -t tmpfs none '{place.root}'", "umount /tmp", f"umount -l '{place.home}'", "chroot / true"):
        assert place.sandboxed_sh(call).returncode != 0


def test_nobody_types_into_the_terminal_it_came_from(place: Place) -> None:
    if Path("/proc/sys/dev/tty/legacy_tiocsti").read_text("ascii").strip() != "1" and place.person.uid != 0:
        pytest.skip("needs: a kernel that lets a user type into a terminal (dev.tty.legacy_tiocsti)")
    attempt = (python(), "-c", _PUSH_INPUT)
    with ExitStack() as closing:
        master, slave = pty.openpty()
        closing.callback(os.close, master)
        closing.callback(os.close, slave)
        os.write(master, b"a line\n")
        assert_ran(place.plain("setsid", "-c", *attempt, stdin=slave))
        os.write(master, b"for the gate\nanother\n")
        assert place.sandboxed(*attempt, stdin=slave).returncode == 2


# Network


@contextmanager
def _listener(family: str, address: str = "") -> Iterator[str]:
    """What listens outside, and the address to reach it at."""
    kind = socket.SOCK_DGRAM if family == "udp" else socket.SOCK_STREAM
    with socket.socket(socket.AF_UNIX if family == "unix" else socket.AF_INET, kind) as listening:
        if family == "unix":
            listening.bind("\0" + address[1:] if address.startswith("@") else address)
            if not address.startswith("@"):
                Path(address).chmod(0o777)
        else:
            listening.bind(("127.0.0.1", 0))
            address = str(listening.getsockname()[1])
        if family == "udp":
            thread = threading.Thread(target=_echo, args=(listening,))
            thread.start()
            try:
                yield address
            finally:
                listening.sendto(b"end", listening.getsockname())
                thread.join()
        else:
            listening.listen(16)
            yield address


def _echo(listening: socket.socket) -> None:
    while (message := listening.recvfrom(9))[0] != b"end":
        listening.sendto(b"!", message[1])


@pytest.mark.spec("4.6-no-network")
@pytest.mark.parametrize("family", ["tcp", "udp", "abstract", "path", "temporary"])
def test_nothing_outside_can_be_reached(place: Place, family: str) -> None:
    with ExitStack() as closing:
        if family in {"tcp", "udp"}:
            address = closing.enter_context(_listener(family))
        elif family == "abstract":
            address = closing.enter_context(_listener("unix", f"@{place.base.name}"))
            family = "unix"
        else:
            folder = place.state if family == "path" else Path("/tmp")
            address = closing.enter_context(_listener("unix", str(folder / f"{place.base.name}.sock")))
            closing.callback(Path(address).unlink)
            family = "unix"
        attempt = f"{python()} -c '{_CONNECT}' {family} '{address}'"
        assert_denied(place, attempt)
        if family in {"tcp", "udp"}:
            assert_ran(place.sandboxed_sh(attempt, policy=place.policy("workspace-net")))
            assert_ran(place.sandboxed_sh(attempt, policy=place.policy(network=True)))


@pytest.mark.spec("4.6-no-network")
def test_its_own_loopback_is_all_there_is(place: Place) -> None:
    run = place.sandboxed_sh("cat /proc/net/dev | tail -n +3 | cut -d: -f1")
    assert run.stdout.split() == ["lo"]


# Environment


@pytest.mark.spec("4.6-env-allow-list")
def test_the_environment_is_what_is_allowed_and_nothing_more(place: Place) -> None:
    evil = place.root / "evil.sh"
    evil.write_text("echo sourced")
    names = ("BASH_ENV", "ENV", "LD_PRELOAD", "LD_LIBRARY_PATH", "PYTHONSTARTUP", "PYTHONPATH", "NODE_OPTIONS")
    place.env.update({"PROVIDER_API_KEY": SECRET, "GIT_SSH_COMMAND": SECRET, "AWS_SECRET_ACCESS_KEY": SECRET})
    place.env.update({"LC_ALL": "C.UTF-8", "TERM": "dumb", **dict.fromkeys(names, str(evil))})
    assert "sourced" in place.plain("bash", "-c", "true").stdout
    assert SECRET in place.sh("env").stdout
    run = place.sandboxed("env")
    assert dict(line.split("=", 1) for line in run.stdout.splitlines()) == {
        "HOME": str(place.home),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PATH": place.env["PATH"],
        "PWD": str(place.root),
        "TERM": "dumb",
        "TMPDIR": "/tmp",
    }
    assert_ran(place.sandboxed("bash", "-c", "echo not"), "not")
    everywhere = place.sandboxed_sh("cat /proc/[0-9]*/environ | tr '\\0' '\\n' | cut -d= -f1 | sort -u")
    assert set(everywhere.stdout.split()) == {"HOME", "LANG", "LC_ALL", "PATH", "PWD", "TERM", "TMPDIR"}


# Without a sandbox


def test_off_is_a_tree_and_nothing_else(place: Place) -> None:
    policy = place.policy("off")
    with _bystander(place) as pid:
        assert_ran(place.sandboxed_sh(f"echo changed > '{place.outside}/file'", policy=policy))
        assert_ran(place.sandboxed_sh(f"cat '{place.state}/plurnk.db'", policy=policy), SECRET)
        assert place.sandboxed_sh(f"kill -0 {pid}", policy=policy).returncode != 0
    with _listener("tcp") as address:
        attempt = f"{python()} -c '{_CONNECT}' tcp {address}"
        assert_ran(place.sandboxed_sh(attempt, policy=policy))
    assert_ran(place.sandboxed("/bin/sh", policy=policy, script=b'echo "$0"'), "/proc/driver/script")
