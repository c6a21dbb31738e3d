"""Targets: reading them, the entry that they name, and their one canonical spelling (SPEC 1.3)."""

from __future__ import annotations

import re
from collections.abc import Set as AbstractSet
from typing import Final, NamedTuple
from urllib.parse import parse_qsl, unquote

import msgspec

from plurnk.errors import Malformed
from plurnk.language.ast import Copy, Edit, LocalTarget, Move, Statement, Target, UrlTarget
from plurnk.language.wording import clip, quote

AUTHORITY_SCHEMES: Final[frozenset[str]] = frozenset({"http", "https", "ws", "wss", "sse"})
"""The schemes whose targets have a host. The others, unknown ones included, name entries."""

FILE: Final = "file"
"""The scheme of bare paths."""

VERSION: Final = "version"
"""The parameter of a file's target that names a version of it."""

_URL: Final = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_NAME: Final = re.compile(r"(?:[A-Za-z0-9._~!$&'()*+,;=-]|[^\x00-\x7f]|%[0-9A-Fa-f]{2})++")
_IP_LITERAL: Final = re.compile(r"\[([0-9A-Fa-f:.]+|v[0-9A-Fa-f]+\.[A-Za-z0-9._~!$&'()*+,;=:-]+)\]")
_PORT: Final = re.compile(r"[0-9]{1,5}")
_MAX_PORT: Final = 65535

# What, written bare, would be read as something else or end the target.
_RESERVED: Final = re.compile(r"%(?=[0-9A-Fa-f]{2})|<(?=<)|[?#)\x00-\x1f\x7f]")


class _Authority(NamedTuple):
    username: str | None
    password: str | None
    hostname: str
    port: int | None


def parse_target(raw: str, authority_schemes: AbstractSet[str] = AUTHORITY_SCHEMES) -> Target:
    """Read a target: ``scheme://rest`` is a URL target, anything else a local path, kept raw.

    Raises:
        Malformed: the scheme is one of ``authority_schemes`` and its authority is broken.
    """
    url = _URL.match(raw)
    if url is None:
        return LocalTarget(raw=raw)
    scheme = url[1].lower()
    rest, query, fragment = _split(raw, url.end())
    params = _params(query) if query else {}
    if scheme not in authority_schemes:
        return UrlTarget(raw=raw, scheme=scheme, pathname=rest.removeprefix("/"), params=params, fragment=fragment)
    path_at = rest.find("/") if "/" in rest else len(rest)
    username, password, hostname, port = _authority(rest[:path_at])
    return UrlTarget(
        raw=raw,
        scheme=scheme,
        username=username,
        password=password,
        hostname=hostname,
        port=port,
        pathname=rest[path_at:],
        params=params,
        fragment=fragment,
    )


def _split(raw: str, start: int) -> tuple[str, str | None, str | None]:
    """``raw`` from ``start`` on: all before the first ``?`` or ``#``, the query, the fragment."""
    rest, hash_mark, fragment = raw[start:].partition("#")
    rest, question_mark, query = rest.partition("?")
    return rest, query if question_mark else None, fragment if hash_mark else None


def _params(query: str) -> dict[str, str | list[str]]:
    params: dict[str, str | list[str]] = {}
    for key, value in parse_qsl(query, keep_blank_values=True):
        known = params.get(key)
        if known is None:
            params[key] = value
        elif isinstance(known, list):
            known.append(value)
        else:
            params[key] = [known, value]
    return params


def _authority(text: str) -> _Authority:
    """RFC 3986 section 3.2, user and password as written, the host in lower case."""
    userinfo, at_sign, host_port = text.rpartition("@")
    username, colon, password = userinfo.partition(":")
    if host_port.startswith("["):
        host = _IP_LITERAL.match(host_port)
        if host is None:
            raise Malformed(f"expected an address in '[…]' as host in target; got {quote(host_port)}")
        hostname, port = host[1], host_port[host.end() :]
        if port and not port.startswith(":"):
            raise Malformed(f"expected ':' after the host in target; got {quote(port[0])}")
        port = port[1:]
    else:
        hostname, _, port = host_port.partition(":")
        if not _NAME.fullmatch(hostname):
            raise Malformed(f"expected host in target; got {quote(hostname)}")
    if port and (not _PORT.fullmatch(port) or int(port) > _MAX_PORT):
        raise Malformed(f"expected port number in target; got {quote(port)}")
    return _Authority(
        username if at_sign else None,
        password if colon else None,
        hostname.lower(),
        int(port) if port else None,
    )


def entry_pathname(target: Target) -> str:
    """The path that an entry is looked up under: percent-escapes decoded, once. A local path is as written.

    Raises:
        Malformed: it holds a NUL, a ``.`` or ``..`` segment (of a URL target: an entry path never
            walks), or escapes that are no UTF-8.
    """
    if isinstance(target, LocalTarget):
        pathname = target.raw
    else:
        pathname = _decoded(target.pathname)
        if dots := {".", ".."}.intersection(pathname.split("/")):
            raise Malformed(f"unexpected segment '{min(dots)}' in {clip(target.raw)}")
    if "\0" in pathname:
        raise Malformed(f"unexpected NUL in {clip(target.raw)}")
    return pathname


def _decoded(pathname: str) -> str:
    try:
        return unquote(pathname, errors="strict")
    except UnicodeDecodeError:
        raise Malformed(f"expected UTF-8 in the escapes of {clip(pathname)}") from None


def canonical(target: Target) -> str:
    """The one spelling of what ``target`` names: ``scheme://pathname``, bare for files, without
    fragment; for a scheme with hosts, the host and the query belong to it, user and password do not.

    Reads back as a target with the same ``entry_pathname``. Total: a path that no entry can have
    is given as it was written.
    """
    if isinstance(target, LocalTarget):
        return target.raw
    try:
        decoded = _decoded(target.pathname)
    except Malformed:
        pathname = decoded = target.pathname
    else:
        pathname = _RESERVED.sub(_escape, decoded)
    if target.scheme == FILE:
        return decoded
    if target.hostname is None:
        return _entry(target.scheme, pathname)
    hostname = f"[{target.hostname}]" if ":" in target.hostname else target.hostname
    port = "" if target.port is None else f":{target.port}"
    query = _split(target.raw, 0)[1]
    return f"{target.scheme}://{hostname}{port}{pathname or '/'}{'' if query is None else '?' + query}"


def localized(statement: Statement) -> Statement:
    """``statement`` with its ``file://`` targets as the bare paths that they spell, which is how files are shown.

    But for EDIT of a version of a file, which no bare path can say.
    """
    target = statement.target
    if isinstance(statement, Edit) and isinstance(target, UrlTarget) and VERSION in target.params:
        return statement
    if isinstance(statement, Copy | Move):
        return msgspec.structs.replace(statement, target=_bare(statement.target), body=_bare(statement.body))
    return msgspec.structs.replace(statement, target=_bare(statement.target))


def check_file_targets(statement: Statement) -> None:
    """See that nothing is lost when ``statement`` is ``localized``.

    Raises:
        Malformed: a ``file://`` target has a fragment other than a file's one channel, ``body``, names a version
            that is not to be brought back, or has escapes that are no UTF-8.
    """
    for target in (statement.target, statement.body):
        if isinstance(target, UrlTarget) and target.scheme == FILE:
            _decoded(target.pathname)
            if VERSION in target.params and not (isinstance(statement, Edit) and target is statement.target):
                raise Malformed(f"a version of {clip(canonical(target))} can only be brought back, by an EDIT of it")
            if target.fragment and target.fragment != "body":
                raise Malformed(f"{clip(canonical(target))} has one channel, body; it has no {quote(target.fragment)}")


def _bare(target: Target | None) -> Target | None:
    if isinstance(target, UrlTarget) and target.scheme == FILE:
        return LocalTarget(raw=canonical(target))
    return target


def entry_address(scheme: str, pathname: str) -> str:
    """The canonical spelling of the entry with this (decoded) path, as ``canonical`` would give it."""
    return _entry(scheme, _RESERVED.sub(_escape, pathname))


def _entry(scheme: str, escaped: str) -> str:
    # A pathname that begins with "/" was written with one more, which reading drops.
    return f"{scheme}://{'/' if escaped.startswith('/') else ''}{escaped}"


def _escape(reserved: re.Match[str]) -> str:
    return f"%{ord(reserved[0]):02X}"
