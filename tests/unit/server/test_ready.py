"""What a daemon does when clients can come."""

from __future__ import annotations

import gc

import pytest

from plurnk.server.daemon import tell_ready


def test_its_url_is_told_and_what_a_start_has_made_is_searched_no_more(capsys: pytest.CaptureFixture[str]) -> None:
    before = len(gc.get_objects())
    try:
        tell_ready("ws+unix:///somewhere")
        assert capsys.readouterr().out == "ws+unix:///somewhere\n"
        assert gc.get_freeze_count() > 1000
        assert len(gc.get_objects()) < before / 2
    finally:
        gc.unfreeze()
