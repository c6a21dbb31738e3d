"""YAML: the keys of its block mappings, nested, and lines of its head (SPEC 2.8).

Read as a stream of events: nothing is built, no alias is followed, and depth costs no recursion.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, Literal

import yaml

from plurnk.content.previews.outline import Handler, Symbol, line_from, outline_with_head

# libyaml's, unless PyYAML was built without it.
_LOADER: Final = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(slots=True)
class _Open:
    """A collection that is being read; its keys, or those of its items, lie at ``depth``."""

    kind: Literal["document", "sequence", "mapping"]
    depth: int = 0
    is_flow: bool = False
    is_item: bool = False
    children: int = 0

    def awaits_key(self) -> bool:
        return self.kind == "mapping" and self.children % 2 == 0

    def depth_of_key(self) -> int:
        """Of the latest key: the first key of an item stands for the item, its others lie below it."""
        return self.depth + (self.is_item and self.children > 2)


def keys(content: str) -> Iterator[Symbol]:
    """Every key of a block mapping with its line, and ``---`` for every document but the first.

    Raises:
        yaml.YAMLError: ``content`` is not YAML.
    """
    opened = [_Open("document")]
    line, counted = 1, 0
    for event in yaml.parse(content, Loader=_LOADER):
        parent, at = opened[-1], 0 if event.start_mark is None else event.start_mark.index
        if isinstance(event, yaml.NodeEvent):
            is_key = parent.awaits_key() and not parent.is_flow
            parent.children += 1
            if is_key:
                line, counted = line + content.count("\n", counted, at), at
                dash = "- " if parent.is_item and parent.children == 1 else ""
                yield Symbol(line, parent.depth_of_key(), dash + line_from(content, at))
            if isinstance(event, yaml.CollectionStartEvent):
                opened.append(_open(event, parent))
        elif isinstance(event, yaml.CollectionEndEvent):
            opened.pop()
        elif isinstance(event, yaml.DocumentStartEvent) and event.explicit and parent.children:
            line, counted = line + content.count("\n", counted, at), at
            yield Symbol(line, 0, "---")


def _open(event: yaml.CollectionStartEvent, parent: _Open) -> _Open:
    return _Open(
        "mapping" if isinstance(event, yaml.MappingStartEvent) else "sequence",
        depth=parent.depth_of_key() + 1 if parent.kind == "mapping" else parent.depth,
        is_flow=bool(event.flow_style) or parent.is_flow,
        is_item=parent.kind == "sequence",
    )


def _preview(content: str, budget_chars: int) -> str:
    try:
        symbols = tuple(keys(content))
    except yaml.YAMLError:
        return ""
    return outline_with_head(symbols, content, budget_chars)


handler: Final = Handler("application/yaml", _preview)
