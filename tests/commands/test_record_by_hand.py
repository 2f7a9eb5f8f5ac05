"""`e2hil record` and `e2hil replay` with a person at the virtual arm."""

from __future__ import annotations

import threading
from pathlib import Path

import numpy as np
import pytest

from e2hil_rllib.commands.arm.replay import ReplayError, replay, show_replay
from e2hil_rllib.commands.record import RecordingError, record_demonstrations, record_with_progress
from e2hil_rllib.data.episodes import episode_files, read_episode, read_episodes
from e2hil_rllib.settings.run_settings import Settings
from envs.kinematics import HOME
from tests.commands.at_the_arm import PersonAtTheArm, settings_of
from tests.patience import wait_until
from tests.station import Station

pytestmark = pytest.mark.realtime


@pytest.fixture(autouse=True)
def _leader_in_hand(station: Station) -> None:
    station.ask("grab_and_move", [0.22, 0.0, 0.06], 0.3)


def lead(person: PersonAtTheArm, verdict: str, to: tuple[float, float, float]) -> None:
    """For the next episode: leads the leader somewhere, then says how it went."""

    def judge_there() -> None:
        wait_until(lambda: np.linalg.norm(np.subtract(person.station.ask("tcp"), to)) < 0.01)
        person.press(verdict, after=0.5)()

    def act() -> None:
        person.station.ask("grab_and_move", list(to), 0.2)
        threading.Thread(target=judge_there, daemon=True).start()

    person.on("the person leads", act)


def test_what_a_person_leads_is_recorded_and_done_again(
    station: Station, person: PersonAtTheArm, tmp_path: Path
) -> None:
    folder, settings = tmp_path / "demos", settings_of(station)
    person.on("ready", person.press("take over", after=1.0), person.press("take over"))
    lead(person, "failure", (0.24, 0.0, 0.06))
    lead(person, "success", (0.24, 0.06, 0.07))
    assert record_with_progress(settings, folder, 1, person.console)
    (episode,) = read_episodes(folder)
    assert episode.is_intervention.all() and episode.succeed and episode.terminated
    assert episode.rewards.tolist() == [0.0] * (episode.num_steps - 1) + [1.0]
    assert np.abs(episode.observations["state"][0, :6] - HOME).max() < 0.05
    assert np.abs(episode.actions[:, :3]).max() > 0.3
    assert "1 attempts were dropped" in person.printed

    person.on("ready", person.press("give back"))
    figure = tmp_path / "replay.png"
    show_replay(settings, episode_files(folder)[0], figure, person.console)
    assert f"Replayed {episode.num_steps} steps" in person.printed and figure.exists()

    person.on("ready", person.press("give back"))
    again = replay(settings, episode_files(folder)[0], person.console)
    # The servos are soft: where the arm sagged to in the recording, it sags from now.
    assert again.ended == "" and again.deviation.max() < 0.02


def test_recording_goes_on_and_what_is_recorded_again_is_kept_aside(
    station: Station, person: PersonAtTheArm, tmp_path: Path
) -> None:
    folder, settings = tmp_path / "demos", settings_of(station)
    person.on("ready", person.press("take over", after=1.0), person.press("stop"))
    lead(person, "success", (0.24, 0.0, 0.06))
    recording = record_demonstrations(settings, folder, 2, console=person.console)
    assert recording.stopped and len(read_episodes(folder)) == recording.episodes == 1
    with pytest.raises(RecordingError, match=r"already holds 1 episodes.*--resume"):
        record_demonstrations(settings, folder, 2, console=person.console)

    def not_that_one() -> None:
        person.press("re-record")()
        person.press("take over", after=0.3)()

    first = episode_files(folder)[0].read_bytes()
    person.on("ready", not_that_one, person.press("take over"), person.press("take over"))
    lead(person, "success", (0.22, 0.05, 0.06))
    lead(person, "re-record", (0.2, 0.05, 0.06))
    lead(person, "success", (0.22, 0.0, 0.06))
    recording = record_demonstrations(settings, folder, 2, console=person.console, resume=True)
    assert (recording.episodes, recording.failed, recording.stopped) == (2, 1, False)
    assert len(read_episodes(folder)) == 2
    (aside,) = (folder / "discarded").iterdir()
    assert aside.read_bytes() == first


def test_an_episode_of_another_rate_or_kind_is_refused(
    station: Station, person: PersonAtTheArm, tmp_path: Path
) -> None:
    simulated = {"task": "envs:SO101TouchCube-v0", "stop": {"steps": 1}}
    record_demonstrations(Settings.model_validate(simulated), tmp_path / "demos", 1)
    (path,) = episode_files(tmp_path / "demos")
    with pytest.raises(ReplayError, match=r"recorded at 10 Hz.*--set env.control_hz=10"):
        replay(settings_of(station, control_hz=20.0), path, person.console)
    with pytest.raises(ReplayError, match="There is no episode file"):
        replay(settings_of(station), tmp_path / "no.parquet", person.console)


def test_a_simulated_arm_does_it_again_too(tmp_path: Path, person: PersonAtTheArm) -> None:
    simulated = Settings.model_validate({"task": "envs:SO101TouchCube-v0", "stop": {"steps": 1}})
    record_demonstrations(simulated, tmp_path / "demos", 1)
    (path,) = episode_files(tmp_path / "demos")
    result = replay(simulated, path, person.console)
    steps = read_episode(path).num_steps
    assert len(result.replayed) > min(steps, 5) and result.deviation.max() < 0.02
