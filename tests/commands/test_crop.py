"""Pictures of the cameras' raw frames and of what the policy gets of them."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import gymnasium
import matplotlib.image
import numpy as np
import pytest
from typer.testing import CliRunner

from e2hil_rllib.commands.cli.app import app
from e2hil_rllib.commands.crop import CropError, draw_crops
from e2hil_rllib.settings.run_settings import Settings

BLUE, GREEN = (0, 0, 180), (0, 200, 0)


class Watched(gymnasium.Env[dict[str, np.ndarray], np.ndarray]):
    """Sees a blue frame with a green right half, of which the view keeps the green."""

    metadata = {"render_modes": []}  # noqa: RUF012
    observation_space = gymnasium.spaces.Dict({"top": gymnasium.spaces.Box(0, 255, (9,), np.uint8)})
    action_space = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
    seeds: list[int | None] = []  # noqa: RUF012
    closed = 0

    def __init__(self, cameras: bool = True, fault: str = "") -> None:
        self._fault = fault
        crop = SimpleNamespace(left=40, top=10, width=30, height=30)
        view = SimpleNamespace(crop=crop, apply=lambda frame: frame[10:40:2, 40:70:2])
        self.cameras = SimpleNamespace(raw=self._raw, views={"top": view}) if cameras else None

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        if self._fault:
            raise RuntimeError(self._fault)
        Watched.seeds.append(seed)
        return {"top": np.zeros(9, np.uint8)}, {}

    def close(self) -> None:
        Watched.closed += 1

    def _raw(self) -> dict[str, np.ndarray]:
        frame = np.full((60, 80, 3), BLUE, np.uint8)
        frame[:, 40:] = GREEN
        return {"top": frame}


gymnasium.register("TestWatched-v0", Watched, disable_env_checker=True)


def settings_with(**env: Any) -> Settings:
    values = {"task": "TestWatched-v0", "seed": 6, "env": env, "stop": {"steps": 1}}
    return Settings.model_validate(values)


def pixels_like(picture: np.ndarray, colour: Any) -> np.ndarray:
    return np.abs(picture.astype(int) - np.array(colour)).max(axis=-1) < 12


def test_the_crop_is_outlined_beside_what_the_policy_sees(tmp_path: Path) -> None:
    paths = draw_crops(settings_with(), tmp_path / "new" / "folder")
    assert paths == [tmp_path / "new" / "folder" / "top.png"]
    picture = (matplotlib.image.imread(paths[0])[..., :3] * 255).round()
    left, right = np.array_split(picture, [int(picture.shape[1] * 0.56)], axis=1)
    rows, columns = np.nonzero(pixels_like(left, (255, 0, 255)))
    frame_columns = np.nonzero(pixels_like(left, BLUE).any(axis=0))[0]
    # The blue half is 40 of the 80 columns wide: a pixel of the frame is so large in the picture.
    size = np.ptp(frame_columns) / 40
    assert np.ptp(columns) == pytest.approx(30 * size, abs=6)
    assert np.ptp(rows) == pytest.approx(30 * size, abs=6)
    assert columns.min() == pytest.approx(frame_columns.min() + 40 * size, abs=6)
    assert pixels_like(right, GREEN).sum() > 0.5 * right.shape[0] * right.shape[1]
    assert not pixels_like(right, (255, 0, 255)).any()


def test_the_start_is_the_one_of_the_seed_and_the_environment_is_closed(tmp_path: Path) -> None:
    Watched.seeds.clear()
    closed = Watched.closed
    draw_crops(settings_with(), tmp_path)
    draw_crops(settings_with(), tmp_path, seed=3)
    assert Watched.seeds == [6, 3]
    assert Watched.closed == closed + 2


@pytest.mark.parametrize(
    ("env", "message"),
    [
        (
            {"cameras": False},
            r"TestWatched-v0 observes no cameras.*env\.cameras=\[front, wrist\]",
        ),
        ({"lens": 3}, "cannot be made with the settings in 'env': .*lens"),
        ({"fault": "camera 'top' is dead"}, "cannot be started: camera 'top' is dead"),
    ],
)
def test_what_is_wrong_is_said(tmp_path: Path, env: dict[str, Any], message: str) -> None:
    with pytest.raises(CropError, match=message):
        draw_crops(settings_with(**env), tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_the_command_prints_where_the_pictures_are(tmp_path: Path) -> None:
    config = tmp_path / "watched.yaml"
    config.write_text("task: TestWatched-v0\nstop: {steps: 1}\n")
    out = tmp_path / "pictures"
    result = CliRunner().invoke(app, ["crop", str(config), "--out", str(out), "--seed", "4"])
    assert result.exit_code == 0
    assert result.output.split() == [str(out / "top.png")]
    assert Watched.seeds[-1] == 4
    refused = CliRunner().invoke(app, ["crop", str(config), "--set", "env.cameras=false"])
    assert refused.exit_code == 2


def test_the_simulated_cameras_are_drawn(tmp_path: Path) -> None:
    crop = {"left": 100, "top": 80, "width": 400, "height": 300}
    env = {"cameras": {"front": {"resolution": [640, 480], "crop": crop}, "wrist": {}}}
    values = {"task": "envs:SO101TouchCube-v0", "env": env, "stop": {"steps": 1}}
    settings = Settings.model_validate(values)
    try:
        paths = draw_crops(settings, tmp_path)
    except CropError as error:
        assert "OpenGL" in str(error)
        pytest.skip("no off-screen OpenGL on this machine")
    assert [path.name for path in paths] == ["front.png", "wrist.png"]
