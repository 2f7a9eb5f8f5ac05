"""The person at the arm begins episodes, ends them with a verdict, and stops."""

import logging
import time
from collections.abc import Callable
from typing import Any, Protocol

import gymnasium
import numpy as np
from numpy.typing import NDArray

from envs.operators.keys import KeyEvent
from envs.operators.pressed import Pressed
from envs.so101 import SO101Env

_LOG = logging.getLogger(__name__)

_PERIOD = 0.03  # [s]


class OperatorStop(Exception):  # noqa: N818 - a wish, not a mistake
    """The person at the arm pressed the key to stop: there is no further episode."""


class HandOperator(Protocol):
    """A person who may lead by hand; see `envs.operators.leader.LeaderOperator`."""

    def idle(self, positions: NDArray[np.float64]) -> bool:
        """Mirrors joint angles, shape (6,) [rad]; says whether the leader was grabbed."""
        ...

    def take_over(self) -> None:
        """Leads from now on."""
        ...

    def give_back(self) -> None:
        """Leaves the arm to the policy."""
        ...

    def close(self) -> None:
        """Lets go of the leader arm."""
        ...


class Guarded(Protocol):
    """An arm that may have to stand still until a person says that all is well."""

    @property
    def fault(self) -> str:
        """Why it stands still until `acknowledge`, "" where it does not."""
        ...

    def acknowledge(self) -> None:
        """Goes on, slowly."""
        ...


class EpisodeKeys(gymnasium.Wrapper):
    """Waits for the person before each episode, and ends it with their keys.

    After a reset the arm stands at its start until the person leads (grabs the leader, or presses
    the key to take over) or, unless they demonstrate, gives it to the policy (the key to give
    back). At the end of the step in which it was pressed,
        success terminates with reward 1 and `info["succeed"]`;
        failure terminates with reward 0;
        re-record truncates, with `info["rerecord_episode"]`;
        stop truncates, with `info["stopped"]`; the next reset raises `OperatorStop`.
    Re-record during a wait is about the episode before: the reset's `info` says it then.

    Args:
        env: an environment of an arm; the innermost is an `SO101Env`.
        arm: the arm.
        pressed: the keys; closed by `close`.
        operator: who may lead by hand, None where nobody can; closed by `close`.
        demonstrates: whether every episode is led from its first step.
        waits: whether to wait before an episode; nobody does where no keys can come and nobody can
            lead.
    """

    def __init__(
        self,
        env: gymnasium.Env,
        arm: Guarded,
        pressed: Pressed,
        operator: HandOperator | None,
        demonstrates: bool = False,
        waits: bool = True,
    ) -> None:
        super().__init__(env)
        assert isinstance(env.unwrapped, SO101Env)
        self._arm_env, self._arm = env.unwrapped, arm
        self._pressed, self.operator = pressed, operator
        self._demonstrates = demonstrates
        self._waits = waits and (operator is not None or pressed.any_source)
        self._stopped = False
        self.announce: Callable[[str], None] = _LOG.info
        """Told what the person should know or do, in one line."""

    @property
    def led_by_a_person(self) -> bool:
        """True: no simulation leads here, and what is recorded is a person's work."""
        return True

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[Any, dict[str, Any]]:
        """Moves to the start of an episode and waits for the person.

        Raises:
            OperatorStop: if they want to stop.
        """
        self._forget_presses()
        self._refuse_to_go_on()
        if self.operator is not None:
            self.operator.give_back()
            # The leader keeps its place until the follower stands at the start. Before the first
            # reset the environment does not know where that is.
            self.operator.idle(self._arm_env.arm.read().positions)
        self._await_consent()
        self.announce("moving to the start")
        observation, info = self.env.reset(seed=seed, options=options)
        if self._waits:
            info["rerecord_episode"], leads = self._wait()
            observation = self._arm_env.look()
            if leads and self.operator is not None:
                self.operator.take_over()  # from where the arm was seen last
        return observation, info

    def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
        """Steps, and ends the episode if a key says so."""
        observation, reward, terminated, truncated, info = self.env.step(action)
        if self._pressed.take(KeyEvent.STOP) is not None:
            self._stopped = info["stopped"] = truncated = True
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

    def close(self) -> None:
        """Lets go of everything: the follower first."""
        try:
            super().close()
        finally:
            try:
                if self.operator is not None:
                    self.operator.close()
            finally:
                self._pressed.close()

    def _forget_presses(self) -> None:
        """What was pressed for the episode before does not count for the next one."""
        kinds = set(KeyEvent) - {KeyEvent.STOP, KeyEvent.RERECORD}
        self._pressed.forget(*kinds)

    def _await_consent(self) -> None:
        """Lets the person say when an arm that stands still by itself may move again."""
        fault = self._arm.fault
        if not fault or not self._waits:
            return
        self.announce(f"the arm stands still: {fault}. Press space once it is safe to go on")
        while self._pressed.take(KeyEvent.TAKE_OVER, KeyEvent.GIVE_BACK) is None:
            self._refuse_to_go_on()
            self._arm_env.arm.read()
            time.sleep(_PERIOD)
        self._arm.acknowledge()

    def _wait(self) -> tuple[bool, bool]:
        """Waits until the episode begins.

        Returns:
            Whether the one before is to be dropped, and whether the person leads.
        """
        if self.operator is not None:
            self.operator.give_back()  # a hand that was still on it during the way is no wish
        self._forget_presses()
        self.announce(self._prompt())
        drops = False
        while True:
            self._refuse_to_go_on()
            positions = self._arm_env.arm.read().positions
            grabbed = self.operator is not None and self.operator.idle(positions)
            said = self._pressed.take(KeyEvent.TAKE_OVER, KeyEvent.GIVE_BACK)
            # All of them: one that is left over would drop the episode that begins.
            while self._pressed.take(KeyEvent.RERECORD) is not None:
                drops = True
            if self.operator is not None and (grabbed or said is KeyEvent.TAKE_OVER):
                self.announce("the person leads")
                return drops, True
            if said is KeyEvent.TAKE_OVER or (said and not self._demonstrates):
                self.announce("the policy acts")
                return drops, False
            time.sleep(_PERIOD)

    def _prompt(self) -> str:
        ways = []
        if self.operator is not None:
            ways.append("grab the leader, or press space, to lead")
        if not self._demonstrates:
            ways.append("press b to let the policy act")
        return "ready: " + "; ".join(ways)

    def _refuse_to_go_on(self) -> None:
        self._stopped |= self._pressed.take(KeyEvent.STOP) is not None
        if self._stopped:
            raise OperatorStop("the person at the arm pressed the key to stop")
