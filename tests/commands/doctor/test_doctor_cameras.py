"""The doctor, on real streams of this machine that have one fault after the other."""

from __future__ import annotations

import builtins
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from typer.testing import CliRunner, Result

from e2hil_rllib.commands.cli.app import app
from e2hil_rllib.commands.doctor import cameras as doctor_cameras
from e2hil_rllib.commands.doctor.camera_source import CameraSource, CameraSourceError
from e2hil_rllib.commands.doctor.camera_watch import SeenFrame, Watched
from e2hil_rllib.commands.doctor.cameras import examine_cameras, judge
from e2hil_rllib.commands.doctor.findings import Finding, Found, Level
from envs.frames import CameraError
from envs.hardware.cameras.camera_capture import import_opencv
from envs.hardware.cameras.physical_cameras import CameraStatus
from envs.virtual.mjpeg import Fault, MjpegServer
from envs.virtual.virtual_so101 import VirtualSO101

pytestmark = pytest.mark.realtime

try:
    import_opencv()
    _without_opencv = ""
except CameraError as error:
    if isinstance(error.__cause__, ModuleNotFoundError):
        raise  # it comes with this package; only libraries of the system may be missing
    _without_opencv = str(error)

needs_opencv = pytest.mark.skipif(bool(_without_opencv), reason=_without_opencv)

SIZE = (160, 120)
SHORT = 0.6  # s


class Noise:
    """Frames as a sensor's: no two are alike."""

    def __init__(self, brightness: int = 100, size: tuple[int, int] = SIZE) -> None:
        self.brightness, self.size = brightness, size
        self.rng = np.random.default_rng(0)

    def __call__(self) -> NDArray[np.uint8]:
        shape = (self.size[1], self.size[0], 3)
        return (self.brightness + self.rng.integers(0, 6, shape)).astype(np.uint8)


@pytest.fixture
def server() -> Iterator[MjpegServer]:
    sources = {
        "front": Noise(),
        "wrist": Noise(),
        "dark": Noise(1),
        "large": Noise(100, (320, 240)),
    }
    with MjpegServer(sources, fps=30.0) as server:
        yield server


def examine(*described: str, seconds: float = SHORT) -> list[Finding]:
    return examine_cameras([CameraSource.parse(text) for text in described], seconds)


def asked(server: MjpegServer, camera: str, settings: str = "") -> str:
    """A description that asks for the size that the stream has."""
    return f"{server.url(camera)},resolution=160x120{settings}"


def doctor(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["doctor", *map(str, arguments)], env={"COLUMNS": "250"})


@needs_opencv
def test_healthy_cameras_are_measured_side_by_side(server: MjpegServer) -> None:
    result = doctor(
        "--camera", asked(server, "front", ",fps=15"), "--camera", asked(server, "wrist", ",fps=15")
    )
    assert result.exit_code == 0, result.output
    for name in ("camera front", "camera wrist"):
        (row,) = [line for line in result.output.splitlines() if name in line]
        assert "160x120" in row and "of 15 frames/s, longest gap" in row and "ms old" in row
    assert "fault" not in result.output and "serial port" not in result.output


@needs_opencv
def test_the_virtual_arm_and_its_cameras_are_well_together(tmp_path: Path) -> None:
    with VirtualSO101(tmp_path / "arm", cameras=True) as so101:
        assert so101.cameras is not None
        arm, options = so101.follower, []
        for url in so101.cameras.urls.values():
            options += ["--camera", f"{url},fps=10"]  # a machine that is busy renders slowly
        result = doctor("--port", arm.link, "--calibration", arm.calibration_file, *options)
    assert "motor 6 gripper" in result.output and "SO101 on" in result.output
    for name in ("camera front", "camera wrist"):
        assert name in result.output
    assert result.output.count("640x480") == 2 and "write resolution" not in result.output


@needs_opencv
def test_the_size_of_a_stream_is_found_out(server: MjpegServer) -> None:
    pace, size = examine(server.url("large"))
    assert pace.what.startswith("320x240, ")
    assert size.level is Level.NOTE and "resolution: [320, 240]" in size.step
    (wrong,) = examine(asked(server, "large"))
    assert wrong.level is Level.FAULT and "shape (240, 320, 3)" in wrong.what
    assert "set its resolution" in wrong.step


@needs_opencv
def test_a_slow_camera_is_a_fault(server: MjpegServer) -> None:
    (finding,) = examine(asked(server, "front", ",fps=90"))
    assert finding.level is Level.FAULT and "of 90 frames/s" in finding.what
    assert 20 < float(finding.what.split()[1]) < 35
    assert "or ask for less: fps=" in finding.step


@needs_opencv
def test_a_black_camera_is_a_fault_and_a_dark_one_a_note(server: MjpegServer) -> None:
    server.inject("front", Fault.BLACK)
    black = examine(asked(server, "front"))[1]
    assert black.level is Level.FAULT and "frames are black" in black.what
    assert "lens cap" in black.step
    dark = examine(asked(server, "dark"))[1]
    assert dark.level is Level.NOTE and "brightness" in dark.what and "light" in dark.step


@needs_opencv
def test_a_frozen_stream_is_noted_unless_it_may_repeat(server: MjpegServer) -> None:
    examine(asked(server, "front"), seconds=0.1)  # freezing needs a picture
    server.inject("front", Fault.FREEZE)
    pace, frozen = examine(asked(server, "front"))
    assert "160x120" in pace.what
    assert frozen.level is Level.NOTE and frozen.what == "the picture never changed"
    assert "may_repeat" in frozen.step and "unplug" in frozen.step
    assert len(examine(asked(server, "front", ",may_repeat=true"))) == 1


@needs_opencv
def test_a_dead_camera_does_not_hide_the_others(server: MjpegServer) -> None:
    server.inject("wrist", Fault.DISCONNECT)
    dead, alive = examine(asked(server, "wrist"), asked(server, "front"))
    assert dead.where == "camera wrist" and dead.level is Level.FAULT
    assert "cannot be opened" in dead.what and "check its cable" in dead.step
    assert alive.where == "camera front" and "160x120" in alive.what
    assert doctor("--camera", server.url("wrist")).exit_code == 1


@needs_opencv
def test_a_camera_that_dies_meanwhile_is_a_fault(server: MjpegServer) -> None:
    class DiesLater(Noise):
        made = 0

        def __call__(self) -> NDArray[np.uint8]:
            self.made += 1
            if self.made == 25:  # after the first frames, before the last
                dying.inject("front", Fault.STALL)
            return super().__call__()

    with MjpegServer({"front": DiesLater()}) as dying:
        (finding,) = examine(asked(dying, "front"), seconds=2.0)
    assert finding.level is Level.FAULT and "stopped to deliver frames" in finding.what
    assert "check its cable" in finding.step


@needs_opencv
def test_what_is_not_there_is_said_and_nothing_else(
    capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    nothing, no_file = examine("0", "no/such/file.mp4")
    assert "camera '0' cannot be opened" in nothing.what
    assert no_file.where == "camera file.mp4" and no_file.level is Level.FAULT
    assert capfd.readouterr() == ("", "") and not caplog.records


@pytest.mark.parametrize(
    ("message", "step"),
    [
        ("libGL.so.1: cannot open shared object file", "apt install libgl1"),
        ("libgthread-2.0.so.0: cannot open shared object file", "apt install libglib2.0-0"),
    ],
)
def test_missing_libraries_are_a_finding(
    monkeypatch: pytest.MonkeyPatch, message: str, step: str
) -> None:
    real = builtins.__import__

    def without_opencv(name: str, *rest: Any) -> Any:
        if name == "cv2":
            raise ImportError(message)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without_opencv)
    (finding,) = examine("0")
    assert finding.where == "OpenCV" and finding.level is Level.FAULT
    assert finding.what.endswith(f"({message})") and finding.step.endswith(step)


@pytest.mark.parametrize(
    ("text", "source", "resolution", "fps", "name", "still"),
    [
        ("0", 0, (640, 480), 30.0, "0", False),
        ("/dev/v4l/by-id/usb-C920,fps=15", "/dev/v4l/by-id/usb-C920", (640, 480), 15.0,
         "usb-C920", False),
        ("clip.mp4,resolution=1280x720", "clip.mp4", (1280, 720), 30.0, "clip.mp4", True),
        ("http://127.0.0.1:80/front.mjpg", "http://127.0.0.1:80/front.mjpg", (640, 480), 30.0,
         "front", True),
        ("rtsp://10.0.0.9/a?x=1,fps=5", "rtsp://10.0.0.9/a?x=1", (640, 480), 5.0, "a", False),
        ("http://10.0.0.9:81", "http://10.0.0.9:81", (640, 480), 30.0, "10.0.0.9:81", False),
        ("0,may_repeat=true", 0, (640, 480), 30.0, "0", True),
    ],
)  # fmt: skip
def test_a_camera_is_described_in_words(
    text: str, source: object, resolution: object, fps: float, name: str, still: bool
) -> None:
    camera = CameraSource.parse(text)
    settings = camera.settings
    assert (settings.source, settings.resolution, settings.fps) == (source, resolution, fps)
    assert (camera.name, camera.may_stand_still) == (name, still)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0,fsp=15", "did you mean 'fps'"),
        ("0,fps=fast", "fps must be a number"),
        ("0,resolution=640", "resolution must be [width, height]"),
        ("0,fps=[", "--camera 0,fps=["),
        ("99", "from 0 to 63, got 99"),
        ("", "empty string"),
        ("clip.mp4,pixel_format=MJPG", "are set on devices"),
    ],
)
def test_a_wrong_description_is_refused(text: str, words: str) -> None:
    with pytest.raises(CameraSourceError) as refused:
        CameraSource.parse(text)
    assert words in str(refused.value) and f"--camera {text}: " in str(refused.value)
    assert doctor("--camera", text).exit_code == 2


def watched(
    described: str, frames: list[SeenFrame], gap: float = 0.04, losses: int = 0
) -> list[Found]:
    """What is said of a camera that delivered this within a second."""
    source = CameraSource.parse(described)
    status = CameraStatus(True, 0.01, 30.0, losses, losses, "")
    return list(judge(source, Watched(source.settings, 1.0, frames, gap, 0.01, status)))


def frames(number: int, repeated: int = 0) -> list[SeenFrame]:
    return [SeenFrame(place / number, place < repeated, 100.0) for place in range(number)]


def test_a_device_that_is_too_slow_gets_its_own_advice() -> None:
    ((level, what, step),) = watched("0", frames(15))
    assert level is Level.FAULT and "15.0 of 30 frames/s" in what
    for advice in ("light", "exposure", "pixel_format=MJPG", "resolution", "hub", "fps=15"):
        assert advice in step
    assert "MJPG" not in watched("0,pixel_format=MJPG", frames(15))[0][2]
    assert watched("0", frames(24))[0][0] is Level.OK  # 80 %


def test_repeated_frames_of_a_sensor_do_not_count() -> None:
    pace, repeats = watched("0", frames(30, repeated=15))
    assert pace[0] is Level.FAULT and "15.0 of 30 frames/s" in pace[1]
    assert repeats[0] is Level.NOTE and "15 of 30 frames only repeat" in repeats[1]
    assert [found[0] for found in watched("clip.mp4", frames(30, repeated=15))] == [Level.OK]


@pytest.mark.parametrize("source", ["0", "rtsp://10.0.0.9/a"])
def test_a_sensor_whose_picture_never_changes_is_frozen(source: str) -> None:
    pace, frozen = watched(source, frames(30, repeated=30))
    assert pace[0] is Level.OK and frozen[0] is Level.FAULT and "frozen" in frozen[1]


def test_gaps_and_losses_are_told() -> None:
    assert watched("0", frames(29), gap=0.2)[0][0] is Level.NOTE
    level, what, step = watched("0", frames(29), gap=0.6)[0]
    assert level is Level.FAULT and "longest gap 600 ms" in what and "0.5 s" in step
    lost = watched("0", frames(29), losses=2)[0]
    assert lost[0] is Level.FAULT and "lost 2 times" in lost[1]
    ((level, what, _),) = watched("0", [])
    assert level is Level.FAULT and "no frame came" in what


def test_cameras_with_one_name_are_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor_cameras, "import_opencv", lambda: None)
    monkeypatch.setattr(
        doctor_cameras, "watch", lambda cv2, sources, seconds: [CameraError("a: b")] * len(sources)
    )
    found = examine("http://10.0.0.1/video", "http://10.0.0.2/video", "0")
    assert [f.where for f in found] == [
        "camera http://10.0.0.1/video", "camera http://10.0.0.2/video", "camera 0",
    ]  # fmt: skip
    assert found[0].what == "a" and found[0].step == "b"
