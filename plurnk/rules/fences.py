"""Text in fences: how a block of lines stands in what a model reads (SPEC 3.4).

A *fence* is the line ``<<label:`` before a block and ``:label`` after it. Numbered lines begin with
their number and lines of a diff with their sign, so neither can look like the closing line. Where
content stands as it is (JSON, XML, HTML) and lines of it begin like the closing line, the label is
followed by one ``~`` more than any of them has there.
"""

from __future__ import annotations

from collections.abc import Sequence


def shown_lines(text: str, first_line: int | None = None) -> list[str]:
    """The lines of ``text``, numbered from ``first_line`` unless that is None."""
    lines = text.removesuffix("\n").split("\n")
    return lines if first_line is None else [f"{n}:\t{line}" for n, line in enumerate(lines, first_line)]


def fenced(label: str, body: Sequence[str]) -> list[str]:
    """``body`` between the lines of its fence."""
    # A file's name may hold a line break; a label is one line.
    label = label.replace("\r", "%0D").replace("\n", "%0A")
    closing = f":{label}"
    rests = [line[len(closing) :] for line in body if line.startswith(closing)]
    label += "~" * max((len(rest) - len(rest.lstrip("~")) + 1 for rest in rests), default=0)
    return [f"<<{label}:", *body, f":{label}"]
