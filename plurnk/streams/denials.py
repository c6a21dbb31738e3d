"""What a command's stderr says of the sandbox that it ran in: why it failed, and how to ask for more (SPEC 4.6)."""

from __future__ import annotations

import re
from typing import Final

_ASK: Final = "ask for it before the command is run again: whoever accepts a command can grant"

_FILE_SIGNS: Final = ("Read-only file system", "Permission denied", "EROFS", "EACCES")
_NETWORK_SIGNS: Final = (
    "Network is unreachable",
    "Could not resolve host",
    "Temporary failure in name resolution",
    "ENETUNREACH",
    "EAI_AGAIN",
)
_PATH: Final = re.compile(r"(?<![\w./:])/[^\s'\"`’:;,)\]]+")


def explain(stderr: bytes, *, has_network: bool) -> str | None:
    """The newest line that names a denial, as a sentence; None: none does.

    A sandbox with a network of the machine's denies no connection, so none is put down to it.
    """
    for line in reversed(stderr.decode("utf-8", "replace").splitlines()):
        if not has_network and any(sign in line for sign in _NETWORK_SIGNS):
            return f"The sandbox has no network; {_ASK} the network"
        if any(sign in line for sign in _FILE_SIGNS):
            paths = _PATH.findall(line)
            named = f" to {paths[-1]}" if paths else ""
            return f"The sandbox may have denied access{named}; {_ASK} writable directories"
    return None
