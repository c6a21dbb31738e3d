"""What is sent to a worker: all of it, in pieces that are neither many nor large."""

from __future__ import annotations

import pytest

from plurnk.workers.pool import PIECE_BYTES, _pieces


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [0],
        [1, 0, 2],
        [PIECE_BYTES],
        [PIECE_BYTES + 1],
        [PIECE_BYTES - 1, 1, 1],
        [10, 3 * PIECE_BYTES, 20],
        [2 * PIECE_BYTES, 2 * PIECE_BYTES + 1],
        [100] * 5000,
    ],
)
def test_pieces_are_the_contents_in_their_order(sizes: list[int]) -> None:
    contents = [bytes([65 + number % 26]) * size for number, size in enumerate(sizes)]
    pieces = [bytes(piece) for piece in _pieces(contents)]
    assert b"".join(pieces) == b"".join(contents)
    assert all(len(piece) <= PIECE_BYTES for piece in pieces)
    assert len(pieces) <= 2 * sum(sizes) // PIECE_BYTES + 3
