"""A hand that leads the leader by eye, and sees whether the follower comes after it."""

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from envs.hardware.virtual_hand import PERIOD, VirtualHand
from envs.hardware.virtual_table import FULL_SPEED, VirtualTable

FloatArray = NDArray[np.float64]

_TAKING_HOLD = 0.25  # [s]
_SMOOTHING = 0.08  # of the hand's velocity [s]
_COMES_AFTER = 0.25  # the follower is about so late [s]
_LONGEST_LEASH = 0.03  # between where the hand wants the leader and where it is [m]
_LOWEST = 0.003  # the leader's own table [m]
_SLOW = 1.0  # until the follower has been let loose after a change of hands [s]
_WINDOW = 0.4  # over which the ways of both arms are compared [s]
_SHORT = 0.02  # a way of the leader that tells nothing yet [m]
_FOLLOWS = 0.15  # of the leader's way at least
_DOUBTS = 15  # looks in a row at a follower that does not
_SUSPICIONS = 5  # where it seems to have a goal of its own


class Leading:
    """Leads the leader's TCP with a velocity.

    Args:
        hand: on the leader.
        table: where the follower is seen.
        clock: returns the time [s].
    """

    def __init__(self, hand: VirtualHand, table: VirtualTable, clock: Callable[[], float]) -> None:
        self._hand, self._table, self._clock = hand, table, clock
        self._wanted, self._velocity, self._tcp = np.zeros(3), np.zeros(3), np.zeros(3)
        self._began = self._stepped = 0.0
        self._ways: deque[tuple[float, FloatArray, FloatArray]] = deque()
        self._doubts = 0

    def in_vain(self, goes_elsewhere: bool) -> bool:
        """Says whether the follower does not do what the leader does: nobody listens.

        Args:
            goes_elsewhere: whether it seems to have a goal of its own.
        """
        return self._doubts >= (_SUSPICIONS if goes_elsewhere else _DOUBTS)

    @property
    def coming(self) -> FloatArray:
        """How far the follower will still come after the leader, shape (3,) [m]."""
        if not self._ways:
            return np.zeros(3)
        now, _, leader = self._ways[-1]
        earlier = next(way for time, _, way in self._ways if time >= now - _COMES_AFTER)
        return leader - earlier

    def aligned(self, follower: FloatArray, within: float) -> bool:
        """Says whether the leader is where the follower is.

        Args:
            follower: its joint angles, shape (6,) [rad].
            within: how near each joint has to be [rad].
        """
        return bool(np.abs(self._hand.joints - follower).max() < within)

    def begin(self) -> None:
        """Takes hold of the leader where it is."""
        self._hand.grab()
        self._tcp = self._hand.tcp
        self._began = self._stepped = self._clock()
        self._ways.clear()
        self._doubts = 0
        self._wanted, self._velocity = np.zeros(3), np.zeros(3)

    def turn(self, direction: FloatArray) -> None:
        """Leads that way from now on, in shares of the full speed, shape (3,)."""
        self._wanted = FULL_SPEED * direction

    def step(self) -> None:
        """Leads on, and compares."""
        now = self._clock()
        passed, self._stepped = min(now - self._stepped, 2.5 * PERIOD), now
        if now - self._began < _TAKING_HOLD:
            return
        self._velocity += (self._wanted - self._velocity) * -np.expm1(-passed / _SMOOTHING)
        leader = self._hand.tcp
        ahead = self._tcp + passed * self._velocity - leader
        ahead *= min(1.0, _LONGEST_LEASH / max(float(np.linalg.norm(ahead)), 1e-9))
        self._tcp = leader + ahead
        self._tcp[2] = max(self._tcp[2], _LOWEST)
        self._hand.lead_to(self._tcp)
        self._compare(now, leader)

    def end(self) -> float:
        """Lets go; returns how long the hand has led [s]."""
        self._hand.let_go()
        return self._clock() - self._began

    def _compare(self, now: float, leader: FloatArray) -> None:
        self._ways.append((now, self._table.follower_tcp(), leader))
        while self._ways[0][0] < now - _WINDOW:
            self._ways.popleft()
        _, follower_then, leader_then = self._ways[0]
        way = leader - leader_then
        length = float(np.linalg.norm(way))
        if length < _SHORT or now - self._began < _SLOW:
            return
        follows = (self._ways[-1][1] - follower_then) @ way / length
        self._doubts = self._doubts + 1 if follows < _FOLLOWS * length else 0
