"""A virtual SO101 in a process of its own, with a hand on its leader, for tests and benchmarks.

As with a real arm, nothing that the control process does slows its servos down.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import resource
import threading
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from envs.closing import Closing
from envs.virtual.line_faults import FaultRates
from envs.virtual.mjpeg import Fault
from envs.virtual.virtual_hand import PERIOD, VirtualHand
from envs.virtual.virtual_person import VirtualPerson
from envs.virtual.virtual_servo import GoalEvent
from envs.virtual.virtual_so101 import VirtualArm, VirtualSO101

_PATIENCE = 60.0


class Station(Closing):
    """Both arms, cameras and hand.

    Args:
        folder: gets the links to the ports and the calibrations.
        cameras: whether to serve them.
        seed: of the hand and the faults.
    """

    def __init__(self, folder: Path, cameras: bool = False, seed: int = 0) -> None:
        context = multiprocessing.get_context("spawn")
        self._lock = threading.Lock()  # a person's threads ask as well
        self._connection, other = context.Pipe()
        self._process = context.Process(
            target=_serve, args=(other, folder, cameras, seed), daemon=True
        )
        self._process.start()
        other.close()
        self.folder = folder
        self.urls: dict[str, str] = self._answer()

    @property
    def pid(self) -> int:
        """Number of its process."""
        assert self._process.pid is not None
        return self._process.pid

    def env_options(self, pedal: bool = False, **options: Any) -> dict[str, Any]:
        """Options of `make_physical` for these arms; `pedal`: with the one a person presses."""
        if pedal:
            options["pedal"] = str(self.folder / "pedal")
        arms = {
            name: {
                "port": str(self.folder / name),
                "calibration": str(self.folder / f"{name}.json"),
            }
            for name in ("follower", "leader")
        }
        cameras = {name: {"source": url, "may_repeat": True} for name, url in self.urls.items()}
        return {**arms, "cameras": cameras, **options}

    def ask(self, what: str, *arguments: Any) -> Any:
        """Lets the station do something and returns what comes of it; see `_Served`."""
        with self._lock:
            self._connection.send((what, arguments))
            return self._answer()

    def close(self) -> None:
        """Switches all off."""
        if self._process.is_alive():
            with contextlib.suppress(OSError):
                self._connection.send(("end", ()))
            self._process.join(_PATIENCE)
        if self._process.is_alive():
            self._process.kill()

    def _answer(self) -> Any:
        if not self._connection.poll(_PATIENCE):
            raise RuntimeError("the virtual SO101 does not answer")
        answer = self._connection.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer


class _Served:
    """What a station can be asked for."""

    def __init__(self, so101: VirtualSO101, seed: int) -> None:
        self._so101 = so101
        self._arms = {"follower": so101.follower, "leader": so101.leader}
        self._hand = VirtualHand(so101.leader, seed)
        self._person = VirtualPerson(so101, self._hand, seed=seed)
        self._wandering: Iterator[Any] | None = None
        self._goals: dict[str, list[GoalEvent]] = {"follower": [], "leader": []}

    def step(self) -> None:
        """Leads the hand on, and keeps what the servos' logs would forget."""
        if self._person.mode != "rest":
            self._person.step()
        elif self._wandering is not None:
            next(self._wandering)
        else:
            self._hand.step()
        for name, arm in self._arms.items():
            self._goals[name] += arm.port.call(lambda arm=arm: _drained(arm))  # type: ignore[misc]

    def person(self, mode: str) -> str:
        """A person does Touch Cube, as one of `envs.virtual.virtual_person.MODES`, or rests.

        Returns:
            What they did so far, in words.
        """
        self._person.turn_to(mode)
        return str(self._person.tally)

    def wander(self) -> None:
        """The hand takes the leader and leads it about."""
        self._wandering = self._hand.wander()

    def let_go(self) -> float:
        """The hand lets go; returns when [s]."""
        self._wandering = None
        self._hand.let_go()
        return time.monotonic()

    def grab_and_move(self, tcp: list[float], speed: float = 0.15) -> float:
        """The hand takes the leader and begins to lead it to a point; returns when [s]."""
        self._hand.aim(tcp, speed=speed)
        return time.monotonic()

    def tcp(self) -> list[float]:
        """Where the leader's TCP is [m]."""
        return [float(each) for each in self._hand.tcp]

    def disturb(self, rates: FaultRates, seed: int = 0) -> None:
        """Makes both cables bad."""
        for place, arm in enumerate(self._arms.values()):
            arm.port.disturb(rates, seed + place)

    def faults(self) -> dict[str, dict[str, int]]:
        """What the cables did."""
        return {name: arm.port.faults() for name, arm in self._arms.items()}

    def unplug(self, name: str) -> float:
        """Pulls a cable; returns when [s]."""
        self._arms[name].port.unplug()
        return time.monotonic()

    def plug(self, name: str) -> float:
        """Plugs it in again; returns when [s]."""
        self._arms[name].port.plug()
        return time.monotonic()

    def goals(self, name: str) -> list[GoalEvent]:
        """All goals that an arm's servos got so far."""
        self.step()
        return self._goals[name]

    def registers(self, name: str, register: str) -> list[int]:
        """A register of all servos of an arm."""
        chain = self._arms[name].port.chain
        return self._arms[name].port.call(lambda: [s.get(register) for s in chain.servos])

    def set_register(self, name: str, servo_id: int, register: str, value: int) -> None:
        """Sets a servo's register past all protection, as heat sets its temperature."""
        arm = self._arms[name]
        arm.port.call(lambda: arm.port.chain.servo(servo_id).set(register, value))

    def spoil(self, camera: str, fault: Fault | None) -> float:
        """Gives a camera's stream a fault, or none; returns when [s]."""
        assert self._so101.cameras is not None
        self._so101.cameras.server.inject(camera, fault)
        return time.monotonic()

    def cpu_time(self) -> float:
        """Processor time of this process so far [s]."""
        used = resource.getrusage(resource.RUSAGE_SELF)
        return used.ru_utime + used.ru_stime

    def behind(self) -> float:
        """Real time that never passed for the arms [s]."""
        return max(arm.pace.behind for arm in self._arms.values())


def _drained(arm: VirtualArm) -> list[GoalEvent]:
    events = list(arm.port.chain.goals)
    arm.port.chain.goals.clear()
    return events


def _serve(connection: Connection, folder: Path, cameras: bool, seed: int) -> None:
    try:
        so101 = VirtualSO101(folder, cameras)
    except Exception as error:
        connection.send(error)
        return
    with so101:
        served = _Served(so101, seed)
        connection.send(dict(so101.cameras.urls) if so101.cameras else {})
        while True:
            served.step()  # also between questions that follow each other closely
            if not connection.poll(PERIOD):
                continue
            try:
                what, arguments = connection.recv()
            except EOFError:
                return
            if what == "end":
                return
            try:
                connection.send(getattr(served, what)(*arguments))
            except Exception as error:  # whatever it is belongs to who asked
                connection.send(error)
