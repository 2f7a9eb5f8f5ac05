"""Recording demonstrations from a simulated person."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest

from e2hil_rllib.commands.record import RecordingError, record_demonstrations
from e2hil_rllib.data.episodes import read_episodes
from e2hil_rllib.errors import UserError
from e2hil_rllib.settings.run_settings import Settings


class Reach(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """A point that its person leads to the origin; a clumsy person fails at every second start."""

    metadata = {"render_modes": [], "render_fps": 5}  # noqa: RUF012
    observation_space = gymnasium.spaces.Dict(
        {"state": gymnasium.spaces.Box(-9, 9, (2,), np.float32)}
    )
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)

    def __init__(self, operator: dict[str, Any] | None = None, fault: str = "") -> None:
        self._leads = operator is not None and operator.get("mode") == "demonstrate"
        self._clumsy = bool(operator and operator.get("clumsy"))
        self._fault = fault
        self._starts = 0

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        super().reset(seed=seed)
        self._place = self.np_random.uniform(1, 2, 2).astype(np.float32)
        self._steps = 0
        self._fails = self._clumsy and self._starts % 2 == 0
        self._starts += 1
        return {"state": self._place.copy()}, {"is_intervention": False, "succeed": False}

    def step(self, action: np.ndarray) -> Any:
        assert not action.any()
        led = np.clip(-self._place, -0.5, 0.5).astype(np.float32) if self._leads else action
        self._place = self._place + led
        self._steps += 1
        done = bool(np.abs(self._place).max() < 0.1) and not self._fails
        reported = {"nan": led * np.nan, "shape": led[:1]}.get(self._fault, led)
        info = {"is_intervention": self._leads, "teleop_action": reported, "succeed": done}
        return {"state": self._place.copy()}, float(done), done, self._steps == 8, info


gymnasium.register("TestReach-v0", Reach)


def settings_with(seed: int = 0, **env: Any) -> Settings:
    values = {"task": "TestReach-v0", "seed": seed, "env": env, "stop": {"steps": 1}}
    return Settings.model_validate(values)


def test_the_executed_actions_are_recorded(tmp_path: Path) -> None:
    seen = []
    recording = record_demonstrations(
        settings_with(), tmp_path / "demos", 3, lambda kept, _: seen.append(kept)
    )
    episodes = read_episodes(tmp_path / "demos")
    assert [e.episode for e in episodes] == [0, 1, 2] and seen == [1, 2, 3]
    assert recording.episodes == 3 and recording.failed == 0
    assert recording.steps == sum(e.num_steps for e in episodes)
    for episode in episodes:
        place = episode.observations["state"]
        np.testing.assert_allclose(np.diff(place, axis=0), episode.actions, atol=1e-6)
        assert episode.is_intervention.all() and episode.terminated and episode.succeed
        assert episode.rewards.tolist() == [0.0] * (episode.num_steps - 1) + [1.0]
        assert episode.fps == 5 and episode.task == "TestReach-v0"


def test_failures_are_dropped_and_counted(tmp_path: Path) -> None:
    recording = record_demonstrations(settings_with(operator={"clumsy": True}), tmp_path, 2)
    assert (recording.episodes, recording.failed) == (2, 2)
    assert [e.succeed for e in read_episodes(tmp_path)] == [True, True]


def test_starts_differ_and_follow_from_the_seed(tmp_path: Path) -> None:
    starts = []
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        record_demonstrations(settings_with(seed), tmp_path / name, 2)
        starts.append([e.observations["state"][0].tolist() for e in read_episodes(tmp_path / name)])
    assert starts[0] == starts[1] != starts[2] and starts[0][0] != starts[0][1]


@pytest.mark.parametrize(
    ("env", "message"),
    [
        ({"fault": "nan"}, "TestReach-v0, step 0: info.*nan"),
        ({"fault": "shape"}, r"expected finite numbers of shape \(2,\)"),
        ({"operators": {}}, "cannot be made.*operators"),
    ],
)
def test_what_the_environment_does_wrong_is_named(
    tmp_path: Path, env: dict[str, Any], message: str
) -> None:
    with pytest.raises(UserError, match=message):
        record_demonstrations(settings_with(**env), tmp_path / "demos", 1)


def test_an_environment_without_a_person_is_refused(tmp_path: Path) -> None:
    values = {"task": "Pendulum-v1", "stop": {"steps": 1}}
    with pytest.raises(UserError, match=r"demonstrations\.path"):
        record_demonstrations(Settings.model_validate(values), tmp_path, 1)


def test_recorded_episodes_are_not_mixed_with_others(tmp_path: Path) -> None:
    record_demonstrations(settings_with(), tmp_path, 1)
    with pytest.raises(RecordingError, match="already holds 1 episodes"):
        record_demonstrations(settings_with(), tmp_path, 1)


def test_a_person_who_never_succeeds_ends_the_recording(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Reach, "reset", _always_failing(Reach.reset))
    with pytest.raises(RecordingError, match="Only 0 of 20 attempts"):
        record_demonstrations(settings_with(operator={"clumsy": True}), tmp_path, 2)


def _always_failing(reset: Any) -> Any:
    def failing(self: Reach, **kwargs: Any) -> Any:
        self._starts = 0
        return reset(self, **kwargs)

    return failing
