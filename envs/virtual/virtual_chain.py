"""Chain of virtual servos on one bus, with the mechanism that they drive."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from envs.hardware.bus.packets import BROADCAST_ID, Instruction, Packet
from envs.virtual.plant import Plant
from envs.virtual.virtual_servo import GoalEvent, VirtualServo

# Period of the servos' measurements; it also spares the plant a step for every packet.
_STEP = 0.002
# Longest time that a stalled process catches up on, so that it does not stall further.
_LONGEST_PAUSE = 0.25
_GOALS_KEPT = 100_000


@dataclass(frozen=True)
class Answer:
    """Status packet on its way.

    Attributes:
        delay: Delay before the servo starts to send [s].
        data: Bytes of the packet.
    """

    delay: float
    data: bytes


class VirtualChain:
    """Servos in the order of their wiring, with their plant.

    Attributes:
        servos: Servos, in the order of the joints of the plant.
        plant: What they drive.
        goals: Last 100 000 goals that servos got.
    """

    def __init__(self, servo_ids: Sequence[int], plant: Plant):
        """Wire new servos up and switch them on.

        Args:
            servo_ids: Ids of the servos; the first drives joint 0 of the plant.
            plant: What they drive.
        """
        self.goals: deque[GoalEvent] = deque(maxlen=_GOALS_KEPT)
        self.servos = [VirtualServo(servo_id, self.goals.append) for servo_id in servo_ids]
        self.plant = plant
        self._time: float | None = None
        for joint, servo in enumerate(self.servos):
            servo.advance(0.0, 0.0, plant.state(joint))
            servo.power_cycle()

    def servo(self, servo_id: int) -> VirtualServo:
        """Return the first servo that listens to an id.

        Raises:
            KeyError: If there is no such servo.
        """
        for servo in self.servos:
            if servo.servo_id == servo_id:
                return servo
        raise KeyError(f"no virtual servo has id {servo_id}: {[s.servo_id for s in self.servos]}")

    def advance(self, now: float) -> None:
        """Let the servos drive the plant until a time [s], in steps of at least 2 ms."""
        elapsed = now - (now if self._time is None else self._time)
        if self._time is not None and elapsed < _STEP:
            return
        self._time = now
        steps = max(1, round(min(elapsed, _LONGEST_PAUSE) / _STEP / 5))
        dt = min(elapsed, _LONGEST_PAUSE) / steps
        for step in range(steps):
            if dt > 0:
                self.plant.step(dt, {i: servo.drive() for i, servo in enumerate(self.servos)})
            for joint, servo in enumerate(self.servos):
                servo.advance(now - elapsed + (step + 1) * dt, dt, self.plant.state(joint))

    def handle(self, instruction: Packet) -> list[Answer]:
        """Let the addressed servos carry out an instruction, and return their answers."""
        code, parameters = instruction.code, instruction.payload
        if instruction.servo_id != BROADCAST_ID:
            return self._ask([instruction.servo_id], code, parameters)
        everyone = sorted({servo.servo_id for servo in self.servos})
        match code:
            case Instruction.PING:
                return self._ask(everyone, code, parameters)
            case Instruction.SYNC_READ if len(parameters) > 2:
                return self._ask(parameters[2:], Instruction.READ, parameters[:2])
            case Instruction.SYNC_WRITE if len(parameters) > 2:
                address, size = parameters[:2]
                for start in range(2, len(parameters) - size, size + 1):
                    data = parameters[start + 1 : start + 1 + size]
                    self._ask([parameters[start]], Instruction.WRITE, bytes((address,)) + data)
            case Instruction.WRITE | Instruction.REG_WRITE | Instruction.ACTION:
                self._ask(everyone, code, parameters)
        return []

    def _ask(self, servo_ids: Sequence[int], code: int, parameters: bytes) -> list[Answer]:
        """Pass an instruction to the servos with these ids, one after the other."""
        answers = []
        for servo_id in servo_ids:
            for servo in [servo for servo in self.servos if servo.servo_id == servo_id]:
                data = servo.answer(Packet(servo_id, code, parameters))
                if data is not None:
                    answers.append(Answer(servo.return_delay, data))
        return answers
