"""Guides a person through giving the motors of an SO101 their ids, one motor at a time."""

from __future__ import annotations

import time
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from e2hil_rllib.commands.arm.calibrate import Poll
from e2hil_rllib.commands.interrupt import stop_on_signal
from e2hil_rllib.errors import UserError
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.errors import BusError, NoAnswerError, PortLostError
from envs.hardware.setup.motor_setup import (
    ARM_BAUDRATE,
    FACTORY_ID,
    FoundMotor,
    MotorSetupError,
    OpenBus,
    already_set,
    assign_id,
    find_motor,
)
from envs.kinematics import JOINTS
from envs.options import one_of

_PERIOD = 0.02  # s
_IDS = {name: place + 1 for place, name in enumerate(JOINTS)}
_OWNERS = {servo_id: name for name, servo_id in _IDS.items()}

ORDER = tuple(reversed(JOINTS))
"""From the gripper down: the id that the factory gives every motor is taken last."""


class SetupMotorsError(UserError):
    """The motors cannot be set up; the message says why and what to do."""


def setup_motors(
    port: str,
    joint: str | None,
    console: Console,
    poll: Poll,
    open_bus: OpenBus | None = None,
) -> None:
    """`e2hil setup-motors`: each motor is done for good as soon as it is said to be.

    Args:
        port: of the board.
        joint: the only one to set up, as after a motor was replaced; None for all.
        console: where to guide the person.
        poll: the lines that the person types.
        open_bus: opens the port at a baud rate; None for the serial port itself.

    Raises:
        SetupMotorsError: no such joint, or the port cannot be used.
        KeyboardInterrupt: the person pressed Ctrl-C; what was done is done, and was said.
    """
    try:
        joints = ORDER if joint is None else (one_of("--joint", joint, JOINTS),)
    except ValueError as error:
        raise SetupMotorsError(str(error)) from error
    guide = _Guide(open_bus or (lambda rate: FeetechBus(port, rate)), console, poll, joints)
    try:
        guide.recognise()
    except PortLostError as error:
        raise SetupMotorsError(
            f"{error}. e2hil doctor without --port lists the ports that are there and says what "
            "one without permission needs"
        ) from error
    try:
        for name in joints:
            guide.set_up(name)
    finally:
        guide.summarise(port)


class _Guide:
    """What is said and asked, and how far each joint is."""

    def __init__(self, open_bus: OpenBus, console: Console, poll: Poll, joints: Sequence[str]):
        self._open_bus = open_bus
        self._console = console
        self._poll = poll
        self._states: dict[str, str | None] = dict.fromkeys(joints)

    def recognise(self) -> None:
        """Looks which joints' motors are in a chain already.

        Raises:
            PortLostError: if the port cannot be used.
        """
        present = []
        with self._open_bus(ARM_BAUDRATE) as bus:
            for servo_id in _OWNERS:
                try:
                    if already_set(bus, servo_id):
                        present.append(servo_id)
                except (MotorSetupError, NoAnswerError) as error:
                    self._say(str(error))
        if len(present) < len(_OWNERS) and FACTORY_ID in present:
            present.remove(FACTORY_ID)  # a new motor has it as well, whichever joint it is for
        for servo_id in present:
            if _OWNERS[servo_id] in self._states:
                self._recognised(_OWNERS[servo_id])

    def set_up(self, name: str) -> None:
        """Asks for the motor of a joint until it is set up, or skipped."""
        while self._states[name] is None:
            typed = self._ask(
                f"Connect only the motor of {name} to the board (no other motor), then press "
                "Enter; s and Enter skips it, if it is done already."
            )
            if typed == "s":
                self._states[name] = "skipped"
            elif typed:
                self._say(f"'{typed}' is neither Enter nor s.")
            else:
                try:
                    self._try(name)
                except (MotorSetupError, BusError) as error:
                    self._say(f"Not yet: {error}.")

    def summarise(self, port: str) -> None:
        """Says how far each joint is, and what comes next."""
        table = Table("joint", "id", "state")
        for name, state in self._states.items():
            table.add_row(name, str(_IDS[name]), state or "not set up")
        self._console.print(table)
        if None in self._states.values():
            again = "" if len(self._states) > 1 else f" --joint {next(iter(self._states))}"
            self._say(f"Go on with: e2hil setup-motors --port {port}{again}")
            return
        self._say(
            f"Next: switch the power off, chain all motors from the board to {JOINTS[0]} and on "
            f"to {JOINTS[-1]}, switch it on again, then: e2hil calibrate --port {port} "
            "--kind follower --id NAME (or --kind leader)"
        )

    def _try(self, name: str) -> None:
        """Sets the connected motor up, unless it may be another joint's and nobody agrees.

        Raises:
            MotorSetupError: as `find_motor` and `assign_id` say.
            BusError: likewise.
        """
        motor = find_motor(
            self._open_bus,
            lambda: self._say("No motor answers at 1 Mbaud; looking at other speeds..."),
        )
        if not self._may_have(motor, name):
            self._say(f"Motor {motor.servo_id} was left as it is.")
            return
        with stop_on_signal() as stop:
            assign_id(self._open_bus, motor, _IDS[name])
        if motor == FoundMotor(_IDS[name], ARM_BAUDRATE):
            self._recognised(name)
        else:
            before = f"was id {motor.servo_id} at {motor.baudrate} baud"
            self._states[name] = f"set up, {before}"
            self._say(f"{name} now has id {_IDS[name]} ({before})")
        if stop:
            raise KeyboardInterrupt

    def _may_have(self, motor: FoundMotor, name: str) -> bool:
        """Whether the motor can be this joint's; the person says so where it has another's id."""
        owner = _OWNERS.get(motor.servo_id)
        if owner in (None, name) or motor.servo_id == FACTORY_ID:
            return True
        typed = self._ask(
            f"This motor has id {motor.servo_id}, that of {owner}: it may be the wrong one. Type "
            f"yes and Enter to make it {name}'s with id {_IDS[name]}; Enter alone leaves it."
        )
        return typed == "yes"

    def _recognised(self, name: str) -> None:
        self._states[name] = "has its id already"
        self._say(f"{name} already has id {_IDS[name]}, nothing to do")

    def _ask(self, question: str) -> str:
        """Returns the line that is typed after the question; earlier ones answer nothing."""
        self._poll()
        self._say(question)
        while not (lines := self._poll()):
            time.sleep(_PERIOD)
        return lines[0].strip().lower()

    def _say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)
