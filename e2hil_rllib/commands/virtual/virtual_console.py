"""What can be typed while `e2hil virtual` runs: faults, and the hand on the leader."""

from __future__ import annotations

import math
import os
import select
import sys
from collections.abc import Callable
from typing import NoReturn

import numpy as np

from envs.hardware.bus.telemetry import RADIANS_PER_TICK
from envs.kinematics import JOINTS, Kinematics
from envs.options import one_of
from envs.virtual.mjpeg import Fault
from envs.virtual.virtual_hand import VirtualHand
from envs.virtual.virtual_person import VirtualPerson
from envs.virtual.virtual_so101 import VirtualArm, VirtualSO101

HELP = {
    "unplug": "unplug follower|leader: pull its cable",
    "plug": "plug follower|leader: plug it in again",
    "heat": "heat follower|leader JOINT °C: set a motor's temperature",
    "stall": "stall follower|leader JOINT: block a joint where it is",
    "free": "free follower|leader JOINT: let it move again",
    "freeze": "freeze CAMERA: the same picture again and again",
    "thaw": "thaw CAMERA: end that",
    "grab": "grab: the hand takes hold of the leader and keeps it where it is",
    "let": "let go: the hand lets go of the leader",
    "move": "move X Y Z: the hand leads the leader's TCP there [m]",
    "gripper": "gripper ANGLE: the hand turns the leader's gripper [rad]",
    "person": "person [demonstrate|intervene|rest]: what the person does; alone: what they did",
    "goals": "goals follower|leader: count and largest jump of the goals that it got",
    "faults": "faults: how many answers were lost, late, truncated, corrupted",
    "help": "help: this list",
}
"""One line for each command, by its first word."""

_FOR_THE_HAND = ("grab", "let", "move", "gripper")


class VirtualConsole:
    """Carries typed lines out.

    Args:
        so101: the arms and cameras.
        hand: on the leader.
        person: whose hand it is; they rest from when a line for the hand is typed.
    """

    def __init__(self, so101: VirtualSO101, hand: VirtualHand, person: VirtualPerson) -> None:
        self._so101, self._hand, self._person = so101, hand, person
        self._limits = Kinematics().joint_limits
        self._arms = {"follower": so101.follower, "leader": so101.leader}
        self._commands: dict[str, Callable[[list[str]], list[str]]] = {
            name: getattr(self, f"_{name}") for name in HELP if name != "person"
        } | {"person": self._person_mode}

    def carry_out(self, line: str) -> list[str]:
        """Carries one line out and returns what to answer; what was wrong is an answer, too.

        Raises:
            RuntimeError: if an arm has failed.
        """
        words = line.split()
        if not words:
            return []
        try:
            name = one_of("a command", words[0], HELP)
            if name in _FOR_THE_HAND and self._person.mode != "rest":
                self._person.turn_to("rest")
            return self._commands[name](words[1:])
        except ValueError as error:
            return [str(error)]

    def _unplug(self, words: list[str]) -> list[str]:
        name, arm = self._arm("unplug", words, 1)
        arm.port.unplug()
        return [f"{name}: unplugged"]

    def _plug(self, words: list[str]) -> list[str]:
        name, arm = self._arm("plug", words, 1)
        arm.port.plug()
        return [f"{name}: plugged in at {arm.link}"]

    def _heat(self, words: list[str]) -> list[str]:
        name, arm = self._arm("heat", words, 3)
        place = _joint(words[1])
        degrees = _numbers("heat", words[2:])[0]
        if not 0 <= degrees <= 120:
            raise ValueError(f"a motor has from 0 to 120 °C, got {degrees:g}")
        servo = arm.port.chain.servos[place]
        arm.port.call(lambda: servo.set("Present_Temperature", round(degrees)))
        return [f"{name} {words[1]}: {round(degrees)} °C"]

    def _stall(self, words: list[str]) -> list[str]:
        name, arm = self._arm("stall", words, 2)
        place = _joint(words[1])

        def block() -> None:
            lowest, highest = (limits[place] for limits in self._limits)
            arm.plant.hold(place, float(np.clip(arm.plant.state(place).position, lowest, highest)))

        arm.port.call(block)
        return [f"{name} {words[1]}: blocked"]

    def _free(self, words: list[str]) -> list[str]:
        name, arm = self._arm("free", words, 2)
        _joint(words[1])
        arm.release(words[1])
        return [f"{name} {words[1]}: free"]

    def _freeze(self, words: list[str]) -> list[str]:
        return [f"{self._inject('freeze', words, Fault.FREEZE)} camera: frozen"]

    def _thaw(self, words: list[str]) -> list[str]:
        return [f"{self._inject('thaw', words, None)} camera: live"]

    def _grab(self, words: list[str]) -> list[str]:
        _expect("grab", words, 0)
        self._hand.grab()
        return ["hand: holds the leader"]

    def _let(self, words: list[str]) -> list[str]:
        if words != ["go"]:
            _refuse("let")
        self._hand.let_go()
        return ["hand: let go"]

    def _move(self, words: list[str]) -> list[str]:
        _expect("move", words, 3)
        self._hand.aim(_numbers("move", words))
        return [f"hand: leads the leader to {' '.join(words)}"]

    def _gripper(self, words: list[str]) -> list[str]:
        _expect("gripper", words, 1)
        self._hand.turn_gripper(_numbers("gripper", words)[0])
        return [f"hand: turns the leader's gripper to {words[0]}"]

    def _person_mode(self, words: list[str]) -> list[str]:
        if not words:
            return [f"person: {self._person.mode}; {self._person.tally}"]
        _expect("person", words, 1)
        self._person.turn_to(words[0])
        return [f"person: {words[0]}"]

    def _goals(self, words: list[str]) -> list[str]:
        name, arm = self._arm("goals", words, 1)
        goals = arm.port.call(lambda: list(arm.port.chain.goals))
        jumps = [abs(event.goal - event.present) for event in goals if event.torque]
        largest = math.degrees(max(jumps, default=0) * RADIANS_PER_TICK)
        return [f"{name}: {len(goals)} goals, at most {largest:.1f}° from the joint under torque"]

    def _faults(self, words: list[str]) -> list[str]:
        _expect("faults", words, 0)
        return fault_lines(self._so101)

    def _help(self, words: list[str]) -> list[str]:
        return list(HELP.values())

    def _arm(self, command: str, words: list[str], count: int) -> tuple[str, VirtualArm]:
        _expect(command, words, count)
        return words[0], self._arms[one_of("an arm", words[0], self._arms)]

    def _inject(self, command: str, words: list[str], fault: Fault | None) -> str:
        _expect(command, words, 1)
        if self._so101.cameras is None:
            raise ValueError("no cameras are served: start without --no-cameras")
        self._so101.cameras.server.inject(
            one_of("a camera", words[0], self._so101.cameras.urls), fault
        )
        return words[0]


class LineReader:
    """Reads lines from the standard input without waiting; none come where there is no input."""

    def __init__(self) -> None:
        self._rest = b""
        try:
            self._input: int | None = sys.stdin.fileno()
        except (AttributeError, OSError, ValueError):  # none, closed, or not a file
            self._input = None

    def poll(self) -> list[str]:
        """Returns the lines that came since the last call."""
        if self._input is None or not _may_read(self._input):
            return []
        if not select.select([self._input], [], [], 0.0)[0]:
            return []
        try:
            data = os.read(self._input, 4096)
        except OSError:  # the terminal is gone
            data = b""
        if not data:
            self._input = None
        *lines, self._rest = (self._rest + data).split(b"\n")
        return [line.decode(errors="replace") for line in lines]


def fault_lines(so101: VirtualSO101) -> list[str]:
    """Says of each arm how many answers its line passed on, and how many had which fault."""
    lines = []
    for name, arm in (("follower", so101.follower), ("leader", so101.leader)):
        counts = arm.port.faults()
        told = ", ".join(f"{count} {kind}" for kind, count in counts.items())
        lines.append(f"{name}: answers: {told}")
    return lines


def _may_read(descriptor: int) -> bool:
    """Says whether reading would not stop the program, as it does in a shell's background."""
    try:
        return os.tcgetpgrp(descriptor) == os.getpgrp()
    except OSError:
        return True  # no terminal, or not the one that controls this program


def _joint(name: str) -> int:
    return JOINTS.index(one_of("a joint", name, JOINTS))


def _expect(command: str, words: list[str], count: int) -> None:
    if len(words) != count:
        _refuse(command)


def _refuse(command: str) -> NoReturn:
    raise ValueError(f"expected: {HELP[command]}")


def _numbers(command: str, words: list[str]) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError:
        _refuse(command)
