"""Posting a request that is answered by server-sent events, over httpx.

Importing httpx costs a start 50 ms, so whoever needs this module imports it when first used.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Final

import httpx
import msgspec
import trio

from plurnk.providers.errors import ProviderFailed, error_message, excerpt, is_transient, retry_after_s
from plurnk.providers.sse import SseReader

MAX_ERROR_BYTES: Final = 16 << 10
"""Of a body that tells an error; error pages of proxies are about as long."""

NO_WAIT_S: Final = 0


@asynccontextmanager
async def open_events(
    client: httpx.AsyncClient, url: str, headers: Mapping[str, str], body: bytes, *, secret: str
) -> AsyncIterator[AsyncIterator[str]]:
    """Post ``body`` and iterate over the data of the events that answer it.

    Leaving the block closes the response, ``Cancelled`` or not. No time limit is set here.

    Raises:
        ProviderFailed: no connection, a status other than 200, not an event stream, a response that
            breaks off; when entering as well as from the iterator. It never shows ``secret``.
    """
    try:
        request = client.build_request("POST", url, headers=dict(headers), content=body, timeout=None)
        response = await client.send(request, stream=True, follow_redirects=False)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:  # ValueError: a host that is no name.
        raise _broken(error, secret) from None
    async with _Body(response) as chunks, aclosing(_checked(chunks, secret)) as received:
        if response.status_code != 200:
            raise await _refusal(response, received, secret)
        if not response.headers.get("content-type", "").lower().startswith("text/event-stream"):
            said = await _beginning(received, secret)
            raise ProviderFailed(f"the provider answered with no event stream: {said}", http_status=200)
        async with aclosing(_events(received)) as events:
            yield events


class _Body:
    """The bytes of a response; leaving ends the generators of httpx and httpcore that make them.

    They are nested, and ``aclose`` ends only the outermost; the others would be left to the garbage
    collector, which trio warns of. A read that is cancelled at once goes through all of them, and
    closes the connection if the response is not at its end anyway.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._chunks = response.aiter_bytes()

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


async def _events(received: AsyncIterator[bytes]) -> AsyncGenerator[str, None]:
    reader = SseReader()
    async for chunk in received:
        for event in reader.feed(chunk):
            yield event


def _broken(error: Exception, secret: str) -> ProviderFailed:
    """``from None``: the request, key and all, hangs on httpx's exceptions."""
    said = excerpt(f"{type(error).__name__}: {error}".removesuffix(": "), secret)
    return ProviderFailed(f"no answer from the provider: {said}", transient=isinstance(error, httpx.TransportError))


async def _refusal(response: httpx.Response, received: AsyncIterator[bytes], secret: str) -> ProviderFailed:
    status = response.status_code
    return ProviderFailed(
        f"the provider answered {status}: {await _beginning(received, secret)}",
        http_status=status,
        retry_after_s=retry_after_s(response.headers.get("retry-after"), datetime.now(UTC)),
        transient=is_transient(status),
    )


async def _beginning(received: AsyncIterator[bytes], secret: str) -> str:
    """What the beginning of a body says, as one line."""
    read = bytearray()
    with suppress(ProviderFailed):  # What came before it broke off is still worth showing.
        async for chunk in received:
            read += chunk
            if len(read) >= MAX_ERROR_BYTES:
                break
    text = read.decode("utf-8", "replace")
    with suppress(msgspec.DecodeError, RecursionError):
        text = error_message(msgspec.json.decode(text))
    return excerpt(text, secret) or "(nothing)"
