"""Leading by eye: a hand moves the leader and watches whether the follower follows."""

from collections import deque
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from envs.virtual.virtual_hand import PERIOD, VirtualHand
from envs.virtual.virtual_table import FULL_SPEED, VirtualTable

FloatArray = NDArray[np.float64]

_TAKING_HOLD = 0.25  # [s]
# A leader gets a moment to hold itself up: one that falls while its torque returns would count as
# grabbed.
_LETTING_GO = 0.6  # [s]
_SMOOTHING = 0.08  # time constant of the hand's velocity [s]
_LEASH = 0.03  # longest distance from the leader to where the hand wants it [m]
_LOWEST = 0.003  # lowest TCP above the leader's own table [m]
_LOW = 0.02  # largest height of the follower above a leader that can lead it down [m]
_BESIDE = 0.08  # largest distance to the sides [m]
# The operator that passes the hand's motion on does not wait for a follower 0.06 m behind.
_FAR = 0.05  # lag at which the hand waits for the follower [m]
_SLOWER = 0.025  # lag from which it slows down [m]
_FORGETS = 2.0  # time constant at which a lag is forgotten [s]
_SLOW = 1.0  # time in which the follower is still slow after a takeover [s]
_WINDOW = 0.3  # recent motion of the follower that is considered [s]
_COMES = 0.005  # least motion toward the leader in that time [m]
_DOUBTS = 25  # looks in a row at a follower that does not follow
_SUSPICIONS = 5  # the same where it seems to have a goal of its own
_CORNERED = 15  # looks in a row at a leader that cannot go lower


class Leading:
    """Hand that moves the leader's TCP with a velocity.

    Args:
        hand: Hand on the leader.
        table: Table on which the follower is seen.
        clock: Function that returns the time [s].
    """

    def __init__(self, hand: VirtualHand, table: VirtualTable, clock: Callable[[], float]) -> None:
        self._hand, self._table, self._clock = hand, table, clock
        self._wanted, self._velocity, self._tcp = np.zeros(3), np.zeros(3), np.zeros(3)
        self._lag, self._leader = np.zeros(3), np.zeros(3)
        self._began = self._stepped = 0.0
        self._leads = False
        self._leaves_at: float | None = None
        self._follower: deque[tuple[float, FloatArray]] = deque()
        self._doubts = self._cornered = 0

    @property
    def coming(self) -> FloatArray:
        """Motion by which the follower will still follow the leader, shape (3,) [m]."""
        return self._lag.copy()

    @property
    def cornered(self) -> bool:
        """Whether the leader is down on its table while the follower still has to go lower."""
        return self._cornered >= _CORNERED

    def in_vain(self, goes_elsewhere: bool) -> bool:
        """Return whether the follower does not follow the leader: no program listens.

        Args:
            goes_elsewhere: Whether the follower seems to have a goal of its own.
        """
        return self._doubts >= (_SUSPICIONS if goes_elsewhere else _DOUBTS)

    def aligned(self, follower: FloatArray, within: float) -> bool:
        """Return whether the leader is aligned with the follower.

        Args:
            follower: Joint angles of the follower, shape (6,) [rad].
            within: Largest difference of each joint [rad].
        """
        return bool(np.abs(self._hand.joints - follower).max() < within)

    def has_room(self) -> bool:
        """Return whether the leader can reach what the follower should; not if it is too low."""
        off = self._hand.tcp - self._table.follower_tcp()
        return bool(off[2] > -_LOW and np.abs(off[:2]).max() < _BESIDE)

    def begin(self) -> None:
        """Take hold of the leader where it is."""
        self._hand.grab()
        self._leads, self._leaves_at = True, None
        self._tcp = self._leader = self._hand.tcp
        self._began = self._stepped = self._clock()
        self._follower.clear()
        self._doubts = self._cornered = 0
        self._wanted, self._velocity, self._lag = np.zeros(3), np.zeros(3), np.zeros(3)

    def turn(self, direction: FloatArray) -> None:
        """Lead in a direction from now on, in shares of the full speed, shape (3,)."""
        self._wanted = FULL_SPEED * direction

    def step(self) -> None:
        """Move the leader by one period, and compare the follower with it."""
        now = self._clock()
        passed, self._stepped = min(now - self._stepped, 2.5 * PERIOD), now
        leader = self._hand.tcp
        self._compare(now, passed, leader)
        if now - self._began < _TAKING_HOLD:
            return
        self._velocity += (self._waiting() - self._velocity) * -np.expm1(-passed / _SMOOTHING)
        ahead = self._tcp + passed * self._velocity - leader
        ahead *= min(1.0, _LEASH / max(float(np.linalg.norm(ahead)), 1e-9))
        self._tcp = leader + ahead
        low = self._tcp[2] < _LOWEST and self._wanted[2] < 0.0
        self._cornered = self._cornered + 1 if low else 0
        self._tcp[2] = max(self._tcp[2], _LOWEST)
        self._hand.lead_to(self._tcp)

    def end(self) -> float:
        """Stop leading and release the leader soon; return how long the hand has led [s]."""
        if not self._leads:
            return 0.0
        now, self._leads = self._clock(), False
        self._leaves_at = now + _LETTING_GO
        return now - self._began

    def let_go_gently(self) -> None:
        """Release a leader that is no longer led once it has had time to hold itself."""
        if self._leaves_at is not None and self._clock() >= self._leaves_at:
            self.let_go()

    def let_go(self) -> None:
        """Take the hand off at once if it has led."""
        if self._leaves_at is not None:
            self._leaves_at = None
            self._hand.let_go()

    def _waiting(self) -> FloatArray:
        """Return the wanted velocity, slower if the follower is far behind, shape (3,) [m/s]."""
        behind = float(np.linalg.norm(self._lag))
        farther = float(self._wanted @ self._lag)
        if behind < _SLOWER or farther <= 0.0:
            return self._wanted
        keeps = max(0.0, (_FAR - behind) / (_FAR - _SLOWER))
        return self._wanted - (1.0 - keeps) * farther / behind**2 * self._lag

    def _compare(self, now: float, passed: float, leader: FloatArray) -> None:
        """Update the follower's lag, and whether it follows."""
        follower = self._table.follower_tcp()
        if self._follower:
            self._lag += leader - self._leader - (follower - self._follower[-1][1])
            self._lag *= np.exp(-passed / _FORGETS)
        self._leader = leader
        self._follower.append((now, follower))
        while self._follower[0][0] < now - _WINDOW:
            self._follower.popleft()
        behind = float(np.linalg.norm(self._lag))
        if behind < _SLOWER or now - self._began < _SLOW:
            return
        comes = (follower - self._follower[0][1]) @ self._lag / behind
        self._doubts = self._doubts + 1 if comes < _COMES else 0
