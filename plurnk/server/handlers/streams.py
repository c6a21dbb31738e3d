"""subscription.*: the live streams of a session, and their end."""

from __future__ import annotations

from collections.abc import Mapping

from plurnk.language.ast import LocalTarget, Read
from plurnk.language.targets import check_file_targets, entry_pathname, localized, parse_target
from plurnk.server.attachment import Client
from plurnk.server.methods import Handler
from plurnk.store import channels, entries, sessions, subscriptions
from plurnk.store.conclusions import AWAITING_INPUT
from plurnk.store.query import Snapshot
from plurnk.store.subscriptions import Subscription
from plurnk.wire import answers, params, problems


async def listing(client: Client, asked: params.SubscriptionListParams) -> answers.SubscriptionListResult:
    place = await client.state.place()

    def find(db: Snapshot) -> tuple[answers.SubscriptionView, ...]:
        found = subscriptions.of_session(db, place.session_id, include_closed=asked.all, limit=asked.limit)
        return tuple(_view(db, subscription) for subscription in found)

    return answers.SubscriptionListResult(subscriptions=await client.state.engine.store.read(find))


def _view(db: Snapshot, subscription: Subscription) -> answers.SubscriptionView:
    entry = entries.get(db, subscription.entry_id)
    lengths = {channel.name: channel.length_bytes for channel in channels.of_entry(db, subscription.entry_id)}
    is_live = subscription.closed_at is None
    return answers.SubscriptionView(
        id=subscription.id,
        run_id=subscription.run_id,
        entry_id=subscription.entry_id,
        target=entries.address(db, subscription.entry_id),
        scheme=subscription.scheme,
        handle=subscription.handle,
        opened_at=subscription.opened_at,
        stdout_bytes=lengths.get("stdout", 0),
        stderr_bytes=lengths.get("stderr", 0),
        awaiting_input=is_live and entry.attributes.get(AWAITING_INPUT) is True,
        closed_at=subscription.closed_at,
        close_status=subscription.close_status,
        close_detail=subscription.close_detail,
        exit_code=subscription.exit_code,
        signal=subscription.signal,
    )


async def cancel(client: Client, asked: params.SubscriptionCancelParams) -> answers.SubscriptionCancelResult:
    """End a stream, and answer when nothing of it is left. One that had ended is answered as well (SPEC 4.5)."""
    if (asked.id is None) == (asked.target is None):
        given = "neither" if asked.id is None else "both"
        raise problems.invalid_params(f"id, target: expected exactly one of them; got {given}")
    place, engine = await client.state.place(), client.state.engine

    def find(db: Snapshot) -> tuple[Subscription, str] | None:
        if asked.id is not None:
            stream = _by_id(db, place.session_id, asked.id)
        else:
            stream = _by_target(db, place.session_id, asked.target or "")
        return None if stream is None else (stream, entries.address(db, stream.entry_id))

    found = await engine.store.read(find)
    if found is None:
        named = f"no stream {asked.id}" if asked.target is None else f"no stream of {asked.target}"
        return answers.SubscriptionCancelResult(status=404, error=f"there is {named} in this session")
    stream, target = found
    if stream.closed_at is None:
        await engine.streams.cancel_subscription(stream.id, reason="cancelled by a client")
    # Gone: its entry was deleted meanwhile, and the stream with it.
    ended = await engine.store.read(lambda db: subscriptions.get(db, stream.id))
    return answers.SubscriptionCancelResult(
        status=200, target=target, close_status=subscriptions.CANCELLED if ended is None else ended.close_status
    )


def _by_id(db: Snapshot, session_id: int, subscription_id: int) -> Subscription | None:
    found = subscriptions.get(db, subscription_id)
    if found is None or sessions.get_run(db, found.run_id).session_id != session_id:
        return None
    return found


def _by_target(db: Snapshot, session_id: int, raw: str) -> Subscription | None:
    """The live stream of the entry, else its last one."""
    read = Read(target=parse_target(raw))
    check_file_targets(read)
    target = localized(read).target
    assert target is not None
    scheme = None if isinstance(target, LocalTarget) else target.scheme
    entry = entries.find(db, session_id, scheme, entry_pathname(target))
    streams = subscriptions.of_entry(db, entry.id) if entry is not None else []
    return max(streams, key=lambda stream: (stream.closed_at is None, stream.id), default=None)


HANDLERS: Mapping[str, Handler[Client]] = {"subscription.list": listing, "subscription.cancel": cancel}
