"""The system calls that a command does without, as a program for the kernel's filter. Pure: no system is touched.

A second wall behind the namespaces: no new namespaces and no mounts, so that nothing which was covered can be
uncovered; no key rings, kernel modules, BPF or io_uring, where the kernel's own faults are found most; no sockets of
families that know no network namespaces (vsock reaches the host of a virtual machine); no typing into a terminal
(TIOCSTI). ``ptrace`` is allowed: debuggers and strace work, and reach no process outside the PID namespace.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

_EPERM: Final = 1
_EACCES: Final = 13
_ENOSYS: Final = 38
_EAFNOSUPPORT: Final = 97

_ALLOW: Final = 0x7FFF0000
_KILL_PROCESS: Final = 0x80000000
_ERRNO: Final = 0x00050000

# struct seccomp_data: int nr; u32 arch; u64 instruction_pointer; u64 args[6]
_NR_AT: Final = 0
_ARCH_AT: Final = 4
_ARGS_AT: Final = 16

_LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS
_IF_EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
_IF_AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
_IF_ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
_RETURN: Final = 0x06  # BPF_RET | BPF_K

_X32_BIT: Final = 0x40000000

_NEW_NAMESPACE: Final = 0x7E020000
"""CLONE_NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID and NEWNET."""
_NEW_TIME: Final = 0x80
"""CLONE_NEWTIME: of ``unshare`` alone; in ``clone`` this bit is part of the signal's number."""

_TIOCSTI: Final = 0x5412
_TIOCLINUX: Final = 0x541C

_UNIX: Final = 1
_INET: Final = 2
_INET6: Final = 10
_NETLINK: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class _Machine:
    """What differs from one kind of machine to the next. ``denied`` answer EPERM."""

    audit_arch: int
    has_x32: bool
    ioctl: int
    socket: int
    clone: int
    unshare: int
    denied: Mapping[str, int]


_DENIED_EVERYWHERE: Final = MappingProxyType(
    {
        "open_tree": 428,
        "move_mount": 429,
        "fsopen": 430,
        "fsconfig": 431,
        "fsmount": 432,
        "fspick": 433,
        "mount_setattr": 442,
        "quotactl_fd": 443,
        "open_tree_attr": 467,
    }
)
"""Since 2019 a system call has one number on all machines."""

_ABSENT: Final = MappingProxyType(
    {"io_uring_setup": 425, "io_uring_enter": 426, "io_uring_register": 427, "clone3": 435}
)
"""Answer ENOSYS, as an older kernel would, so that everybody falls back: of ``clone3`` a filter sees no flags, and
what goes through io_uring no filter sees at all."""

_MACHINES: Final = MappingProxyType(
    {
        "x86_64": _Machine(
            audit_arch=0xC000003E,
            has_x32=True,
            ioctl=16,
            socket=41,
            clone=56,
            unshare=272,
            denied=MappingProxyType(
                {
                    "syslog": 103,
                    "pivot_root": 155,
                    "acct": 163,
                    "mount": 165,
                    "umount2": 166,
                    "swapon": 167,
                    "swapoff": 168,
                    "reboot": 169,
                    "iopl": 172,
                    "ioperm": 173,
                    "init_module": 175,
                    "delete_module": 176,
                    "quotactl": 179,
                    "kexec_load": 246,
                    "add_key": 248,
                    "request_key": 249,
                    "keyctl": 250,
                    "perf_event_open": 298,
                    "open_by_handle_at": 304,
                    "setns": 308,
                    "finit_module": 313,
                    "kexec_file_load": 320,
                    "bpf": 321,
                    "userfaultfd": 323,
                }
            ),
        ),
        "aarch64": _Machine(
            audit_arch=0xC00000B7,
            has_x32=False,
            ioctl=29,
            socket=198,
            clone=220,
            unshare=97,
            denied=MappingProxyType(
                {
                    "umount2": 39,
                    "mount": 40,
                    "pivot_root": 41,
                    "quotactl": 60,
                    "acct": 89,
                    "kexec_load": 104,
                    "init_module": 105,
                    "delete_module": 106,
                    "syslog": 116,
                    "reboot": 142,
                    "add_key": 217,
                    "request_key": 218,
                    "keyctl": 219,
                    "swapon": 224,
                    "swapoff": 225,
                    "perf_event_open": 241,
                    "open_by_handle_at": 265,
                    "setns": 268,
                    "finit_module": 273,
                    "bpf": 280,
                    "userfaultfd": 282,
                    "kexec_file_load": 294,
                }
            ),
        ),
    }
)


def program(machine: str, *, deny_inet: bool = False) -> bytes | None:
    """The filter for ``machine`` (as ``os.uname().machine`` has it): an array of ``struct sock_filter``.

    ``deny_inet``: no internet sockets either (EACCES), for want of a network namespace. Without one a server on the
    command's own loopback does not work: it would be the machine's.

    Returns:
        None for a machine whose system calls are not known here: it has this wall not.
    """
    known = _MACHINES.get(machine)
    if known is None:
        return None
    return b"".join(
        (
            _foreign(known),
            *(_unless_equal(number, _answer(_EPERM)) for number in {**known.denied, **_DENIED_EVERYWHERE}.values()),
            *(_unless_equal(number, _answer(_ENOSYS)) for number in _ABSENT.values()),
            _with_argument(known.clone, 0, _any_bit(_NEW_NAMESPACE)),
            _with_argument(known.unshare, 0, _any_bit(_NEW_NAMESPACE | _NEW_TIME)),
            _with_argument(
                known.ioctl, 1, _unless_equal(_TIOCSTI, _answer(_EPERM)), _unless_equal(_TIOCLINUX, _answer(_EPERM))
            ),
            _with_argument(known.socket, 0, *_families(deny_inet=deny_inet)),
            _answer_is(_ALLOW),
        )
    )


def _families(*, deny_inet: bool) -> tuple[bytes, ...]:
    """What becomes of a socket, by its family: netlink stays, as resolvers ask it which addresses there are."""
    inet = _answer(_EACCES) if deny_inet else _answer_is(_ALLOW)
    return (
        _unless_equal(_UNIX, _answer_is(_ALLOW)),
        _unless_equal(_NETLINK, _answer_is(_ALLOW)),
        _unless_equal(_INET, inet),
        _unless_equal(_INET6, inet),
        _answer(_EAFNOSUPPORT),
    )


def _foreign(machine: _Machine) -> bytes:
    """End whoever calls as another kind of machine: there the same numbers are other calls. Load the number."""
    x32 = _instruction(_IF_AT_LEAST, _X32_BIT, skip_if_not=1) + _answer(_ENOSYS) if machine.has_x32 else b""
    return b"".join(
        (
            _instruction(_LOAD, _ARCH_AT),
            _instruction(_IF_EQUAL, machine.audit_arch, skip_if=1),
            _answer_is(_KILL_PROCESS),
            _instruction(_LOAD, _NR_AT),
            x32,
        )
    )


def _with_argument(number: int, argument: int, *rules: bytes) -> bytes:
    """For the system call ``number``: ``rules`` about the low half of an argument, else it is allowed.

    The kernel itself looks at the low half alone of each of the arguments that are asked for here.
    """
    body = b"".join((_instruction(_LOAD, _ARGS_AT + 8 * argument), *rules, _answer_is(_ALLOW)))
    return _instruction(_IF_EQUAL, number, skip_if_not=len(body) // _SIZE_BYTES) + body


def _any_bit(bits: int) -> bytes:
    return _instruction(_IF_ANY_BIT, bits, skip_if_not=1) + _answer(_EPERM)


def _unless_equal(value: int, answer: bytes) -> bytes:
    return _instruction(_IF_EQUAL, value, skip_if_not=1) + answer


def _answer(errno: int) -> bytes:
    return _answer_is(_ERRNO | errno)


def _answer_is(action: int) -> bytes:
    return _instruction(_RETURN, action)


_SIZE_BYTES: Final = 8


def _instruction(code: int, value: int, *, skip_if: int = 0, skip_if_not: int = 0) -> bytes:
    """One ``struct sock_filter``; a jump says how many instructions are skipped."""
    return struct.pack("=HBBI", code, skip_if, skip_if_not, value)
