"""Episode keys: the person at the arm begins episodes, judges them, and stops."""

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.interfaces import HardwareError
from envs.operators.keys import KeyEvent
from envs.operators.pressed import Pressed

_LOG = logging.getLogger(__name__)

_PERIOD = 0.03  # [s]


class OperatorStopError(Exception):
    """The person at the arm pressed the key to stop, so that no further episode begins."""


class HandOperator(Protocol):
    """Operator who may lead by hand; see ``envs.operators.leader.LeaderOperator``."""

    def idle(self, positions: NDArray[np.float64]) -> bool:
        """Mirror joint angles, shape (6,) [rad]; return whether the leader was grabbed."""
        ...

    def take_over(self) -> None:
        """Start to lead."""
        ...

    def give_back(self) -> None:
        """Give the arm back to the policy."""
        ...

    def close(self) -> None:
        """Release the leader arm."""
        ...


class Hardware(Protocol):
    """Arm and cameras during a wait; see ``envs.hardware.hardware_steps.HardwareSteps``."""

    def check(self) -> NDArray[np.float64]:
        """Read arm and cameras; return the joints, shape (6,) [rad], or raise ``HardwareError``."""
        ...

    def look(self) -> tuple[Any, dict[str, Any]]:
        """Return an observation and its measurement times; may raise ``HardwareError``."""
        ...

    def acknowledge(self) -> None:
        """Let an arm that stands still resume slowly; may raise ``HardwareError``."""
        ...


class EpisodeKeys(gymnasium.Wrapper):
    """Wrapper that waits for the person before each episode, and ends it with their keys.

    After a reset the arm stands at its start until the person leads (grabs the leader, or presses
    the key to take over) or, unless they demonstrate, gives it to the policy (the key to give
    back). At the end of the step in which it was pressed,
        success terminates with reward 1 and ``info["succeed"]``;
        failure terminates with reward 0;
        re-record truncates, with ``info["rerecord_episode"]``;
        pause truncates, with ``info["paused"]``; the next reset waits for the person as always;
        stop truncates, with ``info["stopped"]``; the next reset raises ``OperatorStopError``.
    Re-record during a wait drops the previous episode: the reset's ``info`` then says so.

    If arm or cameras fail, a reset reports that and waits until the person has fixed it and presses
    a key; without a person to wait for it raises.

    Args:
        env: Environment of an arm, whose resets raise ``HardwareError`` if it fails.
        hardware: Arm and cameras.
        pressed: Pressed keys; closed by ``close``.
        operator: Operator who may lead by hand, None if nobody can; closed by ``close``.
        demonstrates: Whether every episode is led from its first step.
        waits: Whether to wait before an episode; without keys and without an operator there is no
            wait.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        hardware: Hardware,
        pressed: Pressed,
        operator: HandOperator | None,
        demonstrates: bool = False,
        waits: bool = True,
    ) -> None:
        super().__init__(env)
        self._hardware = hardware
        self._pressed, self.operator = pressed, operator
        self._demonstrates = demonstrates
        self._waits = waits and (operator is not None or pressed.any_source)
        self._stopped = self._drops_previous = self._stands = False
        self.announce: Callable[[str], None] = _LOG.info
        """Function that tells the person what to know or do, in one line."""

    @property
    def led_by_a_person(self) -> bool:
        """True, since recordings with this wrapper are a person's work, not a simulation's."""
        return True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Move to the start of an episode and wait for the person.

        Raises:
            OperatorStopError: If they want to stop.
            HardwareError: If arm or cameras fail and there is no person to wait for.
        """
        self._forget_presses()
        self._drops_previous = False
        trouble = ""
        while True:
            try:
                if trouble:
                    self._await_consent(trouble)
                return self._begin(seed, options)
            except HardwareError as error:
                if not self._waits:
                    raise
                trouble = str(error)

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Take a step, and end the episode if a key says so."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        self._stands = False
        if self._pressed.take(KeyEvent.STOP) is not None:
            self._stopped = info["stopped"] = truncated = True
        if self._pressed.take(KeyEvent.PAUSE) is not None:
            info["paused"] = truncated = True
        if info.get("interrupted"):
            return observation, reward, terminated, truncated, info
        said = self._pressed.take(KeyEvent.SUCCESS, KeyEvent.FAILURE, KeyEvent.RERECORD)
        if said is KeyEvent.RERECORD:
            truncated = info["rerecord_episode"] = True
        elif said is not None:
            terminated, truncated = True, False
            info["succeed"] = said is KeyEvent.SUCCESS
            reward = float(info["succeed"])
        return observation, reward, terminated, truncated, info

    def stand_still(self) -> None:
        """Keep the arm where it is for a moment; call it again while no commands come.

        Raises:
            OperatorStopError: If the person wants to stop.
        """
        self._raise_if_stopped()
        # The next reset reports what fails now, and waits until it is fixed.
        with contextlib.suppress(HardwareError):
            positions = self._hardware.check()
            if self.operator is not None:
                if not self._stands:
                    self.operator.give_back()
                self.operator.idle(positions)
            self._stands = True
        time.sleep(_PERIOD)

    def close(self) -> None:
        """Release everything, the follower first."""
        try:
            super().close()
        finally:
            try:
                if self.operator is not None:
                    self.operator.close()
            finally:
                self._pressed.close()

    def _begin(
        self, seed: int | None, options: dict[str, Any] | None
    ) -> tuple[Any, dict[str, Any]]:
        """Move to the start, wait, and look."""
        self._raise_if_stopped()
        positions = self._hardware.check()
        if self.operator is not None:
            self.operator.give_back()
            self.operator.idle(positions)  # the leader stays until the follower is at the start
        self.announce("moving to the start")
        observation, info = self.env.reset(seed=seed, options=options)
        leads = self._demonstrates
        if self._waits:
            leads = self._wait()
            observation, measured = self._hardware.look()
            info |= measured | {"rerecord_episode": self._drops_previous}
        if leads and self.operator is not None:
            self.operator.take_over()  # from where the arm was seen last
        return observation, info

    def _forget_presses(self) -> None:
        """Drop presses that belong to the previous episode."""
        # Without a wait, re-record can never mean the previous episode.
        kept = {KeyEvent.STOP, KeyEvent.RERECORD} if self._waits else {KeyEvent.STOP}
        self._pressed.forget(*(set(KeyEvent) - kept))

    def _await_consent(self, trouble: str) -> None:
        """Wait until the person says that an arm that stands still may move again."""
        self.announce(f"the arm stands still: {trouble}. Press space once it is safe to go on")
        failed = True
        while self._pressed.take(KeyEvent.TAKE_OVER, KeyEvent.GIVE_BACK) is None:
            self._raise_if_stopped()
            try:
                self._hardware.check()  # also reopens a lost port
                if failed:
                    self.announce("it can be used again: press space to go on")
                failed = False
            except HardwareError:
                failed = True
            time.sleep(_PERIOD)
        self._hardware.acknowledge()

    def _wait(self) -> bool:
        """Wait until the episode begins; return whether the person leads."""
        if self.operator is not None:
            self.operator.give_back()  # a hand that was still on the leader does not count
        self._forget_presses()
        self.announce(self._prompt())
        while True:
            self._raise_if_stopped()
            positions = self._hardware.check()
            grabbed = self.operator is not None and self.operator.idle(positions)
            said = self._pressed.take(KeyEvent.TAKE_OVER, KeyEvent.GIVE_BACK)
            # All presses: one left over would drop the episode that begins.
            while self._pressed.take(KeyEvent.RERECORD) is not None:
                self._drops_previous = True
            if self.operator is not None and (grabbed or said is KeyEvent.TAKE_OVER):
                self.announce("the person leads")
                return True
            if said is KeyEvent.TAKE_OVER or (said and not self._demonstrates):
                self.announce("the policy acts")
                return False
            time.sleep(_PERIOD)

    def _prompt(self) -> str:
        ways = []
        if self.operator is not None:
            ways.append("grab the leader, or press space, to lead")
        if not self._demonstrates:
            ways.append("press b to let the policy act")
        return "ready: " + "; ".join(ways)

    def _raise_if_stopped(self) -> None:
        self._stopped |= self._pressed.take(KeyEvent.STOP) is not None
        if self._stopped:
            raise OperatorStopError("the person at the arm pressed the key to stop")
