"""Options of a physical robot: the two arms in a settings file."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from envs.hardware.arm.arm_settings import ArmSettings
from envs.hardware.leader.grabbing import GrabRule
from envs.hardware.leader.leader_settings import LeaderSettings
from envs.hardware.letting_go.letting_go import LettingGo
from envs.hardware.setup.calibration import Calibration, calibration_path, read_calibration
from envs.kinematics import Kinematics
from envs.options import integer, mapping, number, refuse_unknown

_PLACES = {
    "follower": ("robots", ("so101_follower", "so_follower")),
    "leader": ("teleoperators", ("so101_leader", "so_leader")),
}
_OF_THE_PORT = ("port", "calibration", "id", "baudrate", "margin")
_MARGIN = 0.02  # [s]: some USB adapters hold bytes back for up to 16 ms


@dataclass(frozen=True)
class ArmPort:
    """Connection to an arm.

    Attributes:
        port: Path of its serial port.
        calibration: Calibration of its motors.
        baudrate: Bits per second.
        margin: Time by which an answer may be later than the wire time [s].
    """

    port: str
    calibration: Calibration
    baudrate: int
    margin: float


@dataclass(frozen=True)
class LastResort:
    """Settings of the supervisor of an arm whose control process has died.

    Attributes:
        hold: Time for which the arm is held where it is [s].
        ramp: Time in which its torque is then lowered [s].
    """

    hold: float = 5.0
    ramp: float = 3.0

    def __post_init__(self) -> None:
        """Check the entries."""
        number("supervisor.hold", self.hold, 0.0, 600.0)
        number("supervisor.ramp", self.ramp, 0.1, 30.0)


@dataclass(frozen=True)
class FollowerOptions:
    """Options of the arm that works: connection, settings and supervisor."""

    reached: ArmPort
    settings: ArmSettings
    last_resort: LastResort


@dataclass(frozen=True)
class LeaderOptions:
    """Options of the arm that a hand moves: connection and settings."""

    reached: ArmPort
    settings: LeaderSettings


def follower_options(options: Any, control_hz: float) -> FollowerOptions:
    """Read the options of ``follower``.

    Args:
        options: Mapping with ``port``; ``calibration`` (LeRobot's file) or ``id`` (its name in
            LeRobot's folder); ``baudrate``; ``margin``; fields of ``ArmSettings`` except
            ``control_hz``, with ``letting_go`` a mapping of ``LettingGo``; ``supervisor``, a
            mapping of ``LastResort``.
        control_hz: Number of commands per second [Hz].

    Raises:
        TypeError: If an option is unknown or missing, or no mapping.
        ValueError: If a value is out of its range.
        CalibrationError: If the calibration cannot be read.
    """
    given = _given("follower", options, ArmSettings, ("supervisor",), ("control_hz",))
    resort = given.pop("supervisor", {})
    reached = _reached("follower", given)
    if "letting_go" in given:
        ways = dict(_section("follower.letting_go", given["letting_go"], LettingGo))
        if isinstance(ways.get("rest"), list):
            ways["rest"] = tuple(ways["rest"])
        given["letting_go"] = LettingGo(**ways)
    settings = ArmSettings(control_hz=control_hz, **given)
    last = LastResort(**_section("follower.supervisor", resort, LastResort))
    return FollowerOptions(reached, settings, last)


def leader_options(options: Any) -> LeaderOptions:
    """Read the options of ``leader``.

    Args:
        options: Mapping with ``port``; ``calibration`` or ``id``, as for a follower; ``baudrate``;
            ``margin``; fields of ``LeaderSettings``, with ``grab`` a mapping of ``GrabRule``.

    Raises:
        TypeError: If an option is unknown or missing, or no mapping.
        ValueError: If a value is out of its range.
        CalibrationError: If the calibration cannot be read.
    """
    given = _given("leader", options, LeaderSettings)
    reached = _reached("leader", given)
    if "grab" in given:
        given["grab"] = GrabRule(**_section("leader.grab", given["grab"], GrabRule))
    return LeaderOptions(reached, LeaderSettings(**given))


def _given(
    arm: str,
    options: Any,
    settings: type,
    more: tuple[str, ...] = (),
    but: tuple[str, ...] = (),
) -> dict[str, Any]:
    """Return the options of an arm, and refuse unknown ones."""
    given = mapping(arm, options)
    known = ({each.name for each in fields(settings)} - set(but)) | {*_OF_THE_PORT, *more}
    refuse_unknown(given, known, arm)
    return dict(given)


def _section(where: str, options: Any, kind: type) -> Mapping[str, Any]:
    given = mapping(where, options)
    refuse_unknown(given, {each.name for each in fields(kind)}, where)
    return given


def calibration_file(arm: str, options: Any) -> Path:
    """Return the path of an arm's calibration, whether the file exists or not.

    Args:
        arm: "follower" or "leader".
        options: Options of the arm, as for ``follower_options``.

    Raises:
        TypeError: If there is neither ``calibration`` nor ``id``, or both, or no mapping.
    """
    given = mapping(arm, options)
    file, identifier = given.get("calibration"), given.get("id")
    if (file is None) == (identifier is None):
        raise TypeError(
            f"{arm} needs either 'calibration' (a file, see e2hil calibrate) or 'id' (the arm's "
            "name where LeRobot keeps calibrations)"
        )
    if file is not None:
        return Path(str(file)).expanduser()
    kind, names = _PLACES[arm]
    places = [calibration_path(kind, name, str(identifier)) for name in names]
    return next((place for place in places if place.exists()), places[0])


def _reached(arm: str, given: dict[str, Any]) -> ArmPort:
    """Take the connection to an arm out of the options."""
    port = given.pop("port", None)
    if not isinstance(port, str) or not port:
        raise TypeError(f"{arm} lacks 'port': its serial port, e.g. /dev/ttyACM0")
    path = calibration_file(arm, given)
    for name in ("calibration", "id"):
        given.pop(name, None)
    baudrate = integer(f"{arm}.baudrate", given.pop("baudrate", 1_000_000), 9600, 1_000_000)
    margin = number(f"{arm}.margin", given.pop("margin", _MARGIN), 0.002, 0.1)
    return ArmPort(port, read_calibration(path, Kinematics().joint_limits), baudrate, margin)
