"""What others send to a server, of whatever kind, neither ends it nor disturbs its robot."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.external.certificates import make_pair
from tests.external.fuzz import KINDS
from tests.external.fuzz_campaign import LOOPBACK, campaign


@pytest.mark.parametrize(("with_tls", "messages"), [(False, 2000), (True, 500)])
def test_a_robot_delivers_while_others_send_nonsense(
    with_tls: bool, messages: int, tmp_path: Path
) -> None:
    pair = make_pair(tmp_path, LOOPBACK) if with_tls else None
    outcome = campaign(tmp_path, messages, calm=0.5, seed=7, pair=pair)
    before, _, after = outcome.figures
    assert sum(outcome.sent.values()) >= messages and set(outcome.sent) == set(KINDS)
    # The server: no defect, a reason for the end of every connection, and no memory kept.
    assert after.defects == []
    assert after.clients == 0 and after.opened == after.reasons.total() > messages / 20
    assert after.resident - before.resident < 30
    # The robot: everything arrived once and in order, in time, over the same connection.
    assert outcome.delivered > 5 and outcome.is_exact and outcome.reconnections == 0
    assert np.median(outcome.fuzzed) < 1.0
    # Another one that comes now and then finds a place.
    assert outcome.welcomes and max(outcome.welcomes) < 10.0
