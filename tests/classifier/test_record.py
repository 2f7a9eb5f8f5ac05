"""Labelled episodes from a simulation that continues after success."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from e2hil_rllib.classifier.dataset import read_recordings
from e2hil_rllib.classifier.record import LabelledRecordingError, record_labelled
from e2hil_rllib.data.episodes import read_episodes
from e2hil_rllib.settings.run_settings import Settings


class Slide(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """Dot on a line that its person leads to the right end, where the task is solved."""

    metadata = {"render_modes": [], "render_fps": 5}  # noqa: RUF012
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)

    def __init__(
        self, operator: dict[str, Any], reward: str, cameras: tuple[str, ...] = ("top",),
        tells: bool = True,
    ) -> None:  # fmt: skip
        assert reward == "external"
        self._leads = operator["mode"] == "demonstrate"
        self._tells = tells
        self._cameras = cameras
        boxes = {name: gymnasium.spaces.Box(0, 255, (4, 40, 3), np.uint8) for name in cameras}
        state = gymnasium.spaces.Box(0, 1, (1,), np.float32)
        self.observation_space = gymnasium.spaces.Dict({**boxes, "state": state})

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._place = float(self.np_random.uniform(0, 0.5))
        return self._observe(), self._info(None)

    def step(self, action: np.ndarray) -> Any:
        led = np.array([0.4], np.float32) if self._leads else None
        move = float((action if led is None else led)[0])
        self._place = float(np.clip(self._place + 0.1 * move, 0, 1))
        return self._observe(), 0.0, False, False, self._info(led)

    def _observe(self) -> dict[str, np.ndarray]:
        frame = np.zeros((4, 40, 3), np.uint8)
        frame[:, round(39 * self._place)] = 255
        return dict.fromkeys(self._cameras, frame) | {"state": np.array([self._place], np.float32)}

    def _info(self, led: np.ndarray | None) -> dict[str, Any]:
        truth = {"task_succeed": self._place > 0.9} if self._tells else {}
        led_action = np.zeros(1, np.float32) if led is None else led
        return {"is_intervention": led is not None, "teleop_action": led_action, **truth}


gymnasium.register("TestSlide-v0", Slide, max_episode_steps=40)


def settings_with(task: str = "TestSlide-v0", seed: int = 0, **env: Any) -> Settings:
    values = {"task": task, "seed": seed, "env": env, "stop": {"steps": 1}}
    return Settings.model_validate(values)


def test_every_frame_is_labelled_and_success_does_not_end_an_episode(tmp_path: Path) -> None:
    seen: list[int] = []
    recording = record_labelled(settings_with(), tmp_path / "new", 5, seen.append)
    episodes = read_episodes(tmp_path / "new")
    assert seen == [1, 2, 3, 4, 5] and [e.episode for e in episodes] == [0, 1, 2, 3, 4]
    for episode in episodes:
        place = episode.observations["state"][:, 0]
        np.testing.assert_array_equal(episode.rewards, place[1:] > 0.9)
        moved = np.clip(place[:-1] + 0.1 * episode.actions[:, 0], 0, 1)
        np.testing.assert_allclose(place[1:], moved, atol=1e-6)
        assert episode.truncated and not episode.terminated and episode.fps == 5
    led = episodes[0]
    assert led.is_intervention.all() and led.rewards.sum() == 20 and led.succeed
    assert not episodes[1].is_intervention.any() and episodes[1].num_steps <= 40
    labelled = read_recordings([tmp_path / "new"])
    assert recording.frames == sum(len(e.success) for e in labelled)
    assert recording.success_frames == sum(int(e.success.sum()) for e in labelled)


def test_recordings_follow_from_the_seed_and_episodes_differ(tmp_path: Path) -> None:
    starts = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        record_labelled(settings_with(seed=seed), tmp_path / name, 5)
        episodes = read_episodes(tmp_path / name)
        starts.append([float(e.observations["state"][0, 0]) for e in episodes])
    assert starts[0] == starts[1] != starts[2] and len(set(starts[0])) == 5


def test_a_folder_that_holds_episodes_is_left_alone(tmp_path: Path) -> None:
    record_labelled(settings_with(), tmp_path, 1)
    with pytest.raises(LabelledRecordingError, match="already holds 1 episodes"):
        record_labelled(settings_with(), tmp_path, 1)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (settings_with("Pendulum-v1"), "cannot be made with a person and reward 'external'"),
        (settings_with("Nothing-v0"), "Nothing-v0 cannot be made"),
        (settings_with(cameras=()), "has no cameras.*env.cameras"),
        (settings_with(tells=False), "does not say in info"),
    ],
)
def test_an_unfit_environment_is_refused(tmp_path: Path, settings: Settings, message: str) -> None:
    with pytest.raises(LabelledRecordingError, match=message):
        record_labelled(settings, tmp_path / "out", 1)
    assert not (tmp_path / "out").exists()
