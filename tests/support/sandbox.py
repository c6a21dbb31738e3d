"""A person's machine in miniature – a project, a home with secrets, a daemon's state – and commands in a sandbox.

Bubblewrap is started here without anything of how ``sandbox`` starts it: what is tested is the command line.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from sandbox import bubblewrap, environment, seccomp, surroundings
from sandbox.policy import Command, Policy, Profile
from sandbox.process import Fds
from sandbox.surroundings import Surroundings
from tests.support.people import ORDINARY_UID, python, python_path

SECRET: Final = "correct-horse-battery-staple"

END_S: Final = 60.0
"""For one command: npm and pip take seconds on a busy machine."""

_LOOK: Final = """
import json, pickle, sys
sys.path[:0] = sys.argv[1].split(':')
from sandbox.policy import Policy
from sandbox.surroundings import look
asked = json.load(sys.stdin)
policy = Policy(**{name: tuple(value) if isinstance(value, list) else value for name, value in asked["policy"].items()})
sys.stdout.buffer.write(pickle.dumps(look(policy, asked["env"])))
"""


@dataclass(frozen=True, slots=True)
class Person:
    """Who runs the daemon: root, or somebody else."""

    name: str
    uid: int

    @property
    def credentials(self) -> dict[str, Any]:
        """For ``subprocess``."""
        return {} if self.uid == os.getuid() else {"user": self.uid, "group": self.uid, "extra_groups": []}


def people() -> list[Person]:
    """Whoever runs the tests; and somebody ordinary if that is root."""
    return [Person("root", 0), Person("user", ORDINARY_UID)] if os.getuid() == 0 else [Person("user", os.getuid())]


def missing_programs(*names: str) -> list[str]:
    return [name for name in ("bwrap", *names) if shutil.which(name, path=_PATH) is None]


_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """``root`` is the project; ``state`` is the daemon's and hidden; ``outside`` is neither, and the person's own."""

    person: Person
    base: Path
    env: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def root(self) -> Path:
        return self.base / "projekt ü"

    @property
    def home(self) -> Path:
        return self.base / "home"

    @property
    def state(self) -> Path:
        return self.base / "state"

    @property
    def outside(self) -> Path:
        return self.base / "outside"

    def policy(self, profile: Profile = "workspace", **more: Any) -> Policy:
        given: dict[str, Any] = {"root": str(self.root), "hidden": (str(self.state),), **more}
        return Policy(profile=profile, **given)

    def plain(self, *argv: str, **more: Any) -> subprocess.CompletedProcess[str]:
        """Run a command as this person, without a sandbox."""
        keywords: dict[str, Any] = {"env": self.env, "cwd": self.root, **self.person.credentials, **more}
        return subprocess.run(argv, capture_output=True, text=True, check=False, timeout=END_S, **keywords)

    def sh(self, script: str) -> subprocess.CompletedProcess[str]:
        return self.plain("/bin/sh", "-c", script)

    def look(self, policy: Policy) -> Surroundings:
        """Look around as this person: in a process of theirs."""
        if self.person.uid == os.getuid():
            return surroundings.look(policy, self.command_env)
        asked = {name: value for name, value in asdict(policy).items() if name != "limits"}
        found = subprocess.run(
            [python(), "-c", _LOOK, python_path()],
            input=json.dumps({"policy": asked, "env": self.command_env}).encode(),
            capture_output=True,
            check=True,
            cwd="/",
            env={},
            **self.person.credentials,
        )
        around: Surroundings = pickle.loads(found.stdout)
        return around

    @property
    def command_env(self) -> Mapping[str, str]:
        return environment.allowed(self.env)

    def sandboxed(
        self, *argv: str, policy: Policy | None = None, script: bytes | None = None, **more: Any
    ) -> subprocess.CompletedProcess[str]:
        """Run the command in a sandbox as this person would. ``stdin`` in ``more``: a file that begins with a line."""
        policy = policy or self.policy()
        cwd = str(more.pop("cwd", self.root))
        command = Command(argv=argv, cwd=cwd, env=self.command_env, script=script)
        with opened_fds(seccomp.program(os.uname().machine), script) as fds:
            told = bubblewrap.arguments(policy, command, self.look(policy), fds=fds)
            behind = () if script is None else (bubblewrap.script_path(policy.profile),)
            line = [shutil.which("bwrap") or "bwrap", *told, "--", *argv, *behind]
            passed = [number for number in (fds.status, fds.script, fds.block, fds.seccomp) if number is not None]
            given: dict[str, Any] = {} if "stdin" in more else {"input": more.pop("input", "")}
            return self.plain(*line, pass_fds=passed, env={}, cwd="/", **given, **more)

    def through_front(self, script: str, *, profile: Profile = "workspace") -> subprocess.CompletedProcess[str]:
        """Run a shell script as ``python -m sandbox`` does for this person: with all limits."""
        front = [python(), "-m", "sandbox", "--profile", profile, "--root", str(self.root), "--hide", str(self.state)]
        # On a machine without control groups nothing counts root's processes.
        accepted = ["--accept", "processes"] if self.person.uid == 0 else []
        return self.plain(
            *front, *accepted, "--", "/bin/sh", "-c", script, env={**self.env, "PYTHONPATH": python_path()}
        )

    def sandboxed_sh(self, script: str, **more: Any) -> subprocess.CompletedProcess[str]:
        return self.sandboxed("/bin/sh", "-c", script, **more)

    def give(self, path: Path) -> None:
        """Make this and all in it the person's."""
        for each in (path, *path.rglob("*")):
            os.chown(each, self.person.uid, self.person.uid, follow_symlinks=False)

    def names(self) -> set[str]:
        """All there is but in the project."""
        return {str(path) for path in self.base.rglob("*") if not path.is_relative_to(self.root)}


@contextmanager
def opened_fds(program: bytes | None, script: bytes | None) -> Iterator[Fds]:
    """What bubblewrap reads from and writes to, told on its command line what to do; it does not wait."""
    opened: list[int] = []

    def memory(content: bytes | None) -> int:
        opened.append(os.memfd_create("sandbox"))
        os.write(opened[-1], content or b"")
        os.lseek(opened[-1], 0, os.SEEK_SET)
        return opened[-1]

    try:
        yield Fds(
            arguments=-1,
            status=memory(None),
            script=memory(script),
            block=memory(b"go"),
            seccomp=None if program is None else memory(program),
        )
    finally:
        for number in opened:
            os.close(number)


@contextmanager
def opened_place(person: Person) -> Iterator[Place]:
    """Where nothing is covered by itself, if possible: what is beneath /tmp is out of reach anyway."""
    folder = next((each for each in ("/var/lib", "/srv") if os.access(each, os.W_OK)), None)
    base = Path(tempfile.mkdtemp(prefix="sandbox-test-", dir=folder)).resolve()
    try:
        yield _furnished(person, base)
    finally:
        shutil.rmtree(base)


def _furnished(person: Person, base: Path) -> Place:
    place = Place(person=person, base=base)
    for path in (place.root, place.home, place.state, place.outside):
        path.mkdir()
    for name in (".ssh/id_ed25519", ".aws/credentials", ".netrc", ".cargo/credentials.toml", ".config/gh/hosts.yml"):
        path = place.home / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(SECRET)
    for path in (place.state / "plurnk.db", place.state / "run" / "token", place.outside / "file"):
        path.parent.mkdir(exist_ok=True)
        path.write_text(SECRET)
    (place.home / ".gitconfig").write_text("[user]\n\tname = Somebody\n\temail = somebody@example.org\n")
    tool = place.home / ".local" / "bin" / "tool"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\necho the tool\n")
    tool.chmod(0o755)
    place.env.update(HOME=str(place.home), PATH=f"{tool.parent}:{_PATH}", LANG="C.UTF-8")
    place.give(base)
    base.chmod(0o755)
    return place


def assert_ran(run: subprocess.CompletedProcess[str], output: str | None = None) -> None:
    """Assert that a command ended well; ``output``: and that it said this."""
    assert run.returncode == 0, (run.returncode, run.stdout, run.stderr)
    assert output is None or run.stdout.strip() == output, run.stdout


REASONS: Final = (
    "Read-only file system",
    "Permission denied",
    "Operation not permitted",
    "No such file or directory",
    "No such process",
    "Device or resource busy",
    "Connection refused",
)
"""What tools say of what a sandbox denies."""


def assert_denied(place: Place, attempt: str) -> None:
    """Assert that a shell script succeeds outside and fails inside for a reason that a sandbox gives."""
    proof = place.sh(attempt)
    assert proof.returncode == 0, ("it does not work without a sandbox either", proof.stderr)
    inside = place.sandboxed_sh(attempt)
    assert inside.returncode != 0, inside.stdout
    assert SECRET not in inside.stdout
    assert any(reason in inside.stderr for reason in REASONS), inside.stderr
