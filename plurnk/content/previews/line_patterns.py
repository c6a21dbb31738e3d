"""Types whose parts can be told by how a line begins: INI, TeX, diffs, SQL, Perl (SPEC 2.8)."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from plurnk.content.previews.outline import Handler, Symbol, one_line, outline_with_head


@dataclass(frozen=True, slots=True)
class _Parts:
    """How lines begin that name a part, the outermost kind of part first."""

    patterns: tuple[re.Pattern[str], ...]

    def preview(self, content: str, budget_chars: int) -> str:
        found = [
            (number, kind, line)
            for number, line in enumerate(content.split("\n"), 1)
            for kind, pattern in enumerate(self.patterns)
            if pattern.match(line)
        ]
        # A kind that does not occur makes nothing deeper: an article has no chapters.
        kinds = sorted({kind for _, kind, _ in found})
        symbols = [Symbol(number, kinds.index(kind), one_line(line).rstrip(" {(")) for number, kind, line in found]
        return outline_with_head(symbols, content, budget_chars)


def _handler(mimetype: str, *patterns: str) -> Handler:
    return Handler(mimetype, _Parts(tuple(re.compile(pattern, re.IGNORECASE) for pattern in patterns)).preview)


ini: Final = _handler("text/x-ini", r"\s*\[.+\]", r"[\w.-]+\s*=")
tex: Final = _handler(
    "text/x-tex", *(rf"\s*\\{part}\*?[\[{{]" for part in ("part", "chapter", "section", "subsection", "subsubsection"))
)
diff: Final = _handler("text/x-diff", r"diff ", r"\+\+\+ ", r"@@ ")
sql: Final = _handler(
    "application/sql",
    r"\s*create\s+((or\s+replace|global|local|temp|temporary|unique|virtual|materialized)\s+)*"
    r"(database|function|index|procedure|schema|sequence|table|trigger|type|view)\s",
)
perl: Final = _handler("text/x-perl", r"\s*package\s+\w", r"\s*sub\s+\w")
