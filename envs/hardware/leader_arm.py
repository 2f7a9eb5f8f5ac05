"""The physical SO101 leader: it mirrors the follower until a hand takes it, and leads then."""

import logging
import threading
import time
from collections.abc import Callable
from enum import Enum

import numpy as np
from numpy.typing import NDArray

from envs.closing import Closing
from envs.hardware.arm_link import ArmLink
from envs.hardware.arm_reading import ArmTelemetry
from envs.hardware.arm_setup import LEADER
from envs.hardware.bus import FeetechBus
from envs.hardware.calibration import Calibration
from envs.hardware.errors import BusError
from envs.hardware.grabbing import GrabDetector
from envs.hardware.leader_settings import LeaderSettings
from envs.hardware.mirroring import Mirroring
from envs.hardware.supervisor_client import Supervision

FloatArray = NDArray[np.float64]

_LOG = logging.getLogger(__name__)

_REOPEN_PERIOD = 0.5  # [s]
_THREAD_ENDS_IN = 10.0  # [s]


class _Torque(Enum):
    OFF = "off"
    FADING = "fading"
    ON = "on"


class LeaderArm(Closing):
    """Six STS3215 that a hand moves, read and sent to by a thread of their own.

    So the control loop never waits for this arm. Nothing here raises because the arm cannot be
    reached: `fault` says so then, the thread tries again and again, and an arm that comes back is
    limp. Whoever uses the leader is one thread.

    Attributes:
        settings: how it is driven.
        firmware: of each motor by joint, after `connect`.
        changes: what `connect` changed in the motors, in words.
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
        """Sends nothing yet.

        Args:
            bus: the arm's, closed by `close`.
            calibration: of this arm.
            settings: how it is driven.
            supervision: shows life to what lets go of the arm when this process dies.
            clock: the time [s].
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
        self._grabbed = False
        self._fault = ""
        self._torque = _Torque.OFF  # this and what follows belongs to the thread
        self._fading_since = 0.0
        self._mirroring: Mirroring | None = None
        self._detector = GrabDetector(self.settings.grab)

    @property
    def positions(self) -> FloatArray:
        """Joint angles when they were last read, shape (6,) [rad]."""
        self._raise_defect()
        with self._lock:
            return self._positions.copy()

    @property
    def grabbed(self) -> bool:
        """Whether somebody has grabbed it since it began to mirror; it is limp since then."""
        self._raise_defect()
        with self._lock:
            return self._grabbed

    @property
    def mirroring(self) -> bool:
        """Whether it goes where the follower is."""
        with self._lock:
            return self._follower is not None and not self._grabbed

    @property
    def aligned(self) -> bool:
        """Whether it has come to where the follower is since it began to mirror."""
        mirroring = self._mirroring
        return mirroring is not None and mirroring.aligned

    @property
    def fault(self) -> str:
        """Why it cannot be reached at present, "" if it can."""
        self._raise_defect()
        with self._lock:
            return self._fault

    def connect(self) -> None:
        """Checks and configures the motors, makes the arm limp, and reads it from then on.

        Raises:
            ArmSetupError: if a motor is missing, of another model, or refuses a value.
            CalibrationMismatch: if the calibration is not this arm's.
            ServoFault: if a motor reports an error.
            BusError: if the arm cannot be read.
        """
        self.firmware = self._link.identify()
        if self._link.energised():
            self._link.release()
        self.changes = self._link.configure()
        self._positions = self._link.read().positions
        self._thread = threading.Thread(target=self._run, name="leader", daemon=True)
        self._thread.start()

    def mirror(self, follower: FloatArray) -> None:
        """Goes where the follower is, from the next period on; does nothing once it is grabbed.

        Args:
            follower: the follower's joint angles, shape (6,) [rad].

        Raises:
            ValueError: if they have another shape or are not finite.
        """
        angles = np.array(follower, np.float64)
        if angles.shape != (6,) or not np.isfinite(angles).all():
            raise ValueError(f"the follower's angles must be 6 finite numbers, got {follower}")
        self._raise_defect()
        with self._lock:
            self._follower = angles

    def limp(self) -> None:
        """Lets a hand lead, from the next period on; the torque fades if it is on."""
        self._raise_defect()
        with self._lock:
            self._follower, self._grabbed = None, False

    def close(self) -> None:
        """Makes the arm limp and closes the port; harmless the second time."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join(_THREAD_ENDS_IN)
        released = self._torque is _Torque.OFF
        try:
            if not released and not self._link.lost:
                self._link.ramp_down(self.settings.limp_time)
                self._link.release()
                released, self._torque = True, _Torque.OFF
        except BusError as error:
            _LOG.error("the leader's torque could not be switched off: %s", error)
        finally:
            self._link.close()
            if self._supervision is not None:
                self._supervision.close(released)
                self._supervision = None

    def _run(self) -> None:
        period = 1.0 / self.settings.rate
        due = self._clock()
        try:
            while not self._stopping.is_set():
                if self._supervision is not None:
                    self._supervision.beat()
                try:
                    self._period()
                except BusError as error:
                    self._lose(error)
                due = max(due + period, self._clock() - period)
                self._stopping.wait(max(0.0, due - self._clock()))
        except BaseException as defect:
            with self._lock:
                self._defect = defect
            if not isinstance(defect, Exception):
                raise

    def _period(self) -> None:
        """Reads once, and does what is wanted at that moment."""
        if self._link.lost:
            self._take_back()
        reading = self._link.read_patiently()
        with self._lock:
            self._positions, self._fault = reading.positions.copy(), ""
            follower = None if self._grabbed else self._follower
        if follower is None:
            self._go_limp()
        elif self._mirroring is None or self._torque is not _Torque.ON:
            self._begin(reading)
        elif self._detector.update(reading.positions, reading.time):
            self._link.release()
            self._torque, self._mirroring = _Torque.OFF, None
            with self._lock:
                self._grabbed = self._follower is not None
        else:
            goals, now = self._mirroring.next(follower, self._clock()), self._clock()
            self._link.send(goals)
            self._detector.sent(goals, now)

    def _begin(self, reading: ArmTelemetry) -> None:
        """Switches the torque on, where the arm is."""
        self._torque = _Torque.ON  # from the first motor on
        reading = self._link.switch_on(self.settings.torque)
        now = self._clock()
        self._detector.reset()
        self._detector.sent(reading.positions, now)
        self._mirroring = Mirroring(self.settings, reading.positions, now)

    def _go_limp(self) -> None:
        """Lowers the torque by one period's share, and switches it off at the end."""
        self._mirroring = None
        if self._torque is _Torque.ON:
            self._torque, self._fading_since = _Torque.FADING, self._clock()
        if self._torque is not _Torque.FADING:
            return
        left = 1.0 - (self._clock() - self._fading_since) / self.settings.limp_time
        if left > 0.0:
            self._link.limit_torque(self.settings.torque * left)
        else:
            self._link.release()
            self._torque = _Torque.OFF

    def _lose(self, error: BusError) -> None:
        """Notes that the arm cannot be reached; it is limp, and not grabbed, when it returns."""
        with self._lock:
            if not self._fault:
                _LOG.warning("the leader arm cannot be reached: %s", error)
            self._fault = str(error)
        self._stopping.wait(_REOPEN_PERIOD if self._link.lost else 0.0)

    def _take_back(self) -> None:
        """Opens a port again that was lost; the torque goes off first."""
        self._mirroring = None
        self._link.reopen(torque_on=False)
        self._torque = _Torque.OFF
        _LOG.warning("the leader arm on port %s is back", self._link.port)

    def _raise_defect(self) -> None:
        if self._defect is not None:
            raise RuntimeError("the leader arm's thread has failed") from self._defect
