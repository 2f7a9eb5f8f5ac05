"""Whether cameras deliver what an environment needs: pictures, of their size, in time."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence

from e2hil_rllib.commands.doctor.camera_source import CameraSource
from e2hil_rllib.commands.doctor.camera_watch import Watched, watch
from e2hil_rllib.commands.doctor.findings import Finding, Found, Level
from envs.frames import CameraError
from envs.hardware.cameras.camera_capture import import_opencv
from envs.hardware.cameras.camera_settings import CameraSettings

_SECONDS = 2.0
_SLOWEST = 0.8  # of the rate that is asked for
_LONG_GAP = 4.0  # periods of a frame
_MOST_REPEATS = 0.05  # of all frames
_DARK = 12.0  # mean of a frame, of 255
_LIGHT_STEP = "give it more light, or a longer exposure (exposure=N in its driver's unit)"
_LID_STEP = "take off its lens cap and check its cable; if it stays black, the camera is dead"
_FROZEN_STEP = "unplug it for a moment, or start what sends its stream anew"


def examine_cameras(sources: Sequence[CameraSource], seconds: float = _SECONDS) -> list[Finding]:
    """Opens cameras and watches what they deliver.

    Args:
        sources: the cameras.
        seconds: how long to watch them [s].
    """
    try:
        cv2 = import_opencv()
    except CameraError as error:
        what, _, step = str(error).partition("): ")
        return [Finding("OpenCV", Level.FAULT, f"{what})", step)]
    findings = []
    for where, source, watched in zip(
        _names(sources), sources, watch(cv2, sources, seconds), strict=True
    ):
        if isinstance(watched, CameraError):
            found = iter([_failure(str(watched))])
        else:
            found = judge(source, watched)
        findings += [Finding(where, *each) for each in found]
    return findings


def judge(source: CameraSource, watched: Watched) -> Iterator[Found]:
    """Says what is to be said of a camera that could be opened."""
    status, settings = watched.status, watched.settings
    if status.trouble:
        yield _failure(status.trouble)
        return
    if not watched.frames:
        what = f"no frame came for {watched.seconds:.1f} s after the first ones"
        yield Level.FAULT, what, "check its cable, and what sends its stream"
        return
    if status.losses:
        what = f"was lost {status.losses} times within {watched.seconds:.1f} s, and came back"
        yield Level.FAULT, what, "check its cable and plug"
    yield from _examine_pace(source, watched)
    yield from _examine_pictures(watched)
    yield from _examine_repeats(source, watched)
    if not settings.is_device and settings.resolution != source.settings.resolution:
        width, height = settings.resolution
        what = f"its frames are {width}x{height}, which no setting can change"
        yield Level.NOTE, what, f"write resolution: [{width}, {height}] into its settings"


def _failure(message: str) -> Found:
    """A camera's own error, which says what to do behind the first colon."""
    what, _, step = message.partition(": ")
    return Level.FAULT, what, step


def _examine_pace(source: CameraSource, watched: Watched) -> Iterator[Found]:
    """The rate and the longest gap against what the camera is set to."""
    settings = watched.settings
    still = source.may_stand_still or watched.repeats == len(watched.frames)
    rate = watched.rate(with_repeats=still)
    width, height = settings.resolution
    what = (
        f"{width}x{height}, {rate:.1f} of {settings.fps:g} frames/s, longest gap "
        f"{1e3 * watched.longest_gap:.0f} ms, newest {1e3 * watched.age:.0f} ms old"
    )
    if rate < _SLOWEST * settings.fps:
        yield Level.FAULT, what, _faster(settings, rate)
    elif watched.longest_gap > settings.stale_after:
        step = f"a gap over {settings.stale_after:g} s ends an episode: {_faster(settings, rate)}"
        yield Level.FAULT, what, step
    elif watched.longest_gap > _LONG_GAP / settings.fps:
        step = "end other programs that need the processor; use another USB port, without a hub"
        yield Level.NOTE, what, step
    else:
        yield Level.OK, what, ""


def _faster(settings: CameraSettings, rate: float) -> str:
    """What makes a camera faster."""
    or_less = f"or ask for less: fps={max(1, round(rate))}"
    if not settings.is_device:
        return f"check the network, let its sender send smaller frames, {or_less}"
    compressed = "" if settings.pixel_format == "MJPG" else "pixel_format=MJPG, "
    return (
        "give it more light or a fixed exposure, since a long one halves the rate; try "
        f"{compressed}a smaller resolution, another USB port without a hub; {or_less}"
    )


def _examine_pictures(watched: Watched) -> Iterator[Found]:
    """Whether there is something to be seen."""
    frames = watched.frames
    black = sum(frame.brightness == 0 for frame in frames)
    if black:
        yield Level.FAULT, f"{black} of {len(frames)} frames are black", _LID_STEP
    elif (mean := sum(frame.brightness for frame in frames) / len(frames)) < _DARK:
        yield Level.NOTE, f"dark: mean brightness {mean:.0f} of 255", _LIGHT_STEP


def _examine_repeats(source: CameraSource, watched: Watched) -> Iterator[Found]:
    """Whether the picture is frozen, or some frames are only repeated."""
    repeats, frames = watched.repeats, len(watched.frames)
    if watched.settings.may_repeat:
        return
    if repeats == frames and source.may_stand_still:
        step = (
            f"right where a rendered scene stands still: then set may_repeat; else {_FROZEN_STEP}"
        )
        yield Level.NOTE, "the picture never changed", step
    elif repeats == frames:
        yield Level.FAULT, "the picture is frozen: it never changed", _FROZEN_STEP
    elif repeats > _MOST_REPEATS * frames and not source.may_stand_still:
        what = f"{repeats} of {frames} frames only repeat the one before"
        yield Level.NOTE, what, f"its sensor is slower than its driver says: {_LIGHT_STEP}"


def _names(sources: Sequence[CameraSource]) -> list[str]:
    """Short names of the cameras, or whole sources where those would be alike."""
    count = Counter(source.name for source in sources)
    return [
        f"camera {source.name if count[source.name] == 1 else source.settings.source}"
        for source in sources
    ]
