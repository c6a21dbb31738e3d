"""READ of one channel: slice by line or item, then the matcher, at most so many characters (SPEC 2.4)."""

from __future__ import annotations

from plurnk.content import globs, json_items, lines, mimetypes
from plurnk.content.canonical import canonical_json
from plurnk.errors import Unsupported, UnsupportedType
from plurnk.language.ast import GlobMatcher, LineMarker, Matcher
from plurnk.store import channels
from plurnk.store.channels import Channel
from plurnk.store.query import Snapshot
from plurnk.wire.results import OpResult

SNIFF_BYTES: int = 4096
"""How much of a channel of unknown type is looked at to tell text from binary."""


def read(
    db: Snapshot, channel: Channel, marker: LineMarker | None, matcher: Matcher | None, *, max_chars: int
) -> OpResult:
    """Read a channel; a result of 200, 206 (cut at ``max_chars``: ``nextLine`` says where to go on) or 204.

    Raises:
        NoSuchRange, UnsupportedType, Malformed: the marker or matcher does not fit the content.
        Unsupported: a matcher that is no glob.
    """
    if matcher is not None and not isinstance(matcher, GlobMatcher):
        raise Unsupported(f"content can be matched by glob, not by {matcher.__struct_config__.tag}")
    head = channels.read_bytes(db, channel, 0, SNIFF_BYTES)
    text = mimetypes.is_text(channel.mimetype, head, complete=channel.length_bytes <= SNIFF_BYTES)
    if not text and (marker is not None or matcher is not None):
        raise UnsupportedType(f"channel {channel.name} is {channel.mimetype}, which has no lines")
    if marker is not None and mimetypes.is_json(channel.mimetype):
        result = _read_items(db, channel, marker)
    else:
        result = _read_lines(db, channel, marker, max_chars)
    return result if matcher is None or result.status == 204 else _matched(result, matcher)


def _read_items(db: Snapshot, channel: Channel, marker: LineMarker) -> OpResult:
    content = channels.read_bytes(db, channel).decode("utf-8", "replace")
    items = json_items.slice_items(content, marker)
    if not items.count:
        return _nothing(channel)
    return OpResult(
        status=200, content=items.text, mimetype=channel.mimetype, channel=channel.name, start_line=items.start_line
    )


def _read_lines(db: Snapshot, channel: Channel, marker: LineMarker | None, max_chars: int) -> OpResult:
    if marker is None:
        first, last = 1, channel.lines
    else:
        span = lines.resolve(marker, channel.lines)
        if isinstance(span, lines.Insertion):
            return _nothing(channel)
        first, last = span.first, span.last
    if last < first:
        return _nothing(channel)
    # A character is at least a byte, so this many bytes are never more characters than allowed.
    data, read_to, complete = channels.read_lines(db, channel, first, last, max_chars)
    content = data.decode("utf-8", "replace")
    return OpResult(
        status=200 if complete else 206,
        content=content if marker is None else lines.without_final_newline(content),
        mimetype=channel.mimetype,
        channel=channel.name,
        start_line=first,
        next_line=read_to + 1 if read_to < last else None,
    )


def _nothing(channel: Channel) -> OpResult:
    return OpResult(status=204, content="", mimetype=channel.mimetype, channel=channel.name)


def _matched(result: OpResult, matcher: GlobMatcher) -> OpResult:
    """The rows of whole lines that fit ``matcher``, numbered as in the source."""
    fits = globs.line_glob(matcher.raw)
    rows = [
        {"line": number, "matched": line}
        for number, line in enumerate((result.content or "").removesuffix("\n").split("\n"), result.start_line or 1)
        if fits(line)
    ]
    if not rows:
        return OpResult(status=204, content="", mimetype="application/json", channel=result.channel, matches=0)
    return OpResult(
        status=200, content=canonical_json(rows), mimetype="application/json", channel=result.channel, matches=len(rows)
    )
