"""The filter does what it says: it is run here, on made-up system calls, as the kernel would."""

from __future__ import annotations

import struct
from typing import Final

import pytest

from sandbox import seccomp

X86: Final = 0xC000003E
I386: Final = 0x40000003
ARM: Final = 0xC00000B7

ALLOWED: Final = "allowed"
KILLED: Final = "killed"
EPERM, EACCES, ENOSYS, EAFNOSUPPORT = 1, 13, 38, 97

ARCHITECTURES: Final = {"x86_64": X86, "aarch64": ARM}
MACHINES: Final = list(ARCHITECTURES)

NUMBERS: Final = {
    "x86_64": {"read": 0, "ioctl": 16, "socket": 41, "clone": 56, "fork": 57, "execve": 59, "ptrace": 101, "mount": 165}
    | {"unshare": 272, "setns": 308, "bpf": 321, "umount2": 166, "keyctl": 250, "userfaultfd": 323, "connect": 42},
    "aarch64": {"read": 63, "ioctl": 29, "socket": 198, "clone": 220, "execve": 221, "ptrace": 117, "mount": 40}
    | {"unshare": 97, "setns": 268, "bpf": 280, "umount2": 39, "keyctl": 219, "userfaultfd": 282, "connect": 203},
}


def _verdict(program: bytes | None, number: int, *arguments: int, arch: int) -> str | int:
    """Run a filter on one call: allowed, killed, or the error that it gets."""
    assert program is not None
    given = (*arguments, *[0] * (6 - len(arguments)))
    data = struct.pack("=iIQ6Q", number - (number >> 31 << 32), arch, 0, *given)
    instructions = list(struct.iter_unpack("=HBBI", program))
    at, loaded = 0, 0
    while True:
        code, skip_if, skip_if_not, value = instructions[at]
        at += 1
        if code == 0x20:
            loaded = struct.unpack_from("=I", data, value)[0]
        elif code == 0x06:
            return {0x7FFF0000: ALLOWED, 0x80000000: KILLED}.get(value) or value ^ 0x00050000
        else:
            holds = {0x15: loaded == value, 0x35: loaded >= value, 0x45: bool(loaded & value)}[code]
            at += skip_if if holds else skip_if_not


def _ask(machine: str, name: str | int, *arguments: int, deny_inet: bool = False) -> str | int:
    number = NUMBERS[machine][name] if isinstance(name, str) else name
    program = seccomp.program(machine, deny_inet=deny_inet)
    return _verdict(program, number, *arguments, arch=ARCHITECTURES[machine])


@pytest.mark.parametrize("machine", MACHINES)
def test_ordinary_calls_and_debuggers_pass(machine: str) -> None:
    for name in ("read", "execve", "ptrace", "connect"):
        assert _ask(machine, name) == ALLOWED
    assert _ask(machine, "ioctl", 0, 0x5413) == ALLOWED  # how large is the terminal
    assert _ask(machine, "clone", 0x3D0F00) == ALLOWED  # a thread
    assert _ask(machine, "clone", 0x11) == ALLOWED  # a fork: the signal alone
    assert _ask(machine, "clone", 0x80 | 0x11) == ALLOWED  # a signal's number, not CLONE_NEWTIME
    assert _ask(machine, "unshare", 0x400) == ALLOWED  # CLONE_FILES


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("bit", [17, 25, 26, 27, 28, 29, 30])
def test_no_new_namespaces(machine: str, bit: int) -> None:
    assert _ask(machine, "clone", 1 << bit | 0x11) == EPERM
    assert _ask(machine, "unshare", 1 << bit) == EPERM
    assert _ask(machine, "unshare", 1 << 40 | 1 << bit) == EPERM  # the high half is not looked at


@pytest.mark.parametrize("machine", MACHINES)
def test_what_nobody_needs_is_denied(machine: str) -> None:
    assert _ask(machine, "unshare", 0x80) == EPERM  # CLONE_NEWTIME
    for name in ("mount", "umount2", "setns", "bpf", "keyctl", "userfaultfd"):
        assert _ask(machine, name) == EPERM
    for number in (428, 429, 430, 431, 432, 433, 442, 443, 467):
        assert _ask(machine, number) == EPERM
    for number in (425, 426, 427, 435):
        assert _ask(machine, number) == ENOSYS
    for command in (0x5412, 0x541C, 1 << 32 | 0x5412):
        assert _ask(machine, "ioctl", 0, command) == EPERM


@pytest.mark.parametrize("machine", MACHINES)
def test_sockets_by_their_family(machine: str) -> None:
    verdicts = {family: _ask(machine, "socket", family) for family in range(50)}
    assert {family for family, verdict in verdicts.items() if verdict == ALLOWED} == {1, 2, 10, 16}
    assert set(verdicts.values()) == {ALLOWED, EAFNOSUPPORT}
    assert _ask(machine, "socket", 1 << 32 | 40) == EAFNOSUPPORT  # vsock
    strict = {family: _ask(machine, "socket", family, deny_inet=True) for family in range(50)}
    assert {family for family, verdict in strict.items() if verdict == ALLOWED} == {1, 16}
    assert strict[2] == strict[10] == EACCES


def test_calls_by_another_name_end_the_process_or_do_not_exist() -> None:
    x86, arm = seccomp.program("x86_64"), seccomp.program("aarch64")
    assert _verdict(x86, 0, arch=I386) == KILLED
    assert _verdict(x86, 0, arch=ARM) == KILLED
    assert _verdict(arm, 0, arch=X86) == KILLED
    assert _verdict(x86, 0x40000000 | 165, arch=X86) == ENOSYS  # x32


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("deny_inet", [False, True])
def test_the_kernel_would_take_it(machine: str, deny_inet: bool) -> None:
    program = seccomp.program(machine, deny_inet=deny_inet)
    assert program is not None
    instructions = list(struct.iter_unpack("=HBBI", program))
    assert 0 < len(instructions) <= 4096
    assert instructions[-1][0] == 0x06
    for at, (code, skip_if, skip_if_not, _) in enumerate(instructions):
        if code not in {0x06, 0x20}:
            assert at + 1 + max(skip_if, skip_if_not) < len(instructions)


def test_of_other_machines_nothing_is_known() -> None:
    assert seccomp.program("riscv64") is None
