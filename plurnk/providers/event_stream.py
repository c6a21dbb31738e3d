"""Posting a request that is answered by a stream, of server-sent events or of lines of JSON, over httpx.

Importing httpx costs a start 50 ms, so whoever needs this module imports it when first used.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Protocol

import httpx
import msgspec
import trio

from plurnk.providers.errors import ProviderFailed, asked_to_wait_s, error_message, excerpt, may_succeed_later
from plurnk.providers.json_lines import LineReader
from plurnk.providers.sse import SseReader

MAX_ERROR_BYTES: Final = 16 << 10
"""Of a body that tells an error; error pages of proxies are about as long."""

ERROR_BODY_S: Final = 5.0
"""How long the body of an error is read: its status says enough, and a server may never end it."""

CONNECT_S: Final = 30.0
"""For the name and the connection, and for TLS. Where packets vanish, a kernel would try for minutes."""

NO_WAIT_S: Final = 0


class Reader(Protocol):
    """Makes events of bytes, however they are cut."""

    def feed(self, chunk: bytes) -> list[str]:
        """The events that ``chunk`` completes.

        Raises:
            ProviderFailed: one is larger than it may be.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamKind:
    """How events stand in a body."""

    name: str
    content_type: str
    reader: Callable[[], Reader]


SERVER_SENT_EVENTS: Final = StreamKind(name="event stream", content_type="text/event-stream", reader=SseReader)
JSON_LINES: Final = StreamKind(name="lines of JSON", content_type="application/x-ndjson", reader=LineReader)


@asynccontextmanager
async def open_events(
    client: httpx.AsyncClient,
    url: str,
    headers: Mapping[str, str],
    body: bytes,
    *,
    secret: str,
    kind: StreamKind = SERVER_SENT_EVENTS,
) -> AsyncIterator[AsyncIterator[str]]:
    """Post ``body`` and iterate over the data of the events that answer it.

    Leaving the block closes the response, ``Cancelled`` or not. No time limit is set here but that of connecting.

    Raises:
        ProviderFailed: no connection, a status other than 200, not a stream of that kind, a compressed one, a
            response that breaks off; when entering as well as from the iterator. It never shows ``secret``.
    """
    limit = httpx.Timeout(None, connect=CONNECT_S)
    try:
        request = client.build_request("POST", url, headers=dict(headers), content=body, timeout=limit)
        response = await client.send(request, stream=True, follow_redirects=False)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:  # ValueError: a host that is no name.
        raise _broken(error, secret) from None
    async with _Body(response) as chunks, aclosing(_checked(chunks, secret)) as received:
        if response.status_code != 200:
            raise await _refusal(response, received, secret)
        if not response.headers.get("content-type", "").lower().startswith(kind.content_type):
            said = _sentence(await _beginning(response, received), secret)
            raise ProviderFailed(f"the provider answered with no {kind.name}: {said}", http_status=200)
        if coding := _coding(response):
            told = f"the provider compressed its answer ({excerpt(coding, secret)}), which it was asked not to do"
            raise ProviderFailed(told, http_status=200)
        async with aclosing(_events(received, kind.reader())) as events:
            yield events


def _coding(response: httpx.Response) -> str:
    """How a body is compressed, though all requests ask for "identity"; "" for not.

    It is not undone: some 60 KiB of it may be gigabytes, which httpx would make at once.
    """
    coding: str = response.headers.get("content-encoding", "").strip()
    return "" if coding.lower() == "identity" else coding


class _Body:
    """The bytes of a response as they came; leaving ends the generators of httpx and httpcore that make them.

    They are nested, and ``aclose`` ends only the outermost; the others would be left to the garbage
    collector, which trio warns of. A read that is cancelled at once goes through all of them, and
    closes the connection if the response is not at its end anyway.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._chunks = response.aiter_raw()

    async def __aenter__(self) -> AsyncIterator[bytes]:
        return self._chunks

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            # Shield: that it ends is no sign that the block was cancelled.
            with trio.move_on_after(NO_WAIT_S, shield=True), suppress(httpx.HTTPError, httpx.StreamError):
                async for _ in self._chunks:
                    pass
        finally:
            await self._response.aclose()


async def _checked(chunks: AsyncIterator[bytes], secret: str) -> AsyncGenerator[bytes, None]:
    try:
        async for chunk in chunks:
            yield chunk
    except httpx.HTTPError as error:
        raise _broken(error, secret) from None


async def _events(received: AsyncIterator[bytes], reader: Reader) -> AsyncGenerator[str, None]:
    async for chunk in received:
        for event in reader.feed(chunk):
            yield event
            await trio.lowlevel.checkpoint()  # A chunk may have 1,000 events: others get their turn, a cancel is heard.


def _broken(error: Exception, secret: str) -> ProviderFailed:
    """``from None``: the request, key and all, hangs on httpx's exceptions."""
    said = excerpt(f"{type(error).__name__}: {error}".removesuffix(": "), secret)
    return ProviderFailed(f"no answer from the provider: {said}", transient=isinstance(error, httpx.TransportError))


async def _refusal(response: httpx.Response, received: AsyncIterator[bytes], secret: str) -> ProviderFailed:
    status = response.status_code
    said = await _beginning(response, received)
    return ProviderFailed(
        f"the provider answered {status}: {_sentence(said, secret)}",
        http_status=status,
        retry_after_s=asked_to_wait_s(response.headers, said),
        transient=may_succeed_later(status, response.headers, said),
    )


async def _beginning(response: httpx.Response, received: AsyncIterator[bytes]) -> Any:
    """What the beginning of a body says, as JSON if it is some."""
    if coding := _coding(response):
        return f"({coding})"
    read = bytearray()
    with suppress(ProviderFailed), trio.move_on_after(ERROR_BODY_S):  # What came before is still worth showing.
        async for chunk in received:
            read += chunk
            if len(read) >= MAX_ERROR_BYTES:
                break
    text = read.decode("utf-8", "replace")
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return text


def _sentence(said: Any, secret: str) -> str:
    return excerpt(error_message(said), secret) or "(nothing)"
