"""Virtual person at a virtual SO101, who does Touch Cube with its leader, a pedal and their eyes.

They see the scene and move real joints, and know nothing about the program that has the arm, not
even whether it received a key or still runs. They only see what the arm does.
"""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from envs.kinematics import HOME
from envs.operators.keys import KeyEvent
from envs.operators.person import Person, PersonSettings
from envs.options import one_of
from envs.virtual.arm_watch import ArmWatch
from envs.virtual.laying_down import LayingDown
from envs.virtual.leading import Leading
from envs.virtual.person_tally import Tally
from envs.virtual.virtual_hand import VirtualHand
from envs.virtual.virtual_so101 import VirtualSO101
from envs.virtual.virtual_table import LOOKS, VirtualTable

FloatArray = NDArray[np.float64]

MODES = ("demonstrate", "intervene", "rest")
"""Modes of a person."""

# Each takeover costs the arm a slow second, and the leader two more to align with the follower:
# bursts as short as in simulation would lead nowhere.
_BURST = 3.0  # [s]
_STANDS = 1.0  # standstill at the start after which an arm waits for somebody [s]
_PUZZLED = 4.0  # standstill elsewhere after which something is wrong [s]
_ASTRAY = 3.0  # motion without an episode after which something is wrong [s]
_AGAIN = 3.0  # wait before a key without effect is pressed again [s]
_HARDLY = 0.15  # standstill of an arm that is about to stop [s]
_ALIGNED = 0.15  # largest difference of an aligned leader [rad]
_PATIENCE_TO_ALIGN = 8.0  # [s]
_LATE = 4.0  # time after which a leader that has not aligned will not [s]
_LEFT = 0.05  # distance at which a joint has left the start [rad]
_VERDICT = 0.2  # time from a touch to the key [s]
_SPREAD = 0.3  # standard deviation of the logarithm of a delay


class _Doing(Enum):
    AWAITING = auto()  # the arm's start
    WATCHING = auto()  # an episode of the policy
    LEADING = auto()


class VirtualPerson:
    """Person who begins episodes, leads or takes over, and reports successes.

    Call ``step`` about every ``envs.virtual.virtual_hand.PERIOD``. All draws come from one seed.

    Args:
        so101: Arms, table and pedal.
        hand: Hand on the leader; nobody else may use it unless the person rests.
        mode: One of ``MODES``.
        seed: Seed of all random draws.
        settings: Behaviour of the person; its ``mode`` is not used.
        clock: Clock of the hand: function that returns the time [s].
    """

    def __init__(
        self,
        so101: VirtualSO101,
        hand: VirtualHand,
        mode: str = "rest",
        seed: int = 0,
        settings: PersonSettings | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._clock, self._pedal = clock, so101.pedal
        places, delays = (np.random.default_rng([seed, stream]) for stream in range(2))
        self._delays = delays
        self._settings, self._seed = settings or PersonSettings(burst=_BURST), seed
        self._table = VirtualTable(so101, places)
        self._watch = ArmWatch(so101.follower, HOME, clock)
        self._leading = Leading(hand, self._table, clock)
        self._laying_down = LayingDown(so101.follower, clock)
        self.tally = Tally()
        self.mode = "rest"
        self._set_out(mode)

    def turn_to(self, mode: str) -> None:
        """Change the mode from now on; an episode that they lead continues without them.

        Args:
            mode: One of ``MODES``.

        Raises:
            ValueError: If the mode is unknown.
        """
        one_of("what a person does", mode, MODES)
        if self._doing is _Doing.LEADING:
            self._press(KeyEvent.GIVE_BACK)
        self._let_go()
        self._leading.let_go()
        self._set_out(mode)

    def step(self) -> None:
        """Look, and act.

        Raises:
            RuntimeError: If an arm has failed.
        """
        if self.mode == "rest":
            return
        self._watch.look()
        self._leading.let_go_gently()
        self._laying_down.step(self._watch.joints, self._watch.powered)
        self._note_departure()
        if not self._watch.powered:
            self._wait_for_the_arm()
        elif self._doing is _Doing.AWAITING:
            self._await_start()
        elif self._judges():
            pass
        elif self._doing is _Doing.WATCHING:
            self._watch_policy()
        else:
            self._lead()

    def _set_out(self, mode: str) -> None:
        self.mode = one_of("what a person does", mode, MODES)
        kind = "demonstrate" if mode == "demonstrate" else "intervene"
        self._person = Person(replace(self._settings, mode=kind))
        self._person.reset(self._table, self._seed)
        self._doing = _Doing.AWAITING
        self._begun_at = np.full(6, np.inf)  # joints, where an episode began
        self._departed = True  # the arm has left the start since then
        self._touched: float | None = None  # when they will have noticed a touch
        self._looked = self._pressed = self._homeward = -math.inf
        self._came = self._clock()  # the leader, to where the follower is
        self._reminded = True
        self._presses = 0

    def _await_start(self) -> None:
        """Wait for the arm to stand at its start; lead it if it does not."""
        stands, now = self._watch.still_for, self._clock()
        if self._watch.goes_to_start or stands > _HARDLY:
            self._homeward = now
        if stands >= _STANDS and self._watch.at_start:
            aligned = self._leading.aligned(self._watch.joints, _ALIGNED)
            if aligned or self.mode == "intervene" or stands > _PATIENCE_TO_ALIGN:
                self._begin()
        elif stands > _PUZZLED and now - self._pressed > _PUZZLED:
            # A paused arm resumes at this key; one that an episode runs with, or that starts from
            # elsewhere, follows the hand.
            self._person.reset(self._table, None)
            self._person.take_over()
            self._take()
        elif now - self._homeward > _ASTRAY and self.mode == "intervene":
            self._person.reset(self._table, None)
            self._resume_watching()

    def _begin(self) -> None:
        """Begin an episode."""
        if self._departed or self._table.cube_aside:
            self._table.lay_out()
        self._departed, self._begun_at = False, self._watch.joints
        self._watch.start = self._watch.joints
        self._person.reset(self._table, None)
        if self.mode == "demonstrate":
            self._take()
        else:
            self._doing, self._presses, self._reminded = _Doing.WATCHING, 0, True
            self._press_to_begin()

    def _press_to_begin(self) -> None:
        self._press(KeyEvent.GIVE_BACK)
        self._presses += 1
        self._pressed = self._came = self._clock()

    def _note_departure(self) -> None:
        """Count an episode once its arm leaves the start."""
        if not self._departed and np.abs(self._watch.joints - self._begun_at).max() > _LEFT:
            self._departed = True
            self.tally.episodes += 1

    def _judges(self) -> bool:
        """Press success a moment after a touch; return whether the cube was touched."""
        if self._touched is None:
            if not self._departed or not self._table.succeeded():
                return False
            self._touched = self._clock() + self._drawn(_VERDICT)
        if self._clock() >= self._touched:
            self._press(KeyEvent.SUCCESS)
            self.tally.successes += 1
            self._wait_for_the_arm()
        return True

    def _watch_policy(self) -> None:
        now = self._clock()
        if not self._departed:
            if now - self._pressed < _AGAIN:
                return
            if self._presses == 1:
                self._press_to_begin()
                return
        elif self._watch.at_start and self._watch.still_for >= _STANDS:
            self._wait_for_the_arm()  # the arm came back by itself: the episode is over
            return
        elif self._watch.goes_to_start or (
            self._watch.at_start and self._watch.still_for > _HARDLY
        ):
            return
        if self._leading.has_room():
            self._came = now
        elif now - self._came < _LATE:
            return
        elif not self._reminded:  # the program may have missed that they no longer lead
            self._press(KeyEvent.GIVE_BACK)
            self._came, self._reminded = now, True
            return
        if self._look_is_due() and self._table.act(self._person, np.zeros(3)) is not None:
            self._take()

    def _take(self) -> None:
        """Take the leader by hand, and say so with the pedal, which works at once."""
        self._press(KeyEvent.TAKE_OVER)
        self._pressed = self._clock()
        self._leading.begin()
        self._doing = _Doing.LEADING
        self.tally.takeovers += 1

    def _lead(self) -> None:
        if self._leading.in_vain(self._watch.goes_to_start):
            if not self._watch.at_start:  # at the start the key would begin an episode
                self._press(KeyEvent.GIVE_BACK)
            self._wait_for_the_arm()
            return
        if self._look_is_due():
            action = self._table.act(self._person, self._leading.coming)
            cornered = self._leading.cornered and self.mode == "intervene"
            if action is None or cornered:
                self._give_back()
                return
            self._leading.turn(action[:3])
        self._leading.step()

    def _give_back(self) -> None:
        self._press(KeyEvent.GIVE_BACK)
        self._let_go()
        self._person.give_back()
        self._resume_watching()

    def _resume_watching(self) -> None:
        self._doing, self._presses = _Doing.WATCHING, 2
        self._pressed = self._came = self._clock()
        self._reminded = False

    def _wait_for_the_arm(self) -> None:
        """Release the leader until the arm stands at its start."""
        self._let_go()
        self._homeward = self._clock()
        self._doing, self._touched = _Doing.AWAITING, None

    def _let_go(self) -> None:
        self.tally.led += self._leading.end()

    def _look_is_due(self) -> bool:
        now = self._clock()
        due = now - self._looked >= 1.0 / LOOKS
        if due:
            self._looked = max(now - 0.5 / LOOKS, self._looked + 1.0 / LOOKS)
        return due

    def _press(self, event: KeyEvent) -> None:
        self._pedal.press(event)

    def _drawn(self, seconds: float) -> float:
        return seconds * float(np.exp(_SPREAD * self._delays.standard_normal()))
