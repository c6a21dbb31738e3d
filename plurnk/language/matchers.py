"""Matchers: their dialect, and whether they compile (SPEC 1.4). Evaluating them is not the language's.

Checked are the whole of a regex (``regex``), of a JSONPath by the grammar and the types of RFC 9535
(``jsonpath``), and of an XPath by the grammar of XPath 1.0 (``xpath``: which functions, variables and
prefixes there are is not known here). Any glob will do.
"""

from __future__ import annotations

import re
from typing import Final

from plurnk.errors import Malformed
from plurnk.language.ast import GlobMatcher, JsonpathMatcher, Matcher, RegexMatcher, XpathMatcher
from plurnk.language.jsonpath import check_jsonpath
from plurnk.language.regex import check_regex
from plurnk.language.wording import quote
from plurnk.language.xpath import check_xpath

_PATTERN: Final = re.compile(r"/((?:[^\\/]++|\\.)*+)/", re.DOTALL)
_ESCAPE: Final = re.compile(r"\\(.)", re.DOTALL)
_OTHER_THAN_FLAG: Final = re.compile(r"[^gimsu]")


def parse_matcher(raw: str) -> Matcher:
    """Read a matcher: ``//`` is an XPath, ``/pattern/flags`` a regex, ``$`` a JSONPath, the rest globs.

    Raises:
        Malformed: a regex is not closed, or the matcher does not compile.
    """
    if raw.startswith("//"):
        check_xpath(raw)
        return XpathMatcher(raw=raw)
    if raw.startswith("/"):
        return _regex(raw)
    if raw.startswith("$"):
        check_jsonpath(raw)
        return JsonpathMatcher(raw=raw)
    return GlobMatcher(raw=raw)


def _regex(raw: str) -> RegexMatcher:
    closed = _PATTERN.match(raw)
    if closed is None:
        raise Malformed("expected '/' at the end of regex; got end of body")
    flags = raw[closed.end() :]
    if other := _OTHER_THAN_FLAG.search(flags):
        raise Malformed(f"expected flags of 'gimsu' after regex; got {quote(other[0])}")
    pattern = _ESCAPE.sub(lambda escape: "/" if escape[1] == "/" else escape[0], closed[1])
    check_regex(pattern)
    return RegexMatcher(raw=raw, pattern=pattern, flags=flags)
