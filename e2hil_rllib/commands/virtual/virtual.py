"""An SO101 without an SO101: both arms and the cameras, served until somebody stops them."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.console import Console

from e2hil_rllib.commands.interrupt import StopRequest, stop_on_signal
from e2hil_rllib.commands.virtual.virtual_console import LineReader, VirtualConsole, fault_lines
from e2hil_rllib.commands.virtual.virtual_settings import write_settings
from e2hil_rllib.errors import UserError
from envs.virtual.line_faults import FaultRates
from envs.virtual.virtual_hand import PERIOD, VirtualHand
from envs.virtual.virtual_person import VirtualPerson
from envs.virtual.virtual_so101 import VirtualFolderError, VirtualSO101

_LEADING = 20.0  # how long the hand leads [s]
_RESTING = 5.0  # how long it then lets go [s]
_DOES = {
    "demonstrate": "leads every episode that waits, to the cube",
    "intervene": "lets the policy act and takes over when it gets nowhere",
    "rest": "rests until told otherwise, as by typing person demonstrate",
}
_ALONE = ("doctor {}", "teleop {}", "record {}")
_WITH_PERSON = (
    "record {} --out demos    # while the person demonstrates",
    "train {} --set demonstrations.path=demos    # type: person intervene",
    "robot {}    # beside it, in a third terminal",
)
_FOR_THE_HAND = (["grab"], ["let"], ["move"], ["gripper"], ["person"])


class VirtualArmError(UserError):
    """The virtual arms cannot be started, or failed; the message says why and what to do."""


def serve_virtual(
    folder: Path,
    cameras: bool,
    console: Console,
    rates: FaultRates | None = None,
    hand_leads: bool = False,
    seed: int = 0,
    person: str | None = None,
) -> None:
    """`e2hil virtual`: serves a virtual SO101 until Ctrl-C, and removes all of it then.

    Lines that are typed meanwhile are carried out by `VirtualConsole`.

    Args:
        folder: where the links to the ports and the calibrations are to be.
        cameras: whether to serve the cameras, too.
        console: where to say how it is reached.
        rates: of faults on both ports; None for none.
        hand_leads: whether a hand leads the leader about at times, until a line is typed for it.
        seed: of the faults, the hand and the person.
        person: what a person at the arms does, one of `envs.virtual.virtual_person.MODES`; None
            for nobody.

    Raises:
        VirtualArmError: The folder cannot be used, there is no OpenGL for the cameras, both a
            person and a hand are asked for, or the simulation failed.
    """
    if person is not None and hand_leads:
        raise VirtualArmError("--person and --hand exclude each other: there is one leader to lead")
    with (
        _stop_when_asked() as stop,
        _started(folder, cameras) as so101,
        _settings_file(so101, folder, person) as file,
    ):
        _introduce(so101, file, console, person)
        hand, lines = VirtualHand(so101.leader, seed), LineReader()
        somebody = VirtualPerson(so101, hand, person or "rest", seed)
        typed, say = VirtualConsole(so101, hand, somebody), partial(_say, console)
        for place, arm in enumerate((so101.follower, so101.leader) if rates else ()):
            arm.port.disturb(rates or FaultRates(), seed + place)
        turns = take_turns(hand, say) if hand_leads else None
        while not stop:
            time.sleep(PERIOD)
            try:
                for line in lines.poll():
                    if turns is not None and line.split()[:1] in _FOR_THE_HAND:
                        turns = None
                        say("hand: no longer leads by itself")
                    for answer in typed.carry_out(line):
                        say(answer)
                if turns is not None:
                    next(turns)
                elif somebody.mode == "rest":
                    hand.step()
                else:
                    somebody.step()
                so101.check()
            except RuntimeError as error:
                raise VirtualArmError(f"The virtual SO101 failed: {error.__cause__}") from error
        if person is not None:
            say(f"person: {somebody.tally}")
        _sum_up(so101, rates is not None, console)


def fault_rates(
    lost: float, late: float, truncated: float, corrupted: float, unheard: float = 0.0
) -> FaultRates | None:
    """Returns the rates of the command's options, None where all are 0.

    Raises:
        VirtualArmError: They are no probabilities, or more than 1 together.
    """
    try:
        rates = FaultRates(lost, late, truncated, corrupted, unheard=unheard)
    except ValueError as error:
        raise VirtualArmError(
            "--lost, --late, --truncated, --corrupted and --unheard are fractions of packets: "
            f"{error}"
        ) from error
    return None if rates == FaultRates() else rates


def take_turns(
    hand: VirtualHand,
    say: Callable[[str], None],
    leading: float = _LEADING,
    resting: float = _RESTING,
    clock: Callable[[], float] = time.monotonic,
) -> Iterator[None]:
    """Lets a hand grab the leader, wander, let go and rest, again and again, without an end.

    Whoever iterates lets time pass, about `PERIOD`, before each next step.

    Args:
        hand: on the leader; with the same clock.
        say: gets a line at each change.
        leading: how long the hand wanders [s].
        resting: how long it then leaves the leader alone [s].
        clock: returns the time [s].
    """
    wander = hand.wander()
    while True:
        say(f"hand: takes hold of the leader and moves it for {leading:g} s")
        hand.grab()
        end = clock() + leading
        while clock() < end:
            next(wander)
            yield
        hand.let_go()
        wander = hand.wander()
        say(f"hand: lets go, and rests for {resting:g} s")
        end = clock() + resting
        while clock() < end:
            yield


def _started(folder: Path, cameras: bool) -> VirtualSO101:
    """Starts the arms; says what to do where that fails."""
    try:
        return VirtualSO101(folder, cameras)
    except (VirtualFolderError, OSError) as error:
        raise VirtualArmError(f"The virtual SO101 cannot be started: {error}") from error
    except RuntimeError as error:
        raise VirtualArmError(
            f"The virtual SO101 cannot be started: {error}; or leave its cameras out: "
            f"e2hil virtual --dir {folder} --no-cameras"
        ) from error


@contextmanager
def _stop_when_asked() -> Iterator[StopRequest]:
    """As `stop_on_signal`, and also when the terminal is closed."""
    before = signal.getsignal(signal.SIGHUP)
    with stop_on_signal() as stop:
        signal.signal(signal.SIGHUP, lambda *_: signal.raise_signal(signal.SIGTERM))
        try:
            yield stop
        finally:
            signal.signal(signal.SIGHUP, before)


@contextmanager
def _settings_file(so101: VirtualSO101, folder: Path, person: str | None) -> Iterator[Path]:
    """Writes the settings file of the arms, for as long as they live."""
    try:
        file = write_settings(so101, folder, person is not None)
    except (VirtualFolderError, OSError) as error:
        raise VirtualArmError(f"The virtual SO101 cannot be started: {error}") from error
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


def _introduce(
    so101: VirtualSO101, file: Path, console: Console, person: str | None = None
) -> None:
    """Says how everything is reached, and what to try."""
    for name, arm in (("follower", so101.follower), ("leader", so101.leader)):
        _say(console, f"{name}: port {arm.link}, calibration {arm.calibration_file}")
    for name, url in so101.cameras.urls.items() if so101.cameras else ():
        _say(console, f"{name} camera: {url}")
    if person is not None:
        _say(console, f"person: {_DOES[person]}; pedal {so101.pedal_link}")
    _say(console, "In another terminal, try:")
    for command in _WITH_PERSON if person in ("demonstrate", "intervene") else _ALONE:
        _say(console, f"  e2hil {command.format(file)}")
    _say(console, "Type help and Enter for the hand on the leader and for faults.")
    _say(console, "Ctrl-C stops the arms and removes these files.")


def _sum_up(so101: VirtualSO101, with_faults: bool, console: Console) -> None:
    """Says how it went."""
    for line in fault_lines(so101) if with_faults else ():
        _say(console, line)
    for name, arm in (("follower", so101.follower), ("leader", so101.leader)):
        _say(
            console,
            f"{name}: {arm.pace.steps} steps of physics, {arm.pace.overruns} overruns, "
            f"{arm.pace.behind:.2f} s behind real time",
        )


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)
