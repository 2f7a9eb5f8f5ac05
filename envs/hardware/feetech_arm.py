"""Physical SO101 follower, as ``SO101Env`` moves it."""

import logging
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from envs.hardware.arm.arm_clock import FixedRate
from envs.hardware.arm.arm_goals import GoalStream
from envs.hardware.arm.arm_link import ArmLink
from envs.hardware.arm.arm_motion import GuardedMotion
from envs.hardware.arm.arm_reading import ArmTelemetry
from envs.hardware.arm.arm_settings import ArmSettings
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.errors import TorqueOffError
from envs.hardware.letting_go.letting_go import let_go
from envs.hardware.letting_go.supervisor_client import Supervision
from envs.hardware.setup.calibration import Calibration
from envs.interfaces import ArmState
from envs.safety import Decision, SafetyLayer, SafetyLimits, Verdict

FloatArray = NDArray[np.float64]

_LOG = logging.getLogger(__name__)

_FRESH = 0.5  # share of a period: a command is checked against a reading up to this old


class FeetechArm:
    """Six STS3215 that follow joint targets, each of which passes the safety layer.

    ``connect`` comes first and moves nothing; ``reset`` switches the torque on; ``close`` releases
    the arm. While readings fail the arm holds, and after ``patience`` seconds an error is raised.
    While the port is lost every call raises ``PortLostError``; the first call after its return
    reads the state, and holds or releases the arm. Not thread-safe; the bus is.

    Attributes:
        settings: Settings of the arm.
        safety: Safety layer, which all commands pass.
        pace: Clock of the control loop, with its overruns.
        link: Link to the servos.
        torque: Whether the torque is on.
        held: Reason why the arm did not follow its last command; "" if it did.
        limited: Limits that cut its last command short, as in ``envs.safety.Decision``.
        firmware: Firmware of each motor by joint, after ``connect``.
        changes: Changes that ``connect`` made to the motors, in words.
    """

    def __init__(
        self,
        bus: FeetechBus,
        calibration: Calibration,
        limits: SafetyLimits | None = None,
        settings: ArmSettings | None = None,
        *,
        supervision: Supervision | None = None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ):
        """Take over a bus without sending anything.

        Args:
            bus: Bus of the arm; ``close`` closes it.
            calibration: Calibration of this arm.
            limits: Limits of all commands.
            settings: Settings of the arm.
            supervision: Client of the supervisor, which releases the arm when this process dies.
            clock: Function that returns the time [s].
            sleep: Function that waits for a number of seconds.
        """
        self.settings = settings or ArmSettings()
        self.safety = SafetyLayer(limits)
        pause = self.safety.limits.command_timeout
        self.pace = FixedRate(self.settings.control_hz, pause, clock, sleep)
        self.link = ArmLink(bus, calibration, self.settings.patience, clock, sleep)
        self.held = ""
        self.limited: tuple[str, ...] = ()
        self.firmware: dict[str, str] = {}
        self.changes: list[str] = []
        self._supervision = supervision
        self._clock = clock
        self._goals = GoalStream(self.link.send, self.settings.ramp_hz, clock, sleep)
        self.torque = False
        self._closed = False
        self._motion = GuardedMotion(
            self,
            self.pace.period,
            self.settings.reset_speed,
            self.settings.reset_tolerance,
            lambda: self.held,
        )

    @property
    def fault(self) -> str:
        """Reason why the arm stands still or was released, until ``acknowledge``; "" if none."""
        return self.safety.fault

    @property
    def goal(self) -> FloatArray:
        """Last goal of the arm, shape (6,) [rad]; its position before the first goal."""
        sent = self._goals.sent
        return self.read().positions if sent is None else sent

    def connect(self) -> None:
        """Check and configure the motors. An arm that is found energised is held where it is.

        Raises:
            ArmSetupError: If a motor is missing, of another model, or refuses a value.
            CalibrationMismatchError: If the calibration is not this arm's.
            ServoFaultError: If a motor reports an error.
            BusError: If the arm cannot be read.
        """
        self._beat()
        self.firmware = self.link.identify()
        self.changes = self.link.configure()
        self.link.read()
        if self.link.energised():
            self.torque_on()

    def torque_on(self) -> None:
        """Switch the torque on where the arm is: nothing moves.

        Raises:
            BusError: If the arm cannot be read or motors do not confirm.
        """
        self.torque = True  # from the first motor on, so that ``close`` releases it
        self._start_from(self.link.switch_on())

    def hold(self) -> None:
        """Make the arm's current position its goal; raises as ``torque_on``."""
        self._start_from(self.link.hold())

    def ramp_down(self, seconds: float) -> None:
        """Lower the torque evenly to zero, so that the arm sinks; raises as ``torque_on``."""
        self.link.ramp_down(seconds, self._beat)

    def release(self) -> None:
        """Switch the torque off at once: the arm drops; raises as ``torque_on``."""
        self.link.release()
        self.torque = False

    def handover(self) -> None:
        """Start slowly again, since the commands come from another source from now on."""
        self.safety.handover()

    def acknowledge(self) -> None:
        """Resume slowly after a hold because of a servo's state; a released arm stays released.

        Servos clear an error when their torque goes off and on, which happens here within
        milliseconds and in place; raises as ``torque_on``.
        """
        self.safety.acknowledge()
        if self.torque:
            self.link.release_faulty()
            self.torque_on()

    def reset(self, joint_positions: FloatArray) -> None:
        """Switch the torque on if it is off, and move slowly to joint angles, shape (6,) [rad].

        Raises:
            NotArrivedError: If the way is blocked.
            BusError: If the arm cannot be read or commanded.
        """
        self._ready()
        if not self.torque:
            self.torque_on()
        self.move(joint_positions)

    def move(self, joint_positions: FloatArray) -> None:
        """Move slowly to joint angles, shape (6,) [rad].

        Raises:
            TorqueOffError: If the torque is off.
            NotArrivedError: If the way is blocked.
            BusError: If the arm cannot be read or commanded.
        """
        self.handover()
        self.pace.restart()
        self._motion.move(np.array(joint_positions, dtype=np.float64))
        self.handover()
        self.pace.restart()

    def command(self, joint_targets: FloatArray) -> None:
        """Move toward joint angles, shape (6,) [rad], and return when the period is over.

        ``held`` says afterwards what kept the arm from moving.

        Raises:
            ValueError: If the targets have another shape.
            TorqueOffError: If the torque is off.
            ArmUnreadableError: If readings have failed for too long.
            PortLostError: If the port has gone away.
        """
        self._ready()
        if not self.torque:
            raise TorqueOffError(
                f"the arm on port {self.link.port} is released ({self.held or 'as asked for'}): "
                "see that it is safe to move, call acknowledge() where a servo's state was the "
                "reason, then reset() or torque_on()"
            )
        end = self.pace.begin()
        reading = self.link.read_unless_newer(_FRESH * self.pace.period)
        self._carry_out(self._decide(joint_targets, reading), end)
        self.pace.wait()

    def read(self) -> ArmState:
        """Return the current state, or the last one while readings fail; see ``read_telemetry``."""
        reading = self.read_telemetry()
        return ArmState(reading.positions, reading.velocities, reading.currents)

    def read_telemetry(self) -> ArmTelemetry:
        """Return the arm's telemetry, with the time of the reading, and act on it.

        A gripper that presses too hard is loosened, and an arm with a servo beyond its limits is
        held or released.

        Raises:
            ArmUnreadableError: If readings have failed for too long.
            PortLostError: If the port has gone away.
        """
        self._ready()
        reading = self.link.read_patiently()
        if self.torque:
            decision = self.safety.watch(reading, self._clock())
            if decision.verdict is Verdict.RELEASE:
                self._carry_out(decision, self._clock())
            elif decision.targets is not None:
                self._goals.send_changed(decision.targets)
        return reading

    def close(self) -> None:
        """Release the arm as the settings say, and close the port; harmless the second time.

        If that fails, the supervisor is left to try.

        Raises:
            PortLostError: If the port has gone away; the servos keep their goals.
            BusError: If the torque of a motor could not be switched off.
        """
        if self._closed:
            return
        self._closed = True
        try:
            if self.torque:
                self._ready()
                let_go(self, self.settings.letting_go)
        finally:
            self.link.close()
            if self._supervision is not None:
                self._supervision.close(released=not self.torque)
                self._supervision = None

    def _ready(self) -> None:
        """Send a heartbeat, and reopen a lost port."""
        self._beat()
        if not self.link.lost:
            return
        holds = self.torque and self.settings.on_return == "hold"
        reading = self.link.reopen(torque_on=holds)
        if self.torque and not holds:
            self.held = "its port was lost, and on_return says release"
        self.torque = holds
        self._start_from(reading)
        _LOG.warning("port %s is back: the arm is %s", self.link.port, "held" if holds else "off")

    def _beat(self) -> None:
        if self._supervision is not None:
            self._supervision.beat(needed=not self._closed)  # a release needs no supervisor

    def _start_from(self, reading: ArmTelemetry) -> None:
        """Let the next command start slowly from where the arm is."""
        self._goals.start_from(reading.positions)
        self.safety.connect()
        self.pace.restart()

    def _decide(self, joint_targets: FloatArray, reading: ArmTelemetry) -> Decision:
        """Return the decision of the safety layer on a command."""
        fault = reading.fault()
        if not fault:
            return self.safety.decide(joint_targets, reading, self._clock())
        # A servo that protects itself has little or no torque, so that the others stay in place.
        self.safety.handover()
        decision = self.safety.watch(reading, self._clock())
        if decision.verdict is Verdict.RELEASE:
            return decision
        return Decision(Verdict.HOLD, decision.targets, fault)

    def _carry_out(self, decision: Decision, end: float) -> None:
        """Carry out a decision of the safety layer, by the end of the period [s]."""
        if decision.reason and decision.reason != self.held:
            _LOG.warning("the arm is not moved (%s): %s", decision.verdict, decision.reason)
        self.held, self.limited = decision.reason, decision.limited
        if decision.verdict is Verdict.RELEASE:
            self.release()
        elif decision.verdict is Verdict.SEND and decision.targets is not None:
            self._goals.ramp(decision.targets, end)
        elif decision.targets is not None:
            self._goals.send_changed(decision.targets)
