"""Model of a person who watches the arm and takes over when it makes no progress.

The person sees the scene and remembers the remaining way of the task and the place of the arm. They
know nothing about the policy or its learning.
"""

import math
from collections import deque
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from envs.checked import ACTION_SIZE
from envs.operators.expert import Expert, Watched
from envs.options import number, one_of

MODES = ("intervene", "demonstrate")
"""Modes of a person: take over at times, or lead from the first step to the last."""

_EXPECTED_RATE = 0.02  # [m/s]: slowest progress that does not look like a standstill
_UNDONE = 0.05  # [m]: a loss that alarms
_WALL = 0.006  # [m]: distance from a side of the workspace at which the arm seems to leave it
_WALL_STEPS = 3
_LENGTHENING = 0.5  # additional length of each further takeover of an episode, in bursts
_SPREAD = 0.3  # standard deviation of the logarithm of a person's delays and durations
_SLOWEST = 0.6  # slowest speed of a person, as a fraction of full speed
_NOISE_TIME = 0.4  # [s]: correlation time of an unsteady hand
_IDLE_NOISE = 0.25  # unsteadiness of a resting hand, relative to that of a full movement
_SLIP_TIME = 0.4  # [s]
_SLIP_RATE = 0.5  # slips per second without any skill
_PERSON_STREAM = 1  # keeps a person's draws apart from those of the physics


@dataclass(frozen=True)
class PersonSettings:
    """Settings of a person's behaviour.

    Attributes:
        mode: Mode: "intervene" watches and takes over at times; "demonstrate" leads all the time.
        skill: Skill from 0 to 1; the difference to 1 becomes unsteadiness and slips.
        attention: Probability to notice trouble in each step in which there is some.
        reaction_delay: Time from noticing to leading [s].
        patience: Longest time that the task may seem to stand still [s].
        burst: Time for which the person leads at an episode's first takeover before giving control
            back [s]; each further takeover lasts half a burst longer.
    """

    mode: str = "intervene"
    skill: float = 0.8
    attention: float = 0.9
    reaction_delay: float = 0.3
    patience: float = 1.5
    burst: float = 1.0

    def __post_init__(self) -> None:
        one_of("operator.mode", self.mode, MODES)
        number("operator.skill", self.skill, 0.0, 1.0)
        number("operator.attention", self.attention, 0.0, 1.0)
        number("operator.reaction_delay", self.reaction_delay, 0.0, 5.0)
        number("operator.patience", self.patience, 0.1, 30.0)
        number("operator.burst", self.burst, 0.1, 30.0)


class Person:
    """Person who watches, takes over after a delay, leads for a burst, and gives control back.

    They see the remaining way of the task (``SimulatedTask.remaining``). They take over when it has
    not become clearly shorter for as long as their patience lasts, when progress is undone and not
    being regained, or when the arm stays at a side of the workspace without progress. Implements
    ``envs.operators.Operator``.

    Args:
        settings: Settings of the person's behaviour.
    """

    def __init__(self, settings: PersonSettings | None = None) -> None:
        self.settings = settings or PersonSettings()
        self._rng = np.random.default_rng()
        self._hand = np.zeros(ACTION_SIZE)
        self._slip = np.zeros(ACTION_SIZE)

    def reset(self, env: Watched, seed: int | None) -> None:
        """Begin to watch a new episode."""
        if seed is not None:
            sequence = np.random.SeedSequence(seed, spawn_key=(_PERSON_STREAM,))
            self._rng = np.random.default_rng(sequence)
        self._env = env
        self._expert = Expert(env)
        self._watch()
        self._lead_left = 0
        self._takeovers = 0
        if self.settings.mode == "demonstrate":
            self.take_over()

    def act(self) -> NDArray[np.float64] | None:
        """Return the person's action, shape (4,), or None while they only watch."""
        self._look()
        if self._lead_left == 0:
            if not self._takes_over():
                return None
            self.take_over()
        if self.settings.mode == "intervene":
            self._lead_left -= 1
            if self._lead_left == 0:
                self._watch()
        return self._lead()

    def give_back(self) -> None:
        """Only watch from now on, even if the burst is not over."""
        self._lead_left = 0
        self._watch()

    def _watch(self) -> None:
        """Start to observe again: what was before the handover no longer counts."""
        # The least remaining way until each of the last looks: a hand's jitter is no progress.
        self._least: deque[float] = deque(maxlen=self._steps(self.settings.patience) + 1)
        self._left = self._left_before = self._left_at_wall = math.inf
        self._wall_steps = 0
        self._reacts_in: int | None = None

    def _look(self) -> None:
        self._left_before, self._left = self._left, self._env.task.remaining()
        self._least.append(min(self._left, self._least[-1] if self._least else math.inf))
        self._wall_steps = self._wall_steps + 1 if self._at_wall() else 0
        if self._wall_steps <= 1:
            self._left_at_wall = self._left

    def _at_wall(self) -> bool:
        """Return whether the arm is at a side of the workspace, other than the table."""
        tcp, box = self._env.tcp, self._env.workspace
        beyond_low = tcp[:2] < box.low[:2] + _WALL
        return bool(beyond_low.any() or (tcp > box.high - _WALL).any())

    def _in_trouble(self) -> bool:
        if self._env.task.succeeded():
            return False  # somebody else ends the episode
        regains = self._left < self._left_before
        if self._left - self._least[-1] > _UNDONE and not regains:
            return True
        # A cube may lie at a side: being there is no trouble while the task makes progress.
        at_wall = self._wall_steps / self._env.control_hz
        gained = self._left_at_wall - self._left
        if self._wall_steps >= _WALL_STEPS and gained < _EXPECTED_RATE * at_wall:
            return True
        watched_long = len(self._least) == self._least.maxlen
        gained = self._least[0] - self._least[-1]
        return watched_long and gained < _EXPECTED_RATE * self.settings.patience

    def _takes_over(self) -> bool:
        """Notice trouble, wait for the reaction delay, and return whether it is still there."""
        if self._reacts_in is None:
            if self._in_trouble() and self._rng.random() < self.settings.attention:
                self._reacts_in = self._drawn_steps(self.settings.reaction_delay)
            return False
        if self._reacts_in > 0:
            self._reacts_in -= 1
            return False
        self._reacts_in = None
        return self._in_trouble()

    def take_over(self) -> None:
        """Lead from the next action on, even without trouble."""
        self._takeovers += 1
        lengthened = 1.0 + _LENGTHENING * (self._takeovers - 1)
        self._lead_left = max(1, self._drawn_steps(lengthened * self.settings.burst))
        self._speed = self._rng.uniform(_SLOWEST, 1.0)
        self._hand[:] = 0.0
        self._slip_left = 0

    def _lead(self) -> NDArray[np.float64]:
        """Return the expert's action as an unsteady hand carries it out."""
        action = self._expert.act() * [self._speed, self._speed, self._speed, 1.0]
        clumsiness = 1.0 - self.settings.skill
        period = 1.0 / self._env.control_hz
        # An Ornstein-Uhlenbeck process of unit variance, scaled by the movement of the hand.
        keep = np.exp(-period / _NOISE_TIME)
        draw = self._rng.standard_normal(ACTION_SIZE)
        self._hand = keep * self._hand + np.sqrt(1.0 - keep**2) * draw
        slips = self._rng.random() < clumsiness * _SLIP_RATE * period
        direction = self._rng.uniform(-1.0, 1.0, ACTION_SIZE)
        if slips and self._slip_left == 0:
            self._slip = direction * [1.0, 1.0, 1.0, 0.0]
            self._slip_left = max(1, self._steps(_SLIP_TIME))
        if self._slip_left > 0:
            self._slip_left -= 1
            return self._slip.copy()
        effort = np.array([_IDLE_NOISE + np.abs(action[:3]).max()] * 3 + [abs(action[3])])
        return np.clip(action + clumsiness * effort * self._hand, -1.0, 1.0)

    def _steps(self, seconds: float) -> int:
        return round(seconds * self._env.control_hz)

    def _drawn_steps(self, seconds: float) -> int:
        """Draw a duration around the given one, in control steps."""
        return self._steps(seconds * float(np.exp(_SPREAD * self._rng.standard_normal())))
