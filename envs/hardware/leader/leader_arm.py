"""Physical SO101 leader: it mirrors the follower until a hand takes it, then it leads."""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from envs.closing import Closing
from envs.hardware.arm.arm_link import ArmLink
from envs.hardware.arm.arm_reading import ArmTelemetry
from envs.hardware.bus.servo_bus import FeetechBus
from envs.hardware.errors import BusError, PortLostError
from envs.hardware.leader.grabbing import GrabDetector
from envs.hardware.leader.leader_settings import LeaderSettings
from envs.hardware.leader.mirroring import Mirroring
from envs.hardware.letting_go.supervisor_client import Supervision
from envs.hardware.setup.arm_setup import LEADER
from envs.hardware.setup.calibration import Calibration

FloatArray = NDArray[np.float64]

_LOG = logging.getLogger(__name__)

_REOPEN_PERIOD = 0.5  # [s]
_THREAD_ENDS_IN = 10.0  # [s]
_SETTLES_IN = 1.0  # time in which the detector learns the sag under the weight [s]
_LONGEST_STEP = 0.05  # longest step of the goals' time, even after the thread was held up [s]


class LeaderArm(Closing):
    """Six STS3215 that a hand moves, driven by a thread of their own.

    The control loop never waits for this arm. Nothing here raises because the arm is unreachable:
    ``fault`` says so then, motors that still receive commands go limp, and an arm that comes back
    stays limp until ``mirror`` is called again. Only one thread may use the leader.

    Attributes:
        settings: Settings of the arm.
        firmware: Firmware of each motor by joint, after ``connect``.
        changes: Changes that ``connect`` made to the motors, in words.
    """

    def __init__(
        self,
        bus: FeetechBus,
        calibration: Calibration,
        settings: LeaderSettings | None = None,
        *,
        supervision: Supervision | None = None,
        clock: Callable[[], float] = time.monotonic,
    ):
        """Take over a bus without sending anything.

        Args:
            bus: Bus of the arm; ``close`` closes it.
            calibration: Calibration of this arm.
            settings: Settings of the arm.
            supervision: Client of the supervisor, which releases the arm when this process dies.
            clock: Function that returns the time [s].
        """
        self.settings = settings or LeaderSettings()
        self.firmware: dict[str, str] = {}
        self.changes: list[str] = []
        self._link = ArmLink(bus, calibration, self.settings.patience, clock, registers=LEADER)
        self._supervision, self._clock = supervision, clock
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._defect: BaseException | None = None
        self._positions = np.zeros(6)
        self._follower: FloatArray | None = None  # what to mirror; None to be limp
        self._limp_asked = False  # since the thread's last period
        self._aligned = self._grabbed = False
        self._fault = ""
        self._torque = False  # of any motor; this and the rest belong to the thread
        self._fading_since: float | None = None
        self._mirroring: Mirroring | None = None
        self._mirrored_at = self._mirrored_for = 0.0
        self._detector = GrabDetector(self.settings.grab)

    @property
    def positions(self) -> FloatArray:
        """Joint angles of the last reading, shape (6,) [rad]."""
        self._raise_defect()
        with self._lock:
            return self._positions.copy()

    @property
    def grabbed(self) -> bool:
        """Whether somebody has grabbed the arm since it began to mirror; it is limp since then."""
        self._raise_defect()
        with self._lock:
            return self._grabbed

    @property
    def mirroring(self) -> bool:
        """Whether the arm mirrors the follower."""
        self._raise_defect()
        with self._lock:
            return self._follower is not None and not self._grabbed

    @property
    def aligned(self) -> bool:
        """Whether the arm has reached the follower since it began to mirror."""
        self._raise_defect()
        with self._lock:
            return self._aligned

    @property
    def fault(self) -> str:
        """Reason why the arm is unreachable or cannot mirror although it should; "" if none."""
        self._raise_defect()
        with self._lock:
            return self._fault

    def connect(self) -> None:
        """Check and configure the motors, make the arm limp, and start to read it.

        Raises:
            ArmSetupError: If a motor is missing, of another model, or refuses a value.
            CalibrationMismatchError: If the calibration is not this arm's.
            ServoFaultError: If a motor reports an error.
            BusError: If the arm cannot be read.
        """
        self.firmware = self._link.identify()
        if self._link.energised():
            self._torque = True  # ``close`` switches it off if this fails
            self._link.ramp_down(self.settings.limp_time)
            self._link.release()
            self._torque = False
        self.changes = self._link.configure()
        self._positions = self._link.read().positions
        self._thread = threading.Thread(target=self._run, name="leader", daemon=True)
        self._thread.start()

    def mirror(self, follower: FloatArray) -> None:
        """Mirror the follower, from the next period on; a grabbed arm stays limp.

        Args:
            follower: Joint angles of the follower, shape (6,) [rad].

        Raises:
            ValueError: If the angles have another shape or are not finite.
        """
        angles = np.array(follower, np.float64)
        if angles.shape != (6,) or not np.isfinite(angles).all():
            raise ValueError(f"the follower's angles must be 6 finite numbers, got {follower}")
        self._raise_defect()
        with self._lock:
            self._follower = angles

    def limp(self) -> None:
        """Make the arm limp for a hand, from the next period on; torque that is on fades."""
        self._raise_defect()
        with self._lock:
            self._follower, self._limp_asked = None, True
            self._aligned = self._grabbed = False

    def close(self) -> None:
        """Make the arm limp, or leave that to the supervisor; harmless the second time."""
        self._stopping.set()
        try:
            if self._thread is None:
                self._let_go()
            else:
                self._thread.join(_THREAD_ENDS_IN)
        finally:
            # A thread that still runs cannot switch motors on any more without a port.
            self._link.close()
            released = not self._torque
            if not released:
                _LOG.error("port %s: the leader may still be energised", self._link.port)
            supervision, self._supervision = self._supervision, None
            if supervision is not None:
                supervision.close(released)

    def _run(self) -> None:
        period = 1.0 / self.settings.rate
        due = self._clock()
        try:
            while not self._stopping.is_set():
                self._beat()
                try:
                    self._period()
                except BusError as error:
                    self._lose(error)
                due = max(due + period, self._clock() - period)
                self._stopping.wait(max(0.0, due - self._clock()))
        except BaseException as defect:  # raised again in the thread that uses the leader
            self._defect = defect
        finally:
            self._let_go()

    def _period(self) -> None:
        """Read once, then mirror or go limp as currently wanted."""
        if self._link.lost:
            self._reopen()
        reading = self._link.read_patiently()
        broken = reading.fault()
        with self._lock:
            wanted = None if self._grabbed or self._limp_asked else self._follower
            self._limp_asked = False
            self._positions, self._fault = reading.positions.copy(), ""
            if wanted is not None and broken:  # a servo that protects itself would seem grabbed
                self._fault, wanted = f"port {self._link.port}: {broken}", None
            mirroring = None if wanted is None else self._mirroring
            self._aligned = mirroring is not None and mirroring.aligned
        if wanted is None:
            self._go_limp()
        elif mirroring is None:
            self._begin()
        elif self._in_hand(reading):
            with self._lock:
                self._grabbed, self._aligned = not self._limp_asked, False
            self._fading_since = -math.inf  # it goes off at once
            self._go_limp()
        elif reading.time > self._mirrored_at:  # without a new reading it keeps its goal
            self._send_next(mirroring, wanted)

    def _begin(self) -> None:
        """Switch the torque on where the arm is."""
        self._torque, self._fading_since = True, None  # from the first motor on
        reading = self._link.switch_on(self.settings.torque)
        self._mirrored_at, self._mirrored_for = self._clock(), 0.0
        self._mirroring = Mirroring(self.settings, reading.positions, self._mirrored_for)
        self._detector.reset()
        self._detector.sent(reading.positions, self._mirrored_at)

    def _in_hand(self, reading: ArmTelemetry) -> bool:
        """Return whether a hand moves the arm, not the weight that its servos just took over."""
        moved = self._detector.update(reading.positions, reading.time)
        far = bool(self._detector.excess.max() > self.settings.grab.largest_sag)
        return moved and (far or self._mirrored_for > _SETTLES_IN)

    def _send_next(self, mirroring: Mirroring, follower: FloatArray) -> None:
        """Send the next goals."""
        now = self._clock()
        self._mirrored_for += min(now - self._mirrored_at, _LONGEST_STEP)
        self._mirrored_at = now
        goals = mirroring.next(follower, self._mirrored_for)
        self._link.send(goals)
        self._detector.sent(goals, self._clock())

    def _go_limp(self) -> None:
        """Lower the torque by one period's share, or switch it off at the end."""
        self._mirroring = None
        if not self._torque:
            return
        if self._fading_since is None:
            self._fading_since = self._clock()
        left = 1.0 - (self._clock() - self._fading_since) / self.settings.limp_time
        if left > 0.0:
            self._link.limit_torque(self.settings.torque * left)
        else:
            self._link.release()
            self._torque = False

    def _let_go(self) -> None:
        """Make all motors limp that still answer; ``_torque`` stays set if others are left."""
        with contextlib.suppress(BusError):
            while self._torque:
                self._beat(needed=False)
                self._go_limp()
                time.sleep(1.0 / self.settings.rate)

    def _lose(self, error: BusError) -> None:
        """Record that the arm is unreachable, and release what still answers."""
        with self._lock:
            if not self._fault:
                _LOG.warning("the leader arm cannot be reached: %s", error)
            self._fault, self._aligned = str(error), False
        self._mirroring = None
        if not isinstance(error, PortLostError):
            self._let_go()
        self._link.lost = True  # motors that were without power have forgotten their settings
        self._stopping.wait(_REOPEN_PERIOD)

    def _reopen(self) -> None:
        """Reopen a lost port; the torque is switched off first."""
        self._link.reopen(torque_on=False)
        self._torque = False
        with self._lock:
            self._follower = None  # it may be outdated, and a hand may still be at the cable
        _LOG.warning("the leader arm on port %s is back", self._link.port)

    def _beat(self, needed: bool = True) -> None:
        if self._supervision is not None:
            self._supervision.beat(needed)

    def _raise_defect(self) -> None:
        if self._defect is not None:
            message = f"the leader arm's thread has failed ({self._defect}): close it and restart"
            raise RuntimeError(message) from self._defect
