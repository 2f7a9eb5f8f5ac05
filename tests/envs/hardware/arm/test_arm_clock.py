"""Time in the arm's control loop: periods without drift, and goals along a ramp."""

import numpy as np
import pytest

from envs.hardware.arm.arm_clock import FixedRate
from envs.hardware.arm.arm_goals import GoalStream


class Time:
    """Clock that only advances by sleeping."""

    def __init__(self) -> None:
        self.now = 100.0

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.now += seconds


@pytest.fixture
def time() -> Time:
    return Time()


def test_periods_do_not_drift_while_the_work_varies(time: Time) -> None:
    rate = FixedRate(10.0, 0.5, time.clock, time.sleep)
    ends = []
    for work in (0.0, 0.03, 0.09, 0.05, 0.0):
        time.sleep(work)  # a policy thinks before it commands
        ends.append(rate.begin())
        rate.wait()
        assert time.now == pytest.approx(ends[-1])
    np.testing.assert_allclose(np.diff(ends), 0.1)
    assert rate.overruns == 0 and rate.worst_overrun == 0


def test_an_overrun_is_counted_once_and_gets_a_whole_period(time: Time) -> None:
    rate = FixedRate(10.0, 0.5, time.clock, time.sleep)
    rate.begin()
    rate.wait()
    time.sleep(0.13)
    assert rate.begin() == pytest.approx(time.now + 0.1)
    rate.wait()
    assert rate.overruns == 1 and rate.worst_overrun == pytest.approx(0.03)
    rate.begin()
    time.sleep(0.15)  # within the period, as a bus in trouble
    rate.wait()
    assert rate.overruns == 2 and rate.worst_overrun == pytest.approx(0.05)
    assert rate.begin() == pytest.approx(time.now + 0.1)
    rate.wait()
    assert rate.overruns == 2


def test_a_pause_is_no_overrun(time: Time) -> None:
    rate = FixedRate(10.0, 0.5, time.clock, time.sleep)
    rate.begin()
    rate.wait()
    time.sleep(2.0)
    assert rate.begin() == pytest.approx(time.now + 0.1)
    time.sleep(0.3)
    assert (rate.pauses, rate.longest_pause) == (1, pytest.approx(1.9))
    rate.restart()
    rate.wait()
    assert rate.begin() == pytest.approx(time.now + 0.1) and rate.overruns == 0
    assert rate.pauses == 1, "a restart is no pause"


@pytest.fixture
def sent() -> list[tuple[float, float]]:
    return []


@pytest.fixture
def goals(time: Time, sent: list[tuple[float, float]]) -> GoalStream:
    def send(targets: np.ndarray) -> None:
        sent.append((time.now, float(targets[0])))

    return GoalStream(send, 50.0, time.clock, time.sleep)


def test_a_ramp_is_even_and_done_by_the_end(
    goals: GoalStream, time: Time, sent: list[tuple[float, float]]
) -> None:
    goals.start_from(np.zeros(6))
    goals.ramp(np.full(6, 0.5), time.now + 0.1)
    times, values = np.transpose(sent)
    np.testing.assert_allclose(values, [0.1, 0.2, 0.3, 0.4, 0.5])
    np.testing.assert_allclose(times, 100 + np.array([0.0, 0.02, 0.04, 0.06, 0.08]))
    assert goals.sent is not None and goals.sent[0] == 0.5


def test_a_held_up_ramp_skips_goals_instead_of_sending_a_burst(
    time: Time, goals: GoalStream, sent: list[tuple[float, float]]
) -> None:
    goals.start_from(np.zeros(6))
    held_up = iter([0.05, 0.0, 0.0, 0.0])
    sleep = time.sleep
    goals._sleep = lambda seconds: sleep(seconds + next(held_up))
    goals.ramp(np.full(6, 0.5), time.now + 0.1)
    values = [value for _, value in sent]
    np.testing.assert_allclose(values, [0.1, 0.4, 0.5])
    assert len({at for at, _ in sent}) == len(sent) and time.now <= 100.1


def test_a_ramp_whose_end_has_passed_sends_its_goal_at_once(
    goals: GoalStream, time: Time, sent: list[tuple[float, float]]
) -> None:
    goals.start_from(np.zeros(6))
    goals.ramp(np.full(6, 0.5), time.now - 0.1)
    assert sent == [(100.0, 0.5)]


def test_send_changed_sends_only_changes(
    goals: GoalStream, sent: list[tuple[float, float]]
) -> None:
    goals.start_from(np.zeros(6))
    goals.send_changed(np.full(6, 1e-5))
    assert sent == []
    goals.send_changed(np.full(6, 1e-3))
    assert len(sent) == 1
