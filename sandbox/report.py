"""What each profile really enforces here, to be read."""

from __future__ import annotations

from collections.abc import Iterator

from sandbox.host import GAPS, PROFILES, Enforcement, Host


def report(host: Host) -> list[str]:
    """As lines of text: the machine, then each profile."""
    return [*_machine(host), *(line for profile in PROFILES for line in _profile(host.enforcement(profile)))]


def _machine(host: Host) -> Iterator[str]:
    version = ".".join(map(str, host.bubblewrap_version))
    bubblewrap = f"{version}, {host.bubblewrap}" if host.bubblewrap else host.bubblewrap_reason
    yield f"kernel      {host.kernel} {host.machine}, {'as root' if host.is_root else 'as an ordinary user'}"
    yield f"bubblewrap  {bubblewrap}"
    yield f"landlock    {f'version {host.landlock_abi}' if host.landlock_abi else host.landlock_reason}"
    yield f"seccomp     {'works' if host.has_seccomp else host.seccomp_reason}"


def _profile(enforcement: Enforcement) -> Iterator[str]:
    yield ""
    yield f"{enforcement.profile}: {enforcement.backend}"
    yield f"  tree        {enforcement.tree}"
    yield f"  memory      {enforcement.memory}"
    yield f"  processes   {enforcement.processes}"
    yield f"  network     {'yes' if enforcement.has_network else 'no'}"
    for gap in enforcement.missing:
        yield f"  MISSING     {gap.name}: that {GAPS[gap.name]} ({gap.reason})"
    for note in enforcement.notes:
        yield f"  note        {note}"
