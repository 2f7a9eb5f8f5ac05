"""The physical SO101 follower, as ``SO101Env`` moves it."""

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

_FRESH = 0.5  # of a period: a command is judged by a reading of this age without a new one


class FeetechArm:
    """Six STS3215 that follow joint targets, each of which passes the safety layer.

    ``connect`` comes first and moves nothing; ``reset`` switches the torque on; ``close`` lets go. While
    readings fail the arm holds, and an error ends that after ``patience`` seconds. When the port is
    lost every call raises ``PortLostError`` until it is back; then the first one reads the state, and
    holds or releases. Not thread-safe; the bus is.

    Attributes:
        settings: How it is driven.
        safety: What all commands pass.
        pace: The control loop's clock, with its overruns.
        link: The way to the servos.
        torque: Whether it is on.
        held: Why the arm did not follow its last command, "" if it did.
        limited: What cut its last command short, as in ``envs.safety.Decision``.
        firmware: Of each motor by joint, after ``connect``.
        changes: What ``connect`` changed in the motors, in words.
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
        """Send nothing yet.

        Args:
            bus: The arm's, closed by ``close``.
            calibration: Of this arm.
            limits: Of all commands.
            settings: How it is driven.
            supervision: Shows life to what lets go of the arm when this process dies.
            clock: The time [s].
            sleep: Waits for so many seconds.
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
        """Why it stands still, or was released, until ``acknowledge``; "" where neither."""
        return self.safety.fault

    @property
    def goal(self) -> FloatArray:
        """What the arm was last sent to, shape (6,) [rad]; where it is, if to nothing yet."""
        sent = self._goals.sent
        return self.read().positions if sent is None else sent

    def connect(self) -> None:
        """Check and configures the motors. An arm that is found energised is held where it is.

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
        self.torque = True  # from the first motor on, which ``close`` then lets go of
        self._start_from(self.link.switch_on())

    def hold(self) -> None:
        """Make the arm's present position its goal; raises as ``torque_on``."""
        self._start_from(self.link.hold())

    def ramp_down(self, seconds: float) -> None:
        """Lower the torque evenly to zero, so that the arm sinks; raises as ``torque_on``."""
        self.link.ramp_down(seconds, self._beat)

    def release(self) -> None:
        """Switch the torque off at once: the arm drops; raises as ``torque_on``."""
        self.link.release()
        self.torque = False

    def handover(self) -> None:
        """Move slowly at first: someone else gives the commands from now on."""
        self.safety.handover()

    def acknowledge(self) -> None:
        """Go on, slowly, after a hold because of a servo's state; a released arm stays so.

        Servos forget an error when their torque goes off and on, which happens here within
        milliseconds and where they are; raises as ``torque_on``.
        """
        self.safety.acknowledge()
        if self.torque:
            self.link.release_faulty()
            self.torque_on()

    def reset(self, joint_positions: FloatArray) -> None:
        """Move slowly to joint angles, shape (6,) [rad]; switches the torque on if it is off.

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

        What keeps the arm from doing so stands in ``held``.

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
        """Return the present state, or the last one while readings fail; see ``read_telemetry``."""
        reading = self.read_telemetry()
        return ArmState(reading.positions, reading.velocities, reading.currents)

    def read_telemetry(self) -> ArmTelemetry:
        """Return all that the arm tells, with the time of the reading.

        The reading is acted upon: a gripper that presses too hard is loosened, and an arm with a
        servo beyond its limits is held or released.

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
        """Let go of the arm as the settings say, and close the port; harmless the second time.

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
        """Show that this process lives, and take a port back that was lost."""
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
            self._supervision.beat(needed=not self._closed)  # whoever lets go needs it no more

    def _start_from(self, reading: ArmTelemetry) -> None:
        """Command go on from where the arm is, slowly."""
        self._goals.start_from(reading.positions)
        self.safety.connect()
        self.pace.restart()

    def _decide(self, joint_targets: FloatArray, reading: ArmTelemetry) -> Decision:
        """Return what may be sent for a command."""
        fault = reading.fault()
        if not fault:
            return self.safety.decide(joint_targets, reading, self._clock())
        # A servo that protects itself pulls weakly or not at all: nothing moves around it.
        self.safety.handover()
        decision = self.safety.watch(reading, self._clock())
        if decision.verdict is Verdict.RELEASE:
            return decision
        return Decision(Verdict.HOLD, decision.targets, fault)

    def _carry_out(self, decision: Decision, end: float) -> None:
        """Do what the safety layer says, by the end of the period [s]."""
        if decision.reason and decision.reason != self.held:
            _LOG.warning("the arm is not moved (%s): %s", decision.verdict, decision.reason)
        self.held, self.limited = decision.reason, decision.limited
        if decision.verdict is Verdict.RELEASE:
            self.release()
        elif decision.verdict is Verdict.SEND and decision.targets is not None:
            self._goals.ramp(decision.targets, end)
        elif decision.targets is not None:
            self._goals.send_changed(decision.targets)
