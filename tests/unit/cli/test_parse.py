"""``plurnk parse``."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from plurnk.cli.app import main


def parsed(capsys: pytest.CaptureFixture[str], file: Path) -> tuple[int, dict[str, Any]]:
    code = main(["parse", str(file)])
    return code, json.loads(capsys.readouterr().out)


def test_a_clean_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "x"
    file.write_text("a note <<READ(known://a)::READ")
    code, result = parsed(capsys, file)
    assert code == 0
    assert [item["kind"] for item in result["items"]] == ["text", "statement"]


@pytest.mark.parametrize("text", ["<<READ[a<<b](known://a)::READ", "<<EDIT(known://a):never closed"])
def test_a_broken_text(tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str) -> None:
    file = tmp_path / "x"
    file.write_text(text)
    assert parsed(capsys, file)[0] == 1


def test_standard_input(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO("<<SEND[200]:grüße:SEND".encode())))
    assert main(["parse"]) == 0
    assert json.loads(capsys.readouterr().out)["items"][0]["statement"]["body"]["raw"] == "grüße"


@pytest.mark.parametrize(("content", "words"), [(None, "cannot be read"), (b"\xff", "is not UTF-8")])
def test_a_file_that_cannot_be_read(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: bytes | None, words: str
) -> None:
    file = tmp_path / "x"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SystemExit) as end:
        main(["parse", str(file)])
    assert end.value.code == 1
    assert words in capsys.readouterr().err
