"""The language (SPEC 1): text to statements and back. Pure: no I/O, no clock, and light to import.

``plurnk.language.schema`` is not imported here: it is run as a module.
"""

from __future__ import annotations

from plurnk.language.ast import (
    OPS,
    Copy,
    Edit,
    ErrorItem,
    Exec,
    Find,
    GlobMatcher,
    Hide,
    Item,
    JsonpathMatcher,
    LineMarker,
    LocalTarget,
    Matcher,
    Move,
    OpName,
    ParseError,
    ParseResult,
    Position,
    Read,
    RegexMatcher,
    Send,
    SendBody,
    Show,
    Statement,
    StatementItem,
    Target,
    TextItem,
    UnparsedTail,
    UrlTarget,
    XpathMatcher,
    op_name,
)
from plurnk.language.matchers import parse_matcher
from plurnk.language.parser import Parser, parse
from plurnk.language.regex import to_python_regex
from plurnk.language.render import render
from plurnk.language.targets import AUTHORITY_SCHEMES, canonical, entry_pathname, parse_target

__all__ = [
    "AUTHORITY_SCHEMES",
    "OPS",
    "Copy",
    "Edit",
    "ErrorItem",
    "Exec",
    "Find",
    "GlobMatcher",
    "Hide",
    "Item",
    "JsonpathMatcher",
    "LineMarker",
    "LocalTarget",
    "Matcher",
    "Move",
    "OpName",
    "ParseError",
    "ParseResult",
    "Parser",
    "Position",
    "Read",
    "RegexMatcher",
    "Send",
    "SendBody",
    "Show",
    "Statement",
    "StatementItem",
    "Target",
    "TextItem",
    "UnparsedTail",
    "UrlTarget",
    "XpathMatcher",
    "canonical",
    "entry_pathname",
    "op_name",
    "parse",
    "parse_matcher",
    "parse_target",
    "render",
    "to_python_regex",
]
