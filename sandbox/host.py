"""What this machine can enforce, and which backend a policy gets. Pure: ``probe`` looks, this judges."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

from sandbox.cgroups import Maker
from sandbox.landlock import SCOPES_ABI, TCP_ABI, TRUNCATE_ABI
from sandbox.limits import LimitsReport
from sandbox.policy import Policy, Profile
from sandbox.process import NotEnforced

Backend: TypeAlias = Literal["bubblewrap", "landlock", "none"]

PROFILES: Final[tuple[Profile, ...]] = get_args(Profile)

GAPS: Final = {
    "files": "what may be read and written is limited to what the profile names",
    "metadata": "modes, owners and times of files elsewhere cannot be changed",
    "git-hooks": "hooks and configuration of the repository cannot be changed",
    "network": "no connection leaves the sandbox",
    "loopback": "servers of the command work, on a loopback of its own",
    "unix-sockets": "Unix sockets in homes, /run and directories for temporary files cannot be reached",
    "pid-namespace": "no other process can be seen or touched",
    "signals": "no other process can be signalled",
    "ipc": "shared memory and message queues are its own",
    "user-namespaces": "no new namespaces, in which the kernel gives rights that are not the user's",
    "memory": "memory is limited",
    "processes": "the number of processes is limited",
}
"""The names of what a profile promises, and what each is. They are what an operator accepts the want of."""

HOW_TO_ACCEPT: Final = "--accept {names}"
"""As the front has it; whoever embeds the package says how it is done there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """What a profile promises and this machine does not keep; ``reason`` says why."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Enforcement:
    """How a profile is enforced here. ``tree``, ``memory`` and ``processes`` say by what; ``notes`` what to expect."""

    profile: Profile
    has_network: bool
    backend: Backend
    tree: str
    memory: str
    processes: str
    missing: tuple[Gap, ...]
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """What a look at this machine found.

    ``bubblewrap`` is its path, None when it does not work here, for ``bubblewrap_reason``. ``landlock_abi`` is 0 when
    there is none, for ``landlock_reason``. ``has_seccomp``: there is a filter for ``machine``, and the kernel takes it.
    """

    kernel: str
    machine: str
    is_root: bool
    bubblewrap: str | None
    bubblewrap_version: tuple[int, ...]
    bubblewrap_reason: str
    landlock_abi: int
    landlock_reason: str
    has_seccomp: bool
    seccomp_reason: str
    limits: LimitsReport
    maker: Maker | None = None

    def enforcement(self, profile: Profile, *, has_network: bool | None = None) -> Enforcement:
        """How ``profile`` is enforced here. ``has_network``: granted beyond the profile, None is no."""
        network = profile in {"workspace-net", "off"} if has_network is None else has_network
        backend = self._backend(profile)
        gaps = () if profile == "off" else self._gaps(backend, profile, has_network=network)  # it promises nothing
        return Enforcement(
            profile=profile,
            has_network=network,
            backend=backend,
            tree="PID namespace" if backend == "bubblewrap" else self._tree(),
            memory=self.limits.memory,
            processes=self._processes(backend),
            missing=tuple(gaps),
            notes=tuple(self._notes(backend, profile, has_network=network)),
        )

    def choose(
        self, policy: Policy, accept: Collection[str] = (), *, how_to_accept: str = HOW_TO_ACCEPT
    ) -> Enforcement:
        """How ``policy`` will be enforced.

        Args:
            policy: What to enforce.
            accept: Names of GAPS that may be missing.
            how_to_accept: Said in the message, ``{names}`` in it replaced.

        Raises:
            NotEnforced: something is missing that is not accepted.
        """
        enforcement = self.enforcement(policy.profile, has_network=policy.has_network)
        missing = [gap for gap in enforcement.missing if gap.name not in accept]
        if not missing:
            return enforcement
        if self.bubblewrap is None:  # the reason for most of it; ``report`` has each one's
            why = f"{self.bubblewrap_reason}: install bubblewrap, or accept what is"
        else:
            why = f"{'; '.join(f'{gap.name} ({gap.reason})' for gap in missing)}: accept what is"
        how = how_to_accept.replace("{names}", ",".join(gap.name for gap in enforcement.missing))
        raise NotEnforced(
            f"this machine cannot enforce all of the profile {policy.profile}; {why} missing: {how}",
            [gap.name for gap in missing],
        )

    def _backend(self, profile: Profile) -> Backend:
        if self.bubblewrap is not None:
            return "bubblewrap"
        return "landlock" if self.landlock_abi and profile != "off" else "none"

    def _tree(self) -> str:
        return "supervisor, one step" if self.landlock_abi >= SCOPES_ABI else "supervisor"

    def _processes(self, backend: Backend) -> str:
        if self.limits.processes == "rlimit (per command)" and backend != "bubblewrap":
            return "rlimit (of all of the user's processes)"  # which are counted by user namespace
        return self.limits.processes

    def _gaps(self, backend: Backend, profile: Profile, *, has_network: bool) -> Iterator[Gap]:
        if backend != "bubblewrap":
            yield from self._gaps_without_namespaces(profile, has_network=has_network)
        if self.limits.memory == "none":
            yield Gap(name="memory", reason="no control group can be made")
        if self.limits.processes == "none":
            yield Gap(name="processes", reason="no control group can be made, and the rlimit does not bind root")

    def _gaps_without_namespaces(self, profile: Profile, *, has_network: bool) -> Iterator[Gap]:
        if self.landlock_abi == 0:
            yield Gap(name="files", reason=self.landlock_reason)
        elif self.landlock_abi < TRUNCATE_ABI:
            yield Gap(name="files", reason="this version of Landlock cannot keep files elsewhere from being truncated")
        yield Gap(name="metadata", reason="Landlock does not know chmod, chown and utime")
        if self.landlock_abi == 0:
            yield Gap(name="git-hooks", reason=self.landlock_reason)
        elif profile != "read-only":
            yield Gap(name="git-hooks", reason="Landlock cannot take a part of a writable tree out of it")
        if not has_network:
            if not self.has_seccomp:
                tcp = "only TCP is denied" if self.landlock_abi >= TCP_ABI else "nothing is denied"
                yield Gap(name="network", reason=f"{tcp}: {self.seccomp_reason}")
            if self.has_seccomp or self.landlock_abi >= TCP_ABI:
                yield Gap(name="loopback", reason="there is no network namespace, so servers are denied, too")
        abstract = "" if self.landlock_abi >= SCOPES_ABI else ", nor abstract ones"
        yield Gap(name="unix-sockets", reason=f"Landlock does not know sockets in the file system{abstract}")
        yield Gap(name="pid-namespace", reason="all processes can be seen, and those of the user be given limits")
        if self.landlock_abi < SCOPES_ABI:
            yield Gap(name="signals", reason="this kernel's Landlock does not know signals")
        yield Gap(name="ipc", reason="there is no IPC namespace")
        if not self.has_seccomp:
            yield Gap(name="user-namespaces", reason=self.seccomp_reason)

    def _notes(self, backend: Backend, profile: Profile, *, has_network: bool) -> Iterator[str]:
        if profile == "off":
            yield "off: the command may do what the user may; only its tree and its limits are kept"
            if backend == "none" and self.landlock_abi < SCOPES_ABI:
                yield "it can kill its supervisor, and what it started then lives on"
            return
        if has_network:
            yield "the network is the machine's: its loopback, too"
        if backend == "bubblewrap":
            abstract = ", and abstract ones," if has_network else ""
            yield f"Unix sockets outside homes, /run and directories for temporary files{abstract} can be reached"
        if backend != "bubblewrap":
            yield "HOME and TMPDIR are private directories; /tmp is out of reach"
            yield "no terminals (pty) can be made"
            yield "directories with something hidden in them, such as / and /etc, cannot be listed"
