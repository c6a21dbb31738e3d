"""What must work in the profile ``workspace``: for root and for others, in a project whose name is not ASCII."""

from __future__ import annotations

import base64
import hashlib
import importlib
import shutil
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from tests.support.people import python
from tests.support.sandbox import Person, Place, assert_ran, missing_programs, opened_place, people

_NEEDED: Final = ("gcc", "git", "node", "npm", "ps", "strace")

pytestmark = [
    pytest.mark.spec("4.6-tools-work"),
    pytest.mark.skipif(bool(missing_programs(*_NEEDED)), reason=f"needs: bubblewrap, {', '.join(_NEEDED)}"),
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A shell script (``$PY`` is a Python, ``$WITH_PYTEST`` where it finds pytest) and the last line it prints.

    ``before`` runs without a sandbox.
    """

    script: str
    says: str
    before: str = "true"


_COMMIT: Final = "git init -q . && echo one > a && git add a && git commit -qm first"

_MULTIPROCESSING: Final = """
import multiprocessing as mp

def square(n):
    return n * n

def put(queue):
    queue.put("from a child")

if __name__ == "__main__":
    with mp.Pool(2) as pool:
        assert pool.map(square, [1, 2, 3]) == [1, 4, 9]
    queue = mp.Queue()
    child = mp.Process(target=put, args=(queue,))
    child.start()
    assert queue.get(timeout=30) == "from a child"
    child.join()
    print(mp.Lock() and "shared")
"""

_SHARED: Final = """
from multiprocessing.shared_memory import SharedMemory
one = SharedMemory(create=True, size=9)
one.buf[0] = 7
other = SharedMemory(one.name)
print(other.buf[0])
other.close()
one.close()
one.unlink()
"""

_UNIX_SOCKET: Final = """
import socket, threading
for address in ("a.sock", "/tmp/b.sock", "\\0abstract"):
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen()
    client = socket.socket(socket.AF_UNIX)
    client.connect(address)
    server.accept()[0].send(b"hello")
    assert client.recv(9) == b"hello"
print("spoken")
"""

_SERVER: Final = """
import http.server, threading, urllib.request
server = http.server.HTTPServer(("127.0.0.1", 0), http.server.SimpleHTTPRequestHandler)
threading.Thread(target=server.serve_forever, daemon=True).start()
for name in ("127.0.0.1", "localhost"):
    assert b"served" in urllib.request.urlopen(f"http://{name}:{server.server_port}/page", timeout=30).read()
print("served")
"""

_DATABASE: Final = """
import sqlite3
one, two = (sqlite3.connect("x.db", isolation_level=None) for _ in range(2))
assert one.execute("pragma journal_mode = wal").fetchone() == ("wal",)
one.execute("create table t (n)")
one.execute("begin immediate")
one.execute("insert into t values (7)")
assert two.execute("select count(*) from t").fetchone() == (0,)
one.execute("commit")
print(two.execute("select n from t").fetchone()[0])
"""

_LOCKS: Final = """
import fcntl, os
held = open("lock", "w")
fcntl.lockf(held, fcntl.LOCK_EX)
if os.fork() == 0:
    try:
        fcntl.lockf(open("lock", "w"), fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os._exit(7)
    os._exit(0)
print(os.waitstatus_to_exitcode(os.wait()[1]))
"""

_TERMINAL: Final = """
import os, pty
child, master = pty.fork()
if child == 0:
    os.execvp("stty", ["stty", "size"])
print(os.read(master, 99).decode().strip())
os.wait()
"""

_PROBES: Final = {
    "git-init": Probe(script="git init -q . && git add . && git commit -qm first && git log --format=%s", says="first"),
    "git-init-elsewhere": Probe(
        script="git init -q /tmp/r && git -C /tmp/r config a.b c && git -C /tmp/r config a.b", says="c"
    ),
    "git-commit": Probe(
        before=_COMMIT, script="echo two > a && git commit -qam second && git log --format=%an -1", says="Somebody"
    ),
    "git-branch-merge-stash": Probe(
        before=_COMMIT,
        script="git switch -qc side && date > b && git add b && git commit -qm b && git switch -q -"
        " && git merge -q side && date >> b && git stash -q && git stash pop -q && git gc -q && git branch | wc -l",
        says="2",
    ),
    "git-worktree": Probe(
        before=_COMMIT,
        script="git worktree add -q wt && cd wt && date > b && git add b && git commit -qm b"
        " && git worktree list | wc -l",
        says="2",
    ),
    "git-clone": Probe(before=_COMMIT, script="git clone -q . /tmp/copy && cat /tmp/copy/a", says="one"),
    "pytest": Probe(
        script='printf \'def test_a(tmp_path): (tmp_path / "x").write_text("")\\n\' > test_a.py'
        ' && PYTHONPATH="$WITH_PYTEST" "$PY" -m pytest -q | tail -1 | cut -d" " -f1,2',
        says="1 passed",
    ),
    "multiprocessing": Probe(script=f"cat > m.py <<'END'\n{_MULTIPROCESSING}\nEND\n\"$PY\" m.py", says="shared"),
    "shared-memory": Probe(script=f"echo x > /dev/shm/x && \"$PY\" -c '{_SHARED}'", says="7"),
    "venv": Probe(
        script='"$PY" -m venv --without-pip v && v/bin/python -c "import sys; print(sys.prefix != sys.base_prefix)"',
        says="True",
    ),
    "pip": Probe(
        script='"$PY" -m venv v && v/bin/pip install -q --no-index -f . brick 2>&1'
        " && v/bin/pip uninstall -qy brick && mkdir -p index/brick && mv brick-*.whl index/brick"
        ' && { "$PY" -m http.server -d index 8123 >/dev/null 2>&1 & }'
        " ; v/bin/pip install -q -i http://127.0.0.1:8123/ --retries 9 brick 2>&1"
        ' && v/bin/python -c "import brick; print(brick.COLOUR)"; kill $!',
        says="red",
    ),
    "npm": Probe(
        script="""echo '{"name": "wall"}' > package.json"""
        """ && npm install --offline --no-audit --no-fund ./brick >/dev/null"""
        """ && node -e 'console.log(require("brick"))'""",
        says="red",
    ),
    "node": Probe(
        script="""node -e 'new (require("worker_threads").Worker)("console.log(6 * 7)", {eval: true})'""", says="42"
    ),
    "gcc": Probe(
        script="printf '#include <stdio.h>\\nint main(void) { puts(\"compiled\"); }\\n' > a.c"
        " && gcc -O2 -pthread a.c -o a && ./a",
        says="compiled",
    ),
    "unix-socket": Probe(script=f"\"$PY\" -c '{_UNIX_SOCKET}'", says="spoken"),
    "own-loopback": Probe(script=f"echo served > page; \"$PY\" -c '{_SERVER}' 2>/dev/null", says="served"),
    "strace": Probe(
        script="strace -f -e trace=execve -o trace sh -c 'true; /bin/echo' && grep -c execve trace", says="2"
    ),
    "temporary-files": Probe(
        script='f=$(mktemp) && echo x > "$f" && d=$(mktemp -d) && mv "$f" "$d" && touch /var/tmp/x'
        ' && "$PY" -c "import tempfile; print(tempfile.gettempdir())"',
        says="/tmp",
    ),
    "caches": Probe(
        script="mkdir -p ~/.cache/pip ~/.npm/_cacache ~/.config/x ~/.local/share/x ~/.local/state"
        " && touch ~/.cache/pip/x && npm config get cache",
        says="{home}/.npm",
    ),
    "ps": Probe(
        script="sleep 60 & until ps -e -o comm= | grep -q sleep; do :; done; ps -e -o comm= | grep -c sleep; kill $!",
        says="1",
    ),
    "names-that-are-not-ascii": Probe(script="mkdir 'ü ß' && echo é > 'ü ß/日本' && cat \"$PWD/ü ß/日本\"", says="é"),
    "signals": Probe(
        script="trap 'echo got it' USR1; kill -USR1 $$; sleep 60 & kill -TERM $!; wait $!; echo $?",
        says="143",
    ),
    "job-control": Probe(
        script="bash -c 'set -m; sleep 60 & kill -STOP %1; jobs; kill -CONT %1; kill %1; wait %1' 2>/dev/null"
        "; timeout 0.1 sleep 60; echo $?",
        says="124",
    ),
    "pipelines": Probe(
        script="seq 1000 | sort -rn | head -1 | (cat; true) | tee /dev/stderr | xargs echo", says="1000"
    ),
    "sqlite": Probe(script=f"\"$PY\" -c '{_DATABASE}'", says="7"),
    "locks": Probe(script=f"\"$PY\" -c '{_LOCKS}' && flock -n lock echo locked", says="locked"),
    "terminal": Probe(script=f"\"$PY\" -c '{_TERMINAL}'", says="0 0"),
    "devices": Probe(
        script="head -c 4 /dev/urandom | wc -c && : > /dev/null"
        " && (echo x > /dev/stderr; echo y > /dev/fd/1) 2>&1 | tail -1",
        says="y",
    ),
    "process-names": Probe(
        script="cat /proc/self/status /proc/cpuinfo /proc/meminfo >/dev/null && id -u", says="{uid}"
    ),
}


@pytest.fixture(params=people(), ids=lambda person: person.name)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    person: Person = request.param
    with opened_place(person) as opened:
        _make_wheel(opened.root)
        package = opened.root / "brick"
        package.mkdir()
        (package / "package.json").write_text('{"name": "brick", "version": "1.0.0", "main": "index.js"}')
        (package / "index.js").write_text('module.exports = "red";\n')
        opened.give(opened.root)
        yield opened


def _make_wheel(folder: Path) -> None:
    files = {
        "brick.py": 'COLOUR = "red"\n',
        "brick-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: brick\nVersion: 1.0\n",
        "brick-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "brick-1.0.dist-info/RECORD"
    lines = [f"{name},sha256={_digest(text)},{len(text)}" for name, text in files.items()]
    with zipfile.ZipFile(folder / "brick-1.0-py3-none-any.whl", "w") as wheel:
        for name, text in {**files, record: "\n".join((*lines, f"{record},,", ""))}.items():
            wheel.writestr(name, text)


def _digest(text: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).decode().rstrip("=")


def _give_pytest(place: Place) -> None:
    """Put pytest and what it needs into the project: where ours lies may be hidden in a sandbox."""
    for name in ("pytest", "_pytest", "pluggy", "iniconfig", "packaging", "pygments"):
        package = importlib.import_module(name)
        shutil.copytree(Path(str(package.__file__)).parent, place.root / "packages" / name)
    shutil.copy(Path(pytest.__file__).parents[1] / "py.py", place.root / "packages")
    place.give(place.root)


@pytest.mark.parametrize("name", _PROBES)
def test_it_works_in_a_workspace(place: Place, name: str) -> None:
    probe = _PROBES[name]
    assert_ran(place.sh(probe.before))
    if name == "pytest":
        _give_pytest(place)
    known = f"PY={python()}; WITH_PYTEST='{place.root}/packages'; "
    run = place.through_front(known + probe.script)
    assert_ran(run)
    assert run.stdout.splitlines()[-1:] == [probe.says.format(home=place.home, uid=place.person.uid)], run


@pytest.mark.parametrize(
    ("program", "script"),
    [
        ("/bin/sh", b'echo "$0" "$(stat -c %a "$0")"'),
        ("bash", b'echo "$0" "$(stat -c %a "$0")"'),
        (python(), b"import os, sys; print(sys.argv[0], oct(os.stat(sys.argv[0]).st_mode)[-3:])"),
        ("node", b"console.log(process.argv[1], (require('fs').statSync(process.argv[1]).mode & 0o777).toString(8))"),
    ],
    ids=["sh", "bash", "python", "node"],
)
def test_a_script_runs_from_a_file_that_is_its_own(place: Place, program: str, script: bytes) -> None:
    assert_ran(place.sandboxed(program, script=script), "/dev/script 400")
    assert_ran(place.sandboxed(program, script=script, policy=place.policy("off")), "/proc/driver/script 400")


def test_temporary_files_last_where_a_directory_for_them_is_given(place: Place) -> None:
    tmp = place.base / "tmp"
    tmp.mkdir()
    place.give(tmp)
    policy = place.policy(tmp=str(tmp))
    assert_ran(place.sandboxed_sh('echo x > "$TMPDIR/x"', policy=policy))
    assert_ran(place.sandboxed_sh("cat /tmp/x", policy=policy), "x")
    assert (tmp / "x").read_text() == "x\n"
