"""JSON-RPC 2.0 in both directions: frames to requests, answers to frames (SPEC 6.1).

A frame is read in two steps. ``decode`` reads the envelope and leaves ``params`` as raw JSON; the
method's own type reads that, once (``methods.Method.decode``). Whatever the bytes are, ``decode``
returns: what cannot be a request comes back as the ``Fault`` that answers it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import UNSET, Raw, UnsetType

from plurnk.wire import problems
from plurnk.wire.explain import explain
from plurnk.wire.problems import Kind, Problem

# As many as one client may have in flight (6.6). It also bounds what a frame of "[0,0,0,…" costs:
# 16 MiB of it would be eight million error objects.
MAX_BATCH: Final = 64

NULL: Final = Raw(b"null")
_NO_PARAMS: Final = Raw(b"{}")
_EMPTY_ARRAY: Final = re.compile(rb"\[[ \t\r\n]*\]")

T = TypeVar("T")


class Call(msgspec.Struct, frozen=True):
    """A request, or a notification when ``id`` is None. ``id`` is the client's own spelling, to be echoed."""

    method: str
    params: Raw
    id: Raw | None


class Fault(msgspec.Struct, frozen=True):
    """What came instead of a request, to be answered with ``problem``."""

    problem: Problem
    id: Raw = NULL


Item: TypeAlias = Call | Fault


class Incoming(msgspec.Struct, frozen=True):
    """What one frame held. The answers to a ``batch`` go out together, as one array."""

    items: tuple[Item, ...]
    batch: bool = False


class _Envelope(msgspec.Struct):
    jsonrpc: Literal["2.0"]
    method: str
    params: Raw = _NO_PARAMS
    id: Raw | UnsetType = UNSET


class _IdOnly(msgspec.Struct):
    id: Raw = NULL


# A struct read from an array: unlike ``list[Raw]`` it stops at the first element too many.
_Batch: Final = msgspec.defstruct(
    "_Batch",
    [(f"item_{n}", Raw | UnsetType, UNSET) for n in range(MAX_BATCH)],
    array_like=True,
    forbid_unknown_fields=True,
)
_JSON: Final = msgspec.json.Decoder(Raw)
_ENVELOPE: Final = msgspec.json.Decoder(_Envelope)
_ID_ONLY: Final = msgspec.json.Decoder(_IdOnly)
_ID: Final = msgspec.json.Decoder(int | str | None)
_BATCH: Final = msgspec.json.Decoder(_Batch)
_ENCODER: Final = msgspec.json.Encoder()


class _Broken(Exception):
    """The text is no JSON; the message says why."""


def _read(decoder: msgspec.json.Decoder[T], text: bytes | Raw) -> T:
    """Decode.

    Raises:
        _Broken: not JSON, not UTF-8, or nested deeper than the decoder's stack.
        msgspec.ValidationError: JSON of another shape.
    """
    try:
        return decoder.decode(text)
    except msgspec.ValidationError:
        _read(_JSON, text)  # what is no JSON further on is told as that
        raise
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _Broken(f"not JSON: {error}") from error
    except RecursionError as error:
        raise _Broken("not JSON that can be read: nested too deeply") from error


def decode(frame: bytes) -> Incoming:
    """Read one frame. Raises nothing, whatever the bytes are."""
    if not frame.lstrip(b" \t\r\n").startswith(b"["):
        return Incoming((_item(frame),))
    try:
        texts = [text for text in msgspec.structs.astuple(_read(_BATCH, frame)) if text is not UNSET]
    except _Broken as error:
        return Incoming((Fault(problems.problem(Kind.PARSE, str(error))),))
    except msgspec.ValidationError:
        return Incoming((_invalid(f"a batch holds at most {MAX_BATCH} requests"),))
    if not texts:
        return Incoming((_invalid("a batch holds at least one request"),))
    return Incoming(tuple(_item(text) for text in texts), batch=True)


def _item(text: bytes | Raw) -> Item:
    try:
        envelope = _read(_ENVELOPE, text)
        call_id = None if isinstance(envelope.id, UnsetType) else _checked(envelope.id)
    except _Broken as error:
        return Fault(problems.problem(Kind.PARSE, str(error)))
    except msgspec.ValidationError as error:
        return _invalid(explain(str(error), _Envelope).replace("params: ", "request: ", 1), _id_of(text))
    return Call(envelope.method, envelope.params, call_id)


def _checked(call_id: Raw) -> Raw:
    """Return ``call_id`` as it is, a number too long for any integer type included.

    Raises:
        msgspec.ValidationError: it is neither a string nor an integer nor null.
    """
    try:
        _read(_ID, call_id)
    except msgspec.ValidationError as error:
        raise msgspec.ValidationError(f"{error} - at `$.id`") from error
    return call_id


def _id_of(text: bytes | Raw) -> Raw:
    """Return the id of a request that is broken elsewhere, null where there is none to be had."""
    try:
        return _checked(_read(_ID_ONLY, text).id)
    except (_Broken, msgspec.ValidationError):
        return NULL


def _invalid(detail: str, call_id: Raw = NULL) -> Fault:
    return Fault(problems.problem(Kind.INVALID_REQUEST, detail), call_id)


def decode_params(params: Raw, decoder: msgspec.json.Decoder[T]) -> T:
    """Read ``params`` as the decoder's type; ``[]`` stands for ``{}``.

    Raises:
        RequestError: -32602, naming the field and what it should be.
    """
    if _EMPTY_ARRAY.fullmatch(memoryview(params)):
        params = _NO_PARAMS
    try:
        return _read(decoder, params)
    except msgspec.ValidationError as error:
        raise problems.invalid_params(explain(str(error), decoder.type)) from error
    except _Broken as error:
        raise problems.invalid_params(f"params: {error}") from error


class _Result(msgspec.Struct, tag_field="jsonrpc", tag="2.0"):
    id: Raw
    result: Any


class _Error(msgspec.Struct, tag_field="jsonrpc", tag="2.0"):
    id: Raw
    error: Problem


def encode_result(call_id: Raw, result: msgspec.Struct | dict[str, Any] | None) -> bytes:
    """Write an answer; None is ``{}``, as a result is never null."""
    return _ENCODER.encode(_Result(call_id, {} if result is None else result))


def encode_error(call_id: Raw, problem: Problem) -> bytes:
    return _ENCODER.encode(_Error(call_id, problem))


def encode_batch(answers: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(answers) + b"]"


# The client's half.


class Answer(msgspec.Struct, frozen=True):
    """What answers the request ``id``: ``error`` or ``result``, still raw."""

    id: int | str | None
    result: Raw | None = None
    error: Problem | None = None


class Event(msgspec.Struct, frozen=True):
    """A notification from the daemon; ``params`` have ``eventId`` too when it is durable (6.5)."""

    method: str
    params: Raw = _NO_PARAMS


class _FromDaemon(msgspec.Struct):
    id: int | str | None = None
    method: str | None = None
    params: Raw = _NO_PARAMS
    result: Raw | UnsetType = UNSET
    error: Problem | None = None


_FROM_DAEMON: Final = msgspec.json.Decoder(_FromDaemon)


class _Request(msgspec.Struct, tag_field="jsonrpc", tag="2.0"):
    id: int | str
    method: str
    params: msgspec.Struct | dict[str, Any]


def encode_request(call_id: int | str, method: str, params: msgspec.Struct | dict[str, Any]) -> bytes:
    return _ENCODER.encode(_Request(call_id, method, params))


def decode_from_daemon(frame: bytes | str) -> Answer | Event:
    """Read what the daemon sent.

    Raises:
        msgspec.DecodeError: it is neither an answer nor a notification.
    """
    message = _FROM_DAEMON.decode(frame)
    if message.method is not None:
        return Event(message.method, message.params)
    result = None if isinstance(message.result, UnsetType) else message.result
    return Answer(message.id, result, message.error)
