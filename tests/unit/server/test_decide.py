"""Who may come in: facts and a request in, a refusal or nothing out."""

from __future__ import annotations

import ipaddress
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from plurnk.errors import Denied
from plurnk.server.access import Rules, decide, load_token
from plurnk.server.callers import Caller
from plurnk.server.websocket import Request

UID, STRANGER = 1000, 1001
LOOPBACK = Caller(uid=UID, own=ipaddress.ip_address("127.0.0.1"))
UNIX = Caller(uid=UID, own=None)
REMOTE = Caller(uid=None, own=ipaddress.ip_address("192.0.2.7"))
TOKEN = "correct-horse_battery"


def refused(
    caller: Caller, *headers: tuple[str, str], host: str | None = "localhost:3044", path: str = "/", **rules: Any
) -> int | None:
    """Return the status that ``caller`` is refused with."""
    lines = [*headers, *([] if host is None else [("host", host)])]
    request = Request(path, tuple((name.encode(), value.encode()) for name, value in lines))
    refusal = decide(Rules(uid=UID, **rules), caller, request)
    return None if refusal is None else refusal.status


@pytest.mark.spec("6.6-other-users-refused")
@pytest.mark.parametrize("own", [None, "127.0.0.1", "127.3.2.1", "::1"])
@pytest.mark.parametrize(("uid", "status"), [(UID, None), (0, None), (STRANGER, 403), (None, 403)])
def test_only_our_user_and_root_on_this_machine(own: str | None, uid: int | None, status: int | None) -> None:
    assert refused(Caller(uid=uid, own=None if own is None else ipaddress.ip_address(own))) == status


@pytest.mark.spec("6.6-origin")
@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ([], None),
        (["https://good.example"], None),
        (["http://good.example"], 403),
        (["https://good.example:8443"], 403),
        (["https://evil.example"], 403),
        (["null"], 403),
        ([""], 403),
        (["https://good.example", "https://evil.example"], 403),
    ],
)
def test_web_pages_stay_out(sent: list[str], status: int | None) -> None:
    headers = [("origin", origin) for origin in sent]
    assert refused(LOOPBACK, *headers, origins=frozenset({"https://good.example"})) == status
    assert refused(UNIX, *headers, origins=frozenset({"https://good.example"})) == status


@pytest.mark.spec("6.6-host")
@pytest.mark.parametrize(
    "host",
    [
        *["localhost", "LOCALHOST:3044", "127.0.0.1", "127.0.0.1:3044", "127.9.9.9", "[::1]", "[::1]:3044"],
        *["localhost:8080", "[::ffff:127.0.0.1]:3044"],
    ],
)
def test_names_of_the_loopback(host: str) -> None:
    assert refused(LOOPBACK, host=host) is None
    assert refused(UNIX, host=host) is None


@pytest.mark.spec("6.6-host")
@pytest.mark.parametrize(
    "host",
    [
        *["", "evil.example", "evil.example:3044", "localhost.evil.example", "127.0.0.1.evil.example", "127.1"],
        *["2130706433", "192.0.2.7", "[::2]", "::1", "localhost:", "localhost:x", "[localhost]", "localhost:3044:1"],
        "local host",
    ],
)
def test_names_of_anything_else(host: str) -> None:
    assert refused(LOOPBACK, host=host) == 403


@pytest.mark.spec("6.6-host")
def test_bound_addresses_and_names() -> None:
    assert refused(REMOTE, host="192.0.2.7:3044") is None
    assert refused(REMOTE, host="192.0.2.8:3044") == 403
    assert refused(REMOTE, host="devbox:3044") == 403
    assert refused(REMOTE, host="DevBox:3044", hosts=frozenset({"devbox"})) is None
    assert refused(LOOPBACK, host="[fd00::1]:1", hosts=frozenset({"fd00::1"})) is None


def test_a_unix_socket_needs_no_host_but_a_port_does() -> None:
    assert refused(UNIX, host=None) is None
    assert refused(UNIX, host="") is None
    assert refused(LOOPBACK, host=None) == 403


@pytest.mark.spec("6.6-token")
@pytest.mark.parametrize("caller", [LOOPBACK, REMOTE])
@pytest.mark.parametrize(
    ("header", "value", "status"),
    [
        ("authorization", f"Bearer {TOKEN}", None),
        ("authorization", f"bearer  {TOKEN} ", None),
        ("authorization", TOKEN, 401),
        ("authorization", f"Basic {TOKEN}", 401),
        ("authorization", f"Bearer {TOKEN[:-1]}", 401),
        ("authorization", f"Bearer {TOKEN}x", 401),
        ("authorization", "Bearer", 401),
        ("authorization", "Bearer ÿ", 401),
        ("sec-websocket-protocol", f"bearer.{TOKEN}", None),
        ("sec-websocket-protocol", f"chat, bearer.{TOKEN}", None),
        ("sec-websocket-protocol", "bearer.", 401),
        ("sec-websocket-protocol", TOKEN, 401),
        ("cookie", f"bearer.{TOKEN}", 401),
    ],
)
def test_a_token_where_one_is_asked_for(caller: Caller, header: str, value: str, status: int | None) -> None:
    host = "192.0.2.7" if caller is REMOTE else "localhost"
    assert refused(caller, (header, value), host=host, token=TOKEN) == status


@pytest.mark.spec("6.6-token")
def test_a_token_does_not_replace_the_other_rules() -> None:
    shown = ("authorization", f"Bearer {TOKEN}")
    assert refused(Caller(uid=STRANGER, own=LOOPBACK.own), shown, token=TOKEN) == 403
    assert refused(LOOPBACK, shown, ("origin", "https://evil.example"), token=TOKEN) == 403


def test_a_unix_socket_asks_for_no_token() -> None:
    assert refused(UNIX, token=TOKEN) is None


@pytest.mark.parametrize(("path", "status"), [("/", None), ("/?a=b", None), ("/ws", 404), ("//", 404), ("*", 404)])
def test_there_is_one_path(path: str, status: int | None) -> None:
    assert refused(LOOPBACK, path=path) == status


@pytest.mark.spec("6.6-token")
def test_the_token_is_made_once_and_for_us_alone(tmp_path: Path) -> None:
    path = tmp_path / "token"
    mask = os.umask(0)
    try:
        token = load_token(path)
    finally:
        os.umask(mask)
    assert len(token) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load_token(path) == token == path.read_text()
    assert load_token(tmp_path / "other") != token


@pytest.mark.spec("6.6-token")
@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620])
def test_a_token_that_others_may_read_is_not_used(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "token"
    path.write_text(TOKEN)
    path.chmod(mode)
    with pytest.raises(Denied, match="chmod 600"):
        load_token(path)


def test_a_token_that_cannot_be_had(tmp_path: Path) -> None:
    with pytest.raises(Denied, match="cannot be had"):
        load_token(tmp_path / "nowhere" / "token")


def test_an_empty_token_would_let_everybody_in(tmp_path: Path) -> None:
    path = tmp_path / "token"
    path.touch(0o600)
    with pytest.raises(Denied, match="is empty"):
        load_token(path)
