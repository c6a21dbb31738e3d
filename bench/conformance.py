"""JSONPath by its published suite, the whole way: the parser's check of a selector, then rows of a document.

Started as ``python bench/conformance.py cts.json`` from the root. The npm package jsonpath-rfc9535
carries the suite as ``src/__tests__/jsonpath-compliance-test-suite/cts.json`` (``npm pack
jsonpath-rfc9535@1.3.0`` gets it). What fails is named, and then the exit code is 1. There is no such
table for XPath 1.0 in any package that was looked at.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from plurnk.content.matching import Subject
from plurnk.content.matching.evaluation import match_rows
from plurnk.errors import Malformed, PlurnkError
from plurnk.language.ast import JsonpathMatcher
from plurnk.language.matchers import parse_matcher

MAX_CHARS: Final = 2**20


def fault(test: dict[str, Any]) -> str | None:
    """What is wrong about how we do ``test``, or None."""
    try:
        matcher = parse_matcher(test["selector"])
    except Malformed as error:
        return None if test.get("invalid_selector") else f"refused: {error}"
    if test.get("invalid_selector"):
        # What does not begin with "$" is a matcher of another dialect, so no JSONPath either.
        return "accepted, and should be refused" if isinstance(matcher, JsonpathMatcher) else None
    data = json.dumps(test["document"]).encode()
    try:
        rows = json.loads(match_rows(matcher, Subject(data=data, mimetype="application/json"), MAX_CHARS).text)
    except PlurnkError as error:
        return f"raised: {error}"
    values, paths = [row["matched"] for row in rows], [row["matching"] for row in rows]
    if values not in test.get("results", [test.get("result")]):
        return f"values: {values}"
    if paths not in test.get("results_paths", [test.get("result_paths")]):
        return f"paths: {paths}"
    return None


def main() -> None:
    options = argparse.ArgumentParser(description="Run the JSONPath compliance suite.")
    options.add_argument("suite", type=Path, help="its cts.json")
    tests = json.loads(options.parse_args().suite.read_bytes())["tests"]
    faults = [(test["name"], why) for test in tests if (why := fault(test)) is not None]
    for name, why in faults:
        print(f"FAILED {name}: {why}")
    print(f"{len(tests) - len(faults)} of {len(tests)} passed")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
