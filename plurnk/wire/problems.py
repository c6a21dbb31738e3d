"""What can go wrong with a request, and the code that answers it (SPEC 6.2).

This is the only place that maps statuses and kinds of trouble to JSON-RPC codes. ``error.data`` is
``{status, type, detail, …}``: a client that needs to tell one -32008 from another reads ``type``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import Enum
from typing import Any, Final

import msgspec

from plurnk import errors


class Kind(Enum):
    """Every kind of trouble: JSON-RPC code, ``data.type``, ``data.status``."""

    PARSE = (-32700, "parse-error", 400)
    INVALID_REQUEST = (-32600, "invalid-request", 400)
    METHOD_NOT_FOUND = (-32601, "method-not-found", 501)
    INVALID_PARAMS = (-32602, "invalid-params", 400)
    DENIED = (-32602, "denied", 403)
    NOT_EDITABLE = (-32602, "not-editable", 405)
    CONFLICT = (-32602, "conflict", 409)
    TOO_LARGE = (-32602, "too-large", 413)
    NO_SUCH_RANGE = (-32602, "no-such-range", 416)
    UNREADABLE = (-32602, "unreadable", 422)
    INTERNAL = (-32603, "internal", 500)
    OUT_OF_ROOM = (-32603, "out-of-room", 507)
    NOT_INITIALISED = (-32000, "not-initialised", 409)
    SESSION_NOT_FOUND = (-32001, "session-not-found", 404)
    LOOP_NOT_FOUND = (-32002, "loop-not-found", 404)
    ENTRY_NOT_FOUND = (-32003, "entry-not-found", 404)
    PROVIDER_UNAVAILABLE = (-32004, "provider-unavailable", 502)
    SCHEME_UNAVAILABLE = (-32005, "scheme-unavailable", 501)
    MIMETYPE_UNAVAILABLE = (-32006, "mimetype-unavailable", 415)
    TIMEOUT = (-32007, "timeout", 408)
    DRAINING = (-32008, "draining", 503)
    OVERRAN = (-32603, "overran", 504)
    TOO_MANY_REQUESTS = (-32008, "too-many-requests", 429)

    def __init__(self, code: int, type_: str, status: int) -> None:
        self.code = code
        self.type = type_
        self.status = status


# A method looks up sessions and runs; the few that look for something else raise a RequestError
# that says so (``loop_not_found``, ``entry_not_found``).
_OF_ERROR: Final[Mapping[type[errors.PlurnkError], Kind]] = {
    errors.PlurnkError: Kind.INTERNAL,
    errors.Malformed: Kind.INVALID_PARAMS,
    errors.Denied: Kind.DENIED,
    errors.NotFound: Kind.SESSION_NOT_FOUND,
    errors.NotEditable: Kind.NOT_EDITABLE,
    errors.TookTooLong: Kind.TIMEOUT,
    errors.Conflict: Kind.CONFLICT,
    errors.TooLarge: Kind.TOO_LARGE,
    errors.UnsupportedType: Kind.MIMETYPE_UNAVAILABLE,
    errors.NoSuchRange: Kind.NO_SUCH_RANGE,
    errors.Unreadable: Kind.UNREADABLE,
    errors.Unsupported: Kind.SCHEME_UNAVAILABLE,
    errors.UpstreamFailed: Kind.PROVIDER_UNAVAILABLE,
    errors.Overran: Kind.OVERRAN,
    errors.Draining: Kind.DRAINING,
    errors.OutOfRoom: Kind.OUT_OF_ROOM,
}

# Names and values that a client sent are told back to it, but not all 16 MiB of them.
MAX_DETAIL_CHARS: Final = 1000

# A known client takes any message with this word for the end of its session and starts anew.
_RESETS_A_CLIENT: Final = re.compile("connection", re.IGNORECASE)


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A JSON-RPC error object."""

    code: int
    message: str
    data: dict[str, Any] = {}


class RequestError(Exception):
    """Raise it to answer a request with exactly this problem."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.message)
        self.problem = problem


def problem(kind: Kind, detail: str, **more: Any) -> Problem:
    """Make the error object of ``kind``; ``detail`` is one sentence fit to show, ``more`` goes into ``data``."""
    detail = _RESETS_A_CLIENT.sub("link", detail[:MAX_DETAIL_CHARS])
    return Problem(
        code=kind.code, message=detail, data={"status": kind.status, "type": kind.type, "detail": detail, **more}
    )


def of(error: Exception) -> Problem:
    """Return what answers a request that ended in ``error``. What is not ours to explain is a plain -32603."""
    if isinstance(error, RequestError):
        return error.problem
    for ancestor in type(error).__mro__:
        kind = _OF_ERROR.get(ancestor)
        if kind is not None and isinstance(error, errors.PlurnkError):
            return problem(kind, error.detail)
    return problem(Kind.INTERNAL, "internal error; the daemon's log has the details")


def method_not_found(method: str) -> Problem:
    return problem(Kind.METHOD_NOT_FOUND, f"no method {method!r}; discover lists what there is")


def timeout(method: str, limit_ms: int) -> Problem:
    return problem(Kind.TIMEOUT, f"{method} took longer than {limit_ms} ms and was cancelled", limitMs=limit_ms)


def too_many_requests(limit: int) -> Problem:
    return problem(Kind.TOO_MANY_REQUESTS, f"{limit} requests are in flight already; wait for an answer", limit=limit)


def invalid_params(detail: str) -> RequestError:
    return RequestError(problem(Kind.INVALID_PARAMS, detail))


def run_not_found(run: int | str) -> RequestError:
    return RequestError(problem(Kind.SESSION_NOT_FOUND, f"no run {run!r} in this session"))


def loop_not_found(detail: str) -> RequestError:
    """No such loop, or turn of a loop."""
    return RequestError(problem(Kind.LOOP_NOT_FOUND, detail))


def entry_not_found(target: str) -> RequestError:
    return RequestError(problem(Kind.ENTRY_NOT_FOUND, f"no entry {target}"))
