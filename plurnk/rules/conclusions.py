"""How a stream ended, in one line: for people, and as the prompt of the loop that its end opens (SPEC 4.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

CANCELLED, TIMED_OUT = 499, 504


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """``bytes_by_channel``: those of the channels worth naming, in the order in which to name them."""

    address: str
    status: int
    detail: str | None
    exit_code: int | None
    signal: str | None
    duration_ms: int
    bytes_by_channel: Mapping[str, int] = field(default_factory=dict[str, int])


def summary(ended: Ended) -> str:
    """E.g. ``exec://sh-3 ended with exit code 1 after 12.3 s; 1,204 bytes on stdout, 33 on stderr``."""
    end, rest = _end(ended)
    if rest and ended.exit_code is None:  # why it ended belongs to the end; what is said of a command, to the close
        end, rest = f"{end}: {rest},", None
    text = f"{ended.address} {end} after {_duration(ended.duration_ms)}"
    if ended.bytes_by_channel:
        text += f"; {_bytes(ended.bytes_by_channel)}"
    return " ".join((f"{text}. {rest}" if rest else text).split())


def how(ended: Ended) -> str:
    """E.g. ``ended with exit code 1`` or ``was cancelled: SEND[499]``."""
    end, rest = _end(ended)
    return " ".join(f"{end}: {rest}".split()) if rest else end


def _end(ended: Ended) -> tuple[str, str | None]:
    """What happened, and what there is to say about it."""
    if ended.status == CANCELLED:
        return "was cancelled", ended.detail
    if ended.status == TIMED_OUT:
        return "ran over its time limit", ended.detail
    if ended.signal is not None:
        return f"was ended by {ended.signal}", ended.detail
    if ended.exit_code is not None:
        return f"ended with exit code {ended.exit_code}", ended.detail
    if ended.status == 200:
        return "ended", ended.detail
    return f"failed ({ended.status})", ended.detail


def _duration(duration_ms: int) -> str:
    seconds = duration_ms / 1000
    if round(seconds, 1) < 60:
        return f"{seconds:.1f} s"
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min {seconds} s" if hours else f"{minutes} min {seconds} s"


def _bytes(by_channel: Mapping[str, int]) -> str:
    """The unit is said once."""
    (first, count), *others = by_channel.items()
    unit = "byte" if count == 1 else "bytes"
    return ", ".join([f"{count:,} {unit} on {first}", *(f"{count:,} on {name}" for name, count in others)])
