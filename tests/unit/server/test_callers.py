"""The rows of /proc/net/tcp and tcp6, as kernels of both byte orders write them."""

from __future__ import annotations

import sys

import pytest

from plurnk.server.callers import End, Owner, owner_in, read_address

LITTLE = sys.byteorder == "little"
HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
V4 = "0100007F" if LITTLE else "7F000001"
V6 = "00000000000000000000000001000000" if LITTLE else "00000000000000000000000000000001"
MAPPED = ("0000000000000000FFFF0000" if LITTLE else "00000000000000000000FFFF") + V4


def end(address: str, port: int) -> End:
    return read_address(address), port


def row(local: str, remote: str, *, state: str = "01", uid: int = 1001, inode: int = 77) -> str:
    queues = "00000000:00000000 00:00000000 00000000"
    return f"   3: {local} {remote} {state} {queues} {uid:5d}        0 {inode} 1 0 20 4 30 10 -1\n"


PEER, OWN = 0xD431, 0x0BE4


@pytest.mark.spec("6.6-other-users-refused")
@pytest.mark.parametrize(("address", "word"), [("127.0.0.1", V4), ("::1", V6), ("127.0.0.1", MAPPED)])
def test_the_owner_of_the_other_end(address: str, word: str) -> None:
    table = (
        HEADER
        + row(f"{word}:{OWN:04X}", f"{word}:{PEER:04X}", uid=1)  # our own end
        + row(f"{word}:{PEER:04X}", f"{word}:0BE5", uid=2)  # the same port to another of ours
        + row(f"{word}:D432", f"{word}:{OWN:04X}", uid=3)  # another client
        + row(f"{word}:{PEER:04X}", f"{word}:{OWN:04X}", uid=1001)
    )
    assert owner_in(table, end(address, PEER), end(address, OWN)) == Owner(1001, 77)
    assert owner_in(table, end(address, PEER), end(address, OWN + 9)) is None
    assert owner_in("", end(address, PEER), end(address, OWN)) is None


@pytest.mark.spec("6.6-other-users-refused")
@pytest.mark.parametrize(
    "orphan",
    [
        row(f"{V4}:D431", f"{V4}:0BE4", uid=0, inode=0),
        row(f"{V4}:D431", f"{V4}:0BE4", uid=0, state="05", inode=0),  # FIN_WAIT2
        row(f"{V4}:D431", f"{V4}:0BE4", uid=0, state="06", inode=0),  # TIME_WAIT
        row(f"{V4}:D431", f"{V4}:0BE4", uid=1000, state="04"),  # FIN_WAIT1
    ],
)
def test_a_socket_that_was_closed_is_nobodys(orphan: str) -> None:
    assert owner_in(HEADER + orphan, end("127.0.0.1", PEER), end("127.0.0.1", OWN)) is None


def test_one_address_has_one_spelling() -> None:
    assert read_address("::ffff:127.0.0.1") == read_address("127.0.0.1")
    assert read_address("::1").is_loopback
    with pytest.raises(ValueError, match="not appear"):
        read_address("localhost")
