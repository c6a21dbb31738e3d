"""What a turn's packet shows, read from the store in one snapshot (SPEC 3.4)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import count
from threading import Lock
from typing import Any, cast

import msgspec

from plurnk.content import mimetypes
from plurnk.engine.file_tiles import Tiles
from plurnk.engine.indexing import IndexMaker
from plurnk.engine.limits import Limits
from plurnk.engine.previews import Order, Previews
from plurnk.engine.run_texts import RunTexts
from plurnk.errors import TooLarge
from plurnk.language.ast import LocalTarget, Target, UrlTarget
from plurnk.language.targets import canonical
from plurnk.plugins.api import GenerateRequest, Message, Provider, Scheme
from plurnk.rules import packet
from plurnk.rules.context import packet_limit
from plurnk.rules.fitting import Folds
from plurnk.rules.packet import Packet
from plurnk.rules.snapshot import LogRow, PacketInputs
from plurnk.store import log, loops, packets, sessions, turns
from plurnk.store.log import TurnRef
from plurnk.store.loops import Loop
from plurnk.store.packets import Pieces
from plurnk.store.query import Snapshot
from plurnk.wire.notifications import LogEntry

COMMAND_CHARS: int = 120
"""So much of a command stands in its log row; its statement has the whole."""

KEPT_RUNS: int = 32
KEPT_CHARS: int = 128 * 1024 * 1024
"""Runs whose rendered log is kept in memory, and what those logs have together, unless one alone has more.

A model with a context of a million tokens sees some 4 million characters of a log; without a known context all of it.
"""

_READS = frozenset({"READ", "FIND"})
_TRANSFERS = frozenset({"COPY", "MOVE"})


class ContextExceeded(TooLarge):
    """The prompt, with what goes before and after it, is more than the model's context has room for."""


@dataclass(frozen=True, slots=True)
class Papers:
    """The texts that every packet begins with: the language card, and the persona of last resort."""

    definition: str
    persona: str


@dataclass(frozen=True, slots=True)
class Built:
    """The packet of a turn, how it is kept, what is asked of the provider, and previews that the packet lacks.

    ``folds``: how far the log had to be folded for it, None where no further than before.
    """

    packet: Packet
    pieces: Pieces
    request: GenerateRequest
    folds: Folds | None
    orders: tuple[Order, ...]


class PacketMaker:
    """Builds packets. ``build`` runs on a reader thread: a long log is no load for the event loop.

    What was rendered of a run's log is kept for KEPT_RUNS runs, so a turn costs what is new.
    """

    def __init__(self, papers: Papers, limits: Limits, schemes: Mapping[str, Scheme], previews: Previews) -> None:
        self.papers = papers
        self.limits = limits
        self.schemes = schemes
        self.previews = previews
        self._kept: dict[int, RunTexts] = {}
        self._builds = count()
        self._newest: dict[int, int] = {}
        self._keeping = Lock()  # of the two above: several builds may run at once, each on a thread

    def build(
        self,
        provider: Provider,
        loop: Loop,
        turn: TurnRef,
        tiles: Tiles,
        db: Snapshot,
        *,
        begun: RunTexts | None = None,
    ) -> Built | RunTexts:
        """The packet of the turn, complete but for its orders: there the plain previews stand.

        What was read, instead: the log is long, and there is more of it; call again, with that as ``begun``.

        ``tiles``: the indexed files as they were on disk a moment ago.

        Raises:
            ContextExceeded: what cannot be left out does not fit into the model's context.
        """
        number, kept = self._begin(loop.run_id)
        kept = begun or kept or RunTexts.open(db, loop.run_id)
        folds = packets.folds(db, loop.run_id)
        if not kept.read(db, folds, self._row, provider):
            return kept
        index = IndexMaker(
            db=db,
            schemes=self.schemes,
            previews=self.previews,
            preview_chars=self.limits.preview_chars,
            tiles=tiles,
            plain_before=kept.plain,
        )
        inputs = PacketInputs(
            definition=self.papers.definition,
            persona=self._persona(db, loop),
            index=kept.index(index.entries(loop), index.plain, provider),
            log=kept.texts(),
            prompts=tuple(loops.prompts(db, loop)),
            errors=turns.telemetry_before(db, turn),
            turn_number=turn.turn_seq,
            max_turns=loop.max_turns,
            context_size=provider.context_size,
            limit=self._limit(db, provider, turn),
            folds=folds,
            left_out=kept.left_out,
            recent_from=log.recent_from(db, turn),
        )
        try:
            made, fitted = packet.build(inputs, provider.count_tokens)
        except TooLarge as error:
            whole = f"of the {provider.context_size} that the model takes with its answer"
            raise ContextExceeded(f"{error.detail} {whole}; PLURNK_MODEL_<alias>__CONTEXT says how many") from None
        pieces = kept.pieces(db, made, fitted)
        marks = packet.cache_marks(made, kept.log_ends(fitted))
        self._keep(loop.run_id, kept, number)
        return Built(
            packet=made,
            pieces=pieces,
            request=self._request(made, marks),
            folds=fitted.folds if fitted.folded_rows else None,
            orders=tuple(index.orders.all),
        )

    def _begin(self, run_id: int) -> tuple[int, RunTexts | None]:
        """The number of a build that begins, and what is kept of the run, which is that build's from here on."""
        with self._keeping:
            number = self._newest[run_id] = next(self._builds)
            return number, self._kept.pop(run_id, None)

    def _keep(self, run_id: int, kept: RunTexts, number: int) -> None:
        """Keep what was read, unless another build has begun since: one that was abandoned knows an older log."""
        with self._keeping:
            if self._newest.get(run_id) != number:
                return
            self._kept[run_id] = kept  # at the end: the first is the one that was not asked for longest
            chars = sum(run.chars for run in self._kept.values())
            while len(self._kept) > 1 and (len(self._kept) > KEPT_RUNS or chars > KEPT_CHARS):
                oldest = next(iter(self._kept))
                chars -= self._kept[oldest].chars
                del self._kept[oldest], self._newest[oldest]

    def _limit(self, db: Snapshot, provider: Provider, turn: TurnRef) -> int | None:
        if provider.context_size is None:
            return None
        estimated, counted = turns.last_counted(db, turn)
        return packet_limit(provider.context_size, self.limits.reasoning_tokens, estimated=estimated, counted=counted)

    def _request(self, made: Packet, marks: tuple[int, ...]) -> GenerateRequest:
        return GenerateRequest(
            messages=(
                Message(role="system", content=packet.render_system(made)),
                Message(role="user", content=packet.render_user(made)),
            ),
            cache_marks=marks,
            reasoning_tokens=self.limits.reasoning_tokens,
        )

    def _persona(self, db: Snapshot, loop: Loop) -> str:
        """Loop > run > session > the file."""
        of_run = sessions.get_run(db, loop.run_id).persona
        of_session = sessions.get(db, loop.session_id).persona
        return next(p for p in (loop.persona, of_run, of_session, self.papers.persona) if p is not None)

    def _row(self, row: LogEntry) -> LogRow:
        shows_content = row.op in _READS
        return LogRow(
            loop_seq=row.loop_seq,
            turn_seq=row.turn_seq,
            sequence=row.sequence,
            op=row.op,
            origin=row.origin,
            status=row.status_rx,
            target=self._target(row),
            destination=self._destination(row),
            matcher=_matcher(row.tx.get("body")),
            matches=row.rx.get("matches"),
            content=row.rx.get("content") if shows_content else None,
            mimetype=row.rx.get("mimetype", mimetypes.PLAIN),
            start_line=row.rx.get("startLine"),
            next_line=row.rx.get("nextLine"),
            diff=row.rx.get("diff"),
            command=_command(row),
            entry=row.rx.get("entry"),
            error=row.rx.get("error"),
            outcome=row.outcome,
        )

    def _target(self, row: LogEntry) -> str | None:
        if row.pathname is None:
            return None
        if row.scheme is None:
            return row.pathname
        return self._address(
            UrlTarget(
                raw="",
                scheme=row.scheme,
                hostname=row.hostname,
                port=row.port,
                pathname=row.pathname,
                fragment=row.fragment,
            )
        )

    def _destination(self, row: LogEntry) -> str | None:
        body = row.tx.get("body")
        if row.op not in _TRANSFERS or not isinstance(body, dict):
            return None
        target: Target = msgspec.convert(body, UrlTarget | LocalTarget)
        return target.raw if isinstance(target, LocalTarget) else self._address(target)

    def _address(self, target: UrlTarget) -> str:
        """The canonical address, with ``#channel`` unless that is the default one."""
        scheme = self.schemes.get(target.scheme)
        default = scheme.manifest.default_channel if scheme is not None else None
        channel = "" if target.fragment in (None, default) else f"#{target.fragment}"
        return f"{canonical(target)}{channel}"


def _command(row: LogEntry) -> str | None:
    """The first line of what an EXEC ran, or was to run, cut to a length that a log can bear."""
    body = row.rx.get("command") or row.tx.get("body")
    if row.op != "EXEC" or row.origin == "system" or not isinstance(body, str) or not body.strip():
        return None
    first, *rest = body.strip().splitlines()
    return f"{first[:COMMAND_CHARS]}…" if rest or len(first) > COMMAND_CHARS else first


def _matcher(body: Any) -> str | None:
    """The matcher of a row as it was written; None when its body is something else."""
    fields = cast("dict[str, Any]", body) if isinstance(body, dict) else {}
    return fields["raw"] if "dialect" in fields else None
