"""Closing at the end of a ``with`` block."""

import pytest

from envs.closing import Closing


class Door(Closing):
    def __init__(self) -> None:
        self.closed = 0

    def close(self) -> None:
        self.closed += 1


def test_a_block_closes_at_its_end_and_propagates_errors() -> None:
    with Door() as door:
        assert door.closed == 0
    assert door.closed == 1
    with pytest.raises(KeyError), Door() as other:
        raise KeyError
    assert other.closed == 1
