"""The arguments of bubblewrap that hold a command to a policy. Pure: see ``surroundings`` for what is looked up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias

from sandbox.mounts import Meant
from sandbox.paths import contains, is_beneath, is_within, parents_between
from sandbox.policy import Command, Policy, Profile
from sandbox.process import Fds
from sandbox.surroundings import Hidden, Surroundings

SCRIPT: Final = "/dev/script"
"""Where a command's script is: /dev is an empty one of its own, so nothing of the machine is in the way."""

SCRIPT_WHEN_OFF: Final = "/proc/driver/script"
"""Without a sandbox every directory but /proc is the machine's own, where a mount point would be left behind."""

VERSION: Final = (0, 8)
"""From this version on bubblewrap can switch user namespaces off. The oldest that will do at all is 0.5."""

_TEMPORARY: Final = ("/tmp", "/var/tmp")  # noqa: S108 – covered, not written to

_Seen: TypeAlias = Literal["read-only", "writable", "covered"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layer:
    """One mount. ``rank`` orders those of one path: what is covered, tools, grants, ways, git's files, what is hidden.

    ``seen`` is what the path shows then; ``covered``: nothing of the machine.
    """

    path: str
    rank: int
    seen: _Seen
    arguments: tuple[str, ...]


def script_path(profile: Profile) -> str:
    """Where a command finds its script."""
    return SCRIPT_WHEN_OFF if profile == "off" else SCRIPT


def arguments(
    policy: Policy, command: Command, surroundings: Surroundings, *, fds: Fds, version: tuple[int, ...] = VERSION
) -> list[str]:
    """All that bubblewrap of this version is told before the command itself.

    The environment is ``command.env``, with TMPDIR, and PWD, which bubblewrap sets. Whoever starts this passes an
    empty environment to bubblewrap itself: a command can read it as that of its process 1.

    The order of mounts:

    1. All of the machine, read-only (writable when the root is ``/``).
    2. /dev: new, with the harmless devices, an empty /dev/shm and terminals of its own.
    3. /proc: new, of the PID namespace; read-only for root, who could else write the settings of the kernel.
    4. From the root of the tree to its leaves, so that what is said of the deeper directory holds:

       a. ``covered``: homes, /run and directories for temporary files are replaced by empty ones.
       b. ``tools``, read-only.
       c. The root and what else is writable; ``policy.tmp`` in the place of /tmp, or of /var/tmp if the root
          or something else is to be seen beneath /tmp, or under its own name if both are in use.
       d. The directories on the way from what is writable to any of the others, each onto itself: renamed with
          what is in it, a name of its own would be all that the next command had to know.
       e. What of git repositories is held.
       f. What is hidden: directories seem empty, files cannot be opened. Only the root may lie in a hidden
          directory, and nothing else is seen beneath it: not a tool, not a writable directory.

    5. The script, readable by the user alone; an empty line where there is none.

    A mount that would change nothing is left out. With the profile ``off`` there is a PID namespace with its own
    /proc, in which the script is, and nothing else.
    """
    return [
        "--die-with-parent",
        "--unshare-pid",
        *(_off(surroundings) if policy.profile == "off" else _restricted(policy, surroundings, fds, version)),
        "--json-status-fd",
        str(fds.status),
        "--block-fd",
        str(fds.block),
        "--perms",
        "0400",
        "--file",
        str(fds.script),
        script_path(policy.profile),
        "--chdir",
        command.cwd,
        "--clearenv",
        *_environment(command, temporary_directory(policy, surroundings)),
    ]


def meant(policy: Policy, surroundings: Surroundings) -> tuple[Meant, ...]:
    """What the mounts have to be wherever a command that lives could have exchanged what was looked at.

    That is what is granted, what of repositories is held, and all that is in what is granted.
    """
    if policy.profile == "off":
        return ()
    granted = (policy.root, *policy.writable)
    return tuple(
        Meant(path=layer.path, source=None if "--tmpfs" in layer.arguments else layer.arguments[1])
        for layer in _layers(policy, surroundings)
        if (layer.rank in {_GRANTED, _HELD} or is_within(layer.path, granted)) and "--dir" not in layer.arguments
    )


def temporary_directory(policy: Policy, surroundings: Surroundings) -> str:
    """Where the command has its temporary files, as it sees it: its TMPDIR."""
    if policy.profile == "off":
        return policy.tmp or _TEMPORARY[0]
    candidates = tuple(_candidates(policy, surroundings))
    occupied = [layer.path for layer in candidates if 0 < layer.rank < _HIDDEN]
    if surroundings.home is not None:
        occupied.append(surroundings.home)
    free = (
        place
        for place in _TEMPORARY
        if place in surroundings.covered and not any(contains(place, path) for path in occupied)
    )
    if policy.tmp is None or policy.tmp in surroundings.missing:
        return _TEMPORARY[0]
    return next(free, policy.tmp)


def _off(surroundings: Surroundings) -> Iterator[str]:
    if not surroundings.can_mount:
        yield "--unshare-user"
    yield from ("--dev-bind", "/", "/", "--proc", "/proc", "--tmpfs", SCRIPT_WHEN_OFF.rpartition("/")[0])


def _restricted(policy: Policy, surroundings: Surroundings, fds: Fds, version: tuple[int, ...]) -> Iterator[str]:
    yield from ("--unshare-ipc", "--unshare-uts", "--unshare-cgroup-try")
    if not policy.has_network:
        yield "--unshare-net"
    yield from _user_namespace(surroundings, fds, version)
    yield from ("--new-session", "--cap-drop", "ALL")
    if fds.seccomp is not None:
        yield from ("--seccomp", str(fds.seccomp))
    yield from ("--bind" if _all_is_writable(policy) else "--ro-bind", "/", "/")
    yield from ("--dev", "/dev", "--proc", "/proc")
    if surroundings.is_root:
        yield from ("--remount-ro", "/proc")
    for layer in _layers(policy, surroundings):
        yield from layer.arguments


def _user_namespace(surroundings: Surroundings, fds: Fds, version: tuple[int, ...]) -> Iterator[str]:
    """One where it is needed to mount, or to keep the command from making one of its own without a filter."""
    can_disable = version >= VERSION
    if not surroundings.can_mount or (fds.seccomp is None and can_disable):
        yield "--unshare-user"
        if can_disable:
            yield "--disable-userns"


def _environment(command: Command, temporary: str) -> Iterator[str]:
    for name, value in sorted({**command.env, "TMPDIR": temporary}.items()):
        yield from ("--setenv", name, value)


def _all_is_writable(policy: Policy) -> bool:
    return policy.root == "/" and policy.root_is_writable


_COVERED: Final = 0
_TOOL: Final = 1
_GRANTED: Final = 2
_WAY: Final = 3
_HELD: Final = 4
_HIDDEN: Final = 5
_ALIAS: Final = 6


def _layers(policy: Policy, surroundings: Surroundings) -> Iterator[_Layer]:
    """The mounts beyond the first three, parents first, without those that would change nothing."""
    temporary = temporary_directory(policy, surroundings)
    candidates = [layer for layer in _candidates(policy, surroundings) if layer.path != temporary or layer.rank]
    if policy.tmp is not None and policy.tmp not in surroundings.missing:
        candidates.append(_temporary(policy.tmp, temporary))
        candidates += _aliases([(policy.tmp, temporary)], surroundings.hidden)
    else:
        candidates += [layer for layer in _covered(surroundings, policy) if layer.path == temporary]
    candidates += list(_ways(candidates, policy))
    base: _Seen = "writable" if _all_is_writable(policy) else "read-only"
    kept: dict[str, _Seen] = {}
    for layer in sorted(candidates, key=lambda each: (each.path.split("/"), each.rank)):
        above = [path for path in kept if contains(path, layer.path)]
        now = kept[max(above, key=len)] if above else base
        if _changes(layer, now):
            kept[layer.path] = layer.seen
            yield layer
        elif layer.path == surroundings.home and now == "covered":
            yield _Layer(
                path=layer.path, rank=_COVERED, seen="covered", arguments=("--perms", "0700", "--dir", layer.path)
            )


def _changes(layer: _Layer, now: _Seen) -> bool:
    """Whether a mount is needed where what its path shows ``now`` is that.

    What is held is bound though it is writable already, as a mount point is what cannot be renamed. What is hidden
    has other names only where something is bound. A way is held only where it could be renamed.
    """
    if layer.rank == _WAY:
        return now == "writable"
    if layer.rank == _HELD:
        return layer.seen != now or now == "writable"
    return layer.seen != now or layer.rank == _ALIAS


def _ways(layers: Sequence[_Layer], policy: Policy) -> Iterator[_Layer]:
    """The directories between what is writable and what is mounted in it."""
    writable = (policy.root, *policy.writable) if policy.root_is_writable else policy.writable
    found = (way for layer in layers for top in writable for way in parents_between(top, layer.path))
    held = {layer.path for layer in layers if layer.rank == _HELD}
    for path in dict.fromkeys(found):
        if path not in held:
            yield _Layer(path=path, rank=_WAY, seen="writable", arguments=("--bind", path, path))


def _candidates(policy: Policy, surroundings: Surroundings) -> Iterator[_Layer]:
    hidden = tuple(each.path for each in surroundings.hidden)
    tools = [(tool.source, tool.path) for tool in surroundings.tools if not _is_hidden(tool.source, hidden, policy)]
    yield from _covered(surroundings, policy)
    for source, path in tools:
        yield _Layer(path=path, rank=_TOOL, seen="read-only", arguments=("--ro-bind", source, path))
    yield from _granted(policy, surroundings, hidden)
    yield from _held(policy, surroundings, hidden)
    for each in surroundings.hidden:
        yield _hide(each, perms=_WAY_THROUGH if is_beneath(policy.root, each.path) else _SHUT)
    yield from _aliases(tools, surroundings.hidden)


def _is_hidden(path: str, hidden: Iterable[str], policy: Policy) -> bool:
    """Whether ``path`` is to stay hidden: the root alone may lie in a hidden directory, with all that is in it."""
    return any(
        contains(each, path) and not (is_beneath(policy.root, each) and contains(policy.root, path)) for each in hidden
    )


def _covered(surroundings: Surroundings, policy: Policy) -> Iterator[_Layer]:
    for path in surroundings.covered:
        if path != policy.root:
            perms = "1777" if path in _TEMPORARY else "0700" if path == surroundings.home else "0755"
            yield _Layer(path=path, rank=_COVERED, seen="covered", arguments=("--perms", perms, "--tmpfs", path))


def _granted(policy: Policy, surroundings: Surroundings, hidden: tuple[str, ...]) -> Iterator[_Layer]:
    writable = (policy.root, *policy.writable) if policy.root_is_writable else policy.writable
    for path in dict.fromkeys((policy.root, *policy.writable)):
        if path != "/" and path not in surroundings.missing and not _is_hidden(path, hidden, policy):
            if path in writable:
                yield _Layer(path=path, rank=_GRANTED, seen="writable", arguments=("--bind", path, path))
            else:
                yield _Layer(path=path, rank=_GRANTED, seen="read-only", arguments=("--ro-bind", path, path))


def _held(policy: Policy, surroundings: Surroundings, hidden: tuple[str, ...]) -> Iterator[_Layer]:
    """Git's files. Where nothing is writable they are only shown."""
    for each in surroundings.repository.held:
        path = each.path
        if _is_hidden(path, hidden, policy):
            continue
        if each.access == "empty":
            if policy.root_is_writable or is_within(path, policy.writable):
                yield _Layer(path=path, rank=_HELD, seen="covered", arguments=("--perms", "0555", "--tmpfs", path))
        elif each.access == "writable" and (policy.root_is_writable or is_within(path, policy.writable)):
            yield _Layer(path=path, rank=_HELD, seen="writable", arguments=("--bind", path, path))
        else:
            yield _Layer(path=path, rank=_HELD, seen="read-only", arguments=("--ro-bind", path, path))


def _temporary(tmp: str, place: str) -> _Layer:
    rank = _GRANTED if tmp == place else _COVERED
    return _Layer(path=place, rank=rank, seen="covered", arguments=("--bind", tmp, place))


def _aliases(bound: Iterable[tuple[str, str]], hidden: Iterable[Hidden]) -> Iterator[_Layer]:
    """What is hidden in a directory is hidden under its other name, too."""
    for source, path in bound:
        for each in hidden:
            if source != path and is_beneath(each.path, source):
                yield replace(_hide(Hidden(path=path + each.path[len(source) :], kind=each.kind)), rank=_ALIAS)


_SHUT: Final = "0000"
_WAY_THROUGH: Final = "0111"
"""No listing, but a way through to the root."""


def _hide(hidden: Hidden, *, perms: str = _SHUT) -> _Layer:
    """A file becomes a device that cannot be opened, as the file system it is on allows none: EACCES, for root, too."""
    if hidden.kind == "directory":
        arguments: tuple[str, ...] = ("--perms", perms, "--tmpfs", hidden.path)
    else:
        arguments = ("--ro-bind", "/dev/null", hidden.path)
    return _Layer(path=hidden.path, rank=_HIDDEN, seen="covered", arguments=arguments)
