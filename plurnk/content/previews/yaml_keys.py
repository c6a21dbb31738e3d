"""YAML: the keys of its block mappings, nested, and lines of its head (SPEC 2.8).

Read as a stream of events: nothing is built, no alias is followed, and depth costs no recursion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import yaml

from plurnk.content.previews.outline import Handler, line_from, outline_with_head

# libyaml's, unless PyYAML was built without it.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)  # not frozen: there are thousands, and that makes them three times as dear
class _Key:
    """A key, or the ``---`` of a document, at offset ``at``; ``dash`` is before the first key of an item."""

    content: str
    at: int
    depth: int
    dash: str = ""

    @property
    def line(self) -> int:
        # Marks of YAML also count breaks that are none to an operation.
        return self.content.count("\n", 0, self.at) + 1

    @property
    def text(self) -> str:
        return self.dash + line_from(self.content, self.at)


@dataclass(slots=True)
class _Open:
    """A collection that is being read; its keys, or those of its items, lie at ``depth``."""

    kind: Literal["document", "sequence", "mapping"]
    depth: int = 0
    is_flow: bool = False
    is_item: bool = False
    children: int = 0

    def depth_of_key(self) -> int:
        """Of the latest key: the first key of an item stands for the item, its others lie below it."""
        return self.depth + (self.is_item and self.children > 2)


def keys(content: str) -> Iterator[_Key]:
    """Every key of a block mapping, and ``---`` for every document but the first.

    Raises:
        yaml.YAMLError: ``content`` is not YAML.
    """
    opened = [parent := _Open("document")]
    for event in yaml.parse(content, Loader=_LOADER):
        if isinstance(event, yaml.NodeEvent):
            parent.children += 1
            if parent.kind == "mapping" and parent.children % 2 and not parent.is_flow:
                dash = "- " if parent.is_item and parent.children == 1 else ""
                yield _Key(content, _offset(event), parent.depth_of_key(), dash)
            if isinstance(event, yaml.CollectionStartEvent):
                opened.append(parent := _open(event, parent))
        elif isinstance(event, yaml.CollectionEndEvent):
            opened.pop()
            parent = opened[-1]
        elif isinstance(event, yaml.DocumentStartEvent) and event.explicit and parent.children:
            yield _Key(content, _offset(event), 0)


def _offset(event: yaml.Event) -> int:
    return 0 if event.start_mark is None else event.start_mark.index


def _open(event: yaml.CollectionStartEvent, parent: _Open) -> _Open:
    return _Open(
        "mapping" if isinstance(event, yaml.MappingStartEvent) else "sequence",
        depth=parent.depth_of_key() + 1 if parent.kind == "mapping" else parent.depth,
        is_flow=bool(event.flow_style) or parent.is_flow,
        is_item=parent.kind == "sequence",
    )


def _preview(content: str, budget_chars: int) -> str:
    try:
        found = tuple(keys(content))
    except yaml.YAMLError:
        return ""
    return outline_with_head(found, content, budget_chars)


handler: Final = Handler("application/yaml", _preview)
