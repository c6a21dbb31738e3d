"""Matchers: what they are run on (``subject``), and running them (``evaluation``, SPEC 2.6).

``evaluation`` brings in parsers for JSON paths and markup, and bounds no time: it is for the processes of
``plurnk.workers``. Whoever asks those needs ``subject`` alone.
"""

from __future__ import annotations

from plurnk.content.matching.subject import Rows, Subject, applies, needs_whole

__all__ = ["Rows", "Subject", "applies", "needs_whole"]
