"""Which mimetype a path has, and what a mimetype means for reading (SPEC 2.3, 2.4, 3.4).

Everything here goes by the path and the type alone, but for ``is_text``, which may look at the bytes.
"""

from __future__ import annotations

import codecs
from collections.abc import Container, Mapping
from types import MappingProxyType
from typing import Final

MARKDOWN: Final = "text/markdown"
PLAIN: Final = "text/plain"
JSON: Final = "application/json"

# ``txt`` is missing on purpose: plain text takes the scheme's default, as a path without extension does.
BY_EXTENSION: Final[Mapping[str, str]] = MappingProxyType(
    {
        extension: mimetype
        for mimetype, extensions in {
            # data
            JSON: "json ipynb webmanifest",
            "application/geo+json": "geojson",
            "application/jsonl": "jsonl ndjson",
            "application/yaml": "yaml yml",
            "application/toml": "toml",
            "application/sql": "sql",
            "text/csv": "csv",
            "text/tab-separated-values": "tsv",
            # markup
            MARKDOWN: "md markdown mdx",
            "text/html": "html htm",
            "application/xhtml+xml": "xhtml",
            "application/xml": "xml xsd xsl xslt plist",
            "application/rss+xml": "rss",
            "application/atom+xml": "atom",
            "image/svg+xml": "svg",
            "text/css": "css scss less",
            "text/x-rst": "rst",
            "text/x-tex": "tex",
            # code
            "text/javascript": "js mjs cjs jsx",
            "application/typescript": "ts mts cts",
            "text/tsx": "tsx",
            "text/x-python": "py pyi",
            "text/x-c": "c h",
            "text/x-c++": "cc cpp cxx hh hpp hxx",
            "text/x-csharp": "cs",
            "text/x-go": "go",
            "text/x-java": "java",
            "text/x-kotlin": "kt kts",
            "text/x-lua": "lua",
            "text/x-perl": "pl pm",
            "text/x-php": "php",
            "text/x-ruby": "rb",
            "text/x-rust": "rs",
            "text/x-scala": "scala",
            "text/x-shellscript": "sh bash zsh",
            "text/x-swift": "swift",
            "text/x-diff": "diff patch",
            "text/x-ini": "ini cfg conf",
            "text/x-log": "log",
            # binary
            "application/gzip": "gz tgz",
            "application/octet-stream": "bin exe dll so pyc wasm",
            "application/pdf": "pdf",
            "application/vnd.sqlite3": "db sqlite sqlite3",
            "application/x-tar": "tar",
            "application/zip": "zip whl jar",
            "audio/mpeg": "mp3",
            "audio/wav": "wav",
            "font/woff2": "woff2",
            "image/gif": "gif",
            "image/jpeg": "jpg jpeg",
            "image/png": "png",
            "image/webp": "webp",
            "video/mp4": "mp4",
        }.items()
        for extension in extensions.split()
    }
)

_TEXT: Final = frozenset(
    {
        JSON,
        "application/ecmascript",
        "application/javascript",
        "application/jsonl",
        "application/sql",
        "application/toml",
        "application/typescript",
        "application/x-javascript",
        "application/x-typescript",
        "application/x-yaml",
        "application/xml",
        "application/yaml",
    }
)
_FAMILIES: Final = {"json": JSON, "xml": "application/xml", "yaml": "application/yaml"}
_TEXT_SUFFIXES: Final = tuple(f"+{suffix}" for suffix in _FAMILIES)


def mimetype_of(path: str, default: str) -> str:
    """The mimetype that the extension of ``path`` stands for, else ``default`` (the scheme's)."""
    stem, dot, extension = path.rpartition("/")[2].rpartition(".")
    return BY_EXTENSION.get(extension.lower(), default) if stem and dot else default


def is_text(mimetype: str, content: bytes, *, complete: bool = True) -> bool:
    """Whether a channel can be sliced, edited and matched: by type, or because its bytes are text.

    ``content`` may be the beginning of the channel only: with ``complete`` False a character that is
    cut off at its end does not count against it.
    """
    kind = _bare(mimetype)
    if kind.startswith("text/") or kind in _TEXT or kind.endswith(_TEXT_SUFFIXES):
        return True
    if b"\0" in content:
        return False
    try:
        codecs.getincrementaldecoder("utf-8")().decode(content, final=complete)
    except UnicodeDecodeError:
        return False
    return True


def is_json(mimetype: str) -> bool:
    """``application/json`` and ``+json``: line markers count items, jsonpath applies."""
    kind = _bare(mimetype)
    return kind == JSON or kind.endswith("+json")


def is_markup(mimetype: str) -> bool:
    """XML and HTML: xpath applies."""
    kind = _bare(mimetype)
    return kind in {"text/html", "text/xml", "application/xml"} or kind.endswith("+xml")


def is_line_addressed(mimetype: str) -> bool:
    """Whether content is shown with line numbers; JSON, XML and HTML are shown as they are."""
    return not is_json(mimetype) and not is_markup(mimetype)


def handler_type(mimetype: str, installed: Container[str]) -> str | None:
    """The type among ``installed`` whose handler is the one for ``mimetype``: its own, else its family's.

    The family of ``application/geo+json`` is ``application/json``, and so with ``+xml`` and ``+yaml``.
    """
    kind = _bare(mimetype)
    family = _FAMILIES.get(kind.rpartition("+")[2], "") if "+" in kind else ""
    return next((candidate for candidate in (kind, family) if candidate in installed), None)


def fits(mimetype: str, pattern: str) -> bool:
    """Whether ``mimetype`` is one that ``pattern`` means: ``text/plain``, ``text/*`` or ``*/*``."""
    family, _, kind = pattern.partition("/")
    own_family, _, own_kind = _bare(mimetype).partition("/")
    return family in {"*", own_family} and kind in {"*", own_kind}


def _bare(mimetype: str) -> str:
    """``mimetype`` without its parameters, in lower case."""
    return mimetype.partition(";")[0].strip().lower()
