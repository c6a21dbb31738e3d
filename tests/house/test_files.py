"""What is committed fits any machine."""

from __future__ import annotations

import re
from pathlib import Path

from tests.support import source

# Folders of one machine and hosts of package indexes: a lock file has names, versions and hashes only.
FOREIGN = re.compile(
    rb"/work/|/root/|pypi\.org|files\.pythonhosted|file:///[a-z]+/pypi|--(extra-)?index-url|--find-links"
)


def test_no_machine_paths_and_no_package_hosts() -> None:
    found = [
        f"{path.relative_to(source.ROOT)}: {match.group().decode()}"
        for path in source.files()
        if path != Path(__file__) and (match := FOREIGN.search(path.read_bytes()))
    ]
    assert not found


def test_every_lock_has_hashes_for_everything() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        pins = re.split(r"\n(?=[a-z])", (source.ROOT / name).read_text("utf-8").strip())
        bare = [
            pin
            for pin in pins
            if not re.fullmatch(r"\S+==\S+ (; [^\\]+ )?(\\\n    --hash=sha256:[0-9a-f]{64} ?)+", pin)
        ]
        assert not bare, name
