"""The kernel's calls for a process that gives up rights: Landlock, capabilities, seccomp, signals.

Imported by the supervisor, which starts with every command: ``os`` and ``ctypes`` only (``typing``,
``signal`` and ``json`` would cost 5 ms each, or more).
"""

from __future__ import annotations

import ctypes
import errno
import os

TYPE_CHECKING = False  # as typing has it, without what it costs
if TYPE_CHECKING:
    from typing import Final

_LIBC: Final = ctypes.CDLL(None, use_errno=True)

# The same numbers on every machine, as all calls since 5.1.
_PIDFD_SEND_SIGNAL: Final = 424
_LANDLOCK_CREATE_RULESET: Final = 444
_LANDLOCK_ADD_RULE: Final = 445
_LANDLOCK_RESTRICT_SELF: Final = 446

_CREATE_RULESET_VERSION: Final = 1
_RULE_PATH_BENEATH: Final = 1

SCOPE_ABSTRACT_UNIX_SOCKET: Final = 1
SCOPE_SIGNAL: Final = 2

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_SECCOMP: Final = 22
_PR_CAPBSET_DROP: Final = 24
_PR_SET_CHILD_SUBREAPER: Final = 36
_PR_SET_NO_NEW_PRIVS: Final = 38
_PR_CAP_AMBIENT: Final = 47
_PR_CAP_AMBIENT_CLEAR_ALL: Final = 4
_SECCOMP_MODE_FILTER: Final = 2
_CAPABILITY_VERSION_3: Final = 0x20080522
_CAPABILITIES: Final = 64
_SIG_SETMASK: Final = 2
_SIGSET_BYTES: Final = 128
_SFD_CLOEXEC: Final = os.O_CLOEXEC
_SFD_NONBLOCK: Final = os.O_NONBLOCK
_SIGNALS: Final = 64
_SIGACTION_BYTES: Final = 32
_RT_SIGACTION: Final = 13 if os.uname().machine == "x86_64" else 134

SIGKILL: Final = 9
SIGTERM: Final = 15
SIGCHLD: Final = 17
SIGCONT: Final = 18
SIGSTOP: Final = 19
"""As on every machine that Python's wheels are built for."""


def landlock_abi() -> int:
    """Which version of Landlock this kernel has.

    Raises:
        OSError: none: ENOSYS (not built in) or EOPNOTSUPP (not turned on at boot).
    """
    return _syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), ctypes.c_uint(_CREATE_RULESET_VERSION))


def landlock_ruleset(handled_fs: int, handled_net: int, scoped: int) -> int:
    """A ruleset that forbids all it handles; what this kernel does not know must be 0. Returns its descriptor.

    Raises:
        OSError: no Landlock, or a bit that it does not know.
    """
    fields = [handled_fs, handled_net, scoped]
    while fields and not fields[-1]:
        fields.pop()  # an older kernel's value is shorter
    attributes = (ctypes.c_uint64 * max(1, len(fields)))(*fields)
    descriptor = _syscall(
        _LANDLOCK_CREATE_RULESET, attributes, ctypes.c_size_t(ctypes.sizeof(attributes)), ctypes.c_uint(0)
    )
    os.set_inheritable(descriptor, False)
    return descriptor


class _PathBeneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def landlock_allow(ruleset: int, path: int, allowed: int) -> None:
    """Allow it beneath ``path``, an open descriptor.

    Raises:
        OSError: a right that is no right of this kind of file, or that the ruleset does not handle.
    """
    rule = _PathBeneath(allowed, path)
    _syscall(
        _LANDLOCK_ADD_RULE,
        ctypes.c_int(ruleset),
        ctypes.c_int(_RULE_PATH_BENEATH),
        ctypes.byref(rule),
        ctypes.c_uint(0),
    )


def landlock_restrict(ruleset: int) -> None:
    """Confine this process, and all that it starts, from now on. ``no_new_privileges`` comes first.

    Raises:
        OSError: EPERM without it, E2BIG when 16 are nested.
    """
    _syscall(_LANDLOCK_RESTRICT_SELF, ctypes.c_int(ruleset), ctypes.c_uint(0))


def no_new_privileges() -> None:
    """No program that this process starts gains rights by being set-uid."""
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def drop_capabilities() -> None:
    """What root can do beyond its files, and what a program could be given when it starts, goes.

    Raises:
        OSError: the kernel refused, which it does to nobody.
    """
    for capability in range(_CAPABILITIES):
        try:
            _prctl(_PR_CAPBSET_DROP, capability)
        except OSError:
            break  # the first that there is not; or an ordinary user's, who may not drop and has none
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    header = (ctypes.c_uint32 * 2)(_CAPABILITY_VERSION_3, 0)
    _checked(_LIBC.capset(header, (ctypes.c_uint32 * 6)()))


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def seccomp(program: bytes) -> None:
    """Put a filter over every system call of this process and of all that it starts.

    Raises:
        OSError: the kernel has no seccomp, or the program is no filter.
    """
    value = _Program(len(program) // 8, program)
    _checked(_LIBC.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), ctypes.byref(value)))


def has_seccomp() -> bool:
    """Whether this kernel has filters: it then sees that there is none where one should be."""
    try:
        _checked(_LIBC.prctl(_PR_SET_SECCOMP, ctypes.c_ulong(_SECCOMP_MODE_FILTER), None))
    except OSError as error:
        return error.errno == errno.EFAULT
    return False


def adopt_orphans() -> None:
    """Processes beneath this one whose parent ends become its children, not those of pid 1."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def signal_when_parent_ends(number: int) -> None:
    """Of the parent's thread that started this process. One that has ended already is not noticed."""
    _prctl(_PR_SET_PDEATHSIG, number)


def open_signals(*numbers: int) -> int:
    """Block them; the descriptor that is returned can be read when one has come."""
    mask = bytearray(_SIGSET_BYTES)
    for number in numbers:
        mask[(number - 1) // 8] |= 1 << (number - 1) % 8
    blocked = (ctypes.c_char * _SIGSET_BYTES).from_buffer(mask)
    _checked(_LIBC.sigprocmask(_SIG_SETMASK, blocked, None))
    return _checked(_LIBC.signalfd(-1, blocked, _SFD_CLOEXEC | _SFD_NONBLOCK))


def reset_signals() -> None:
    """As a program expects them at its start: none blocked, none ignored.

    Python ignores SIGPIPE; glibc's ``posix_spawn``, by which Python 3.13 starts most programs, one of its own, 32,
    which its ``signal`` refuses.
    """
    default = (ctypes.c_char * _SIGACTION_BYTES)()
    for number in range(1, _SIGNALS + 1):
        # Refused for KILL and STOP.
        _LIBC.syscall(ctypes.c_long(_RT_SIGACTION), ctypes.c_int(number), default, None, ctypes.c_size_t(_SIGNALS // 8))
    _checked(_LIBC.sigprocmask(_SIG_SETMASK, (ctypes.c_char * _SIGSET_BYTES)(), None))


def send(pidfd: int, number: int) -> None:
    """Send a signal to a process that cannot be mistaken for another.

    Raises:
        ProcessLookupError: it has ended.
        PermissionError: it is none of ours.
    """
    _syscall(_PIDFD_SEND_SIGNAL, ctypes.c_int(pidfd), ctypes.c_int(number), None, ctypes.c_uint(0))


def _syscall(number: int, *arguments: object) -> int:
    return _checked(_LIBC.syscall(ctypes.c_long(number), *arguments))


def _prctl(option: int, value: int) -> int:
    return _checked(_LIBC.prctl(option, ctypes.c_ulong(value), *(ctypes.c_ulong(0),) * 3))


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
