"""`e2hil robot`: what keeps it from starting, what the person sees, and a short run of it."""

from __future__ import annotations

import io
import math
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from ray.rllib.core import COMPONENT_RL_MODULE
from rich.console import Console
from typer.testing import CliRunner

from e2hil_rllib.commands.arm import robot as module
from e2hil_rllib.commands.arm.robot import run_robot
from e2hil_rllib.commands.arm.robot_display import RobotDisplay
from e2hil_rllib.commands.cli.app import app
from e2hil_rllib.data.outcomes import EpisodeOutcome
from e2hil_rllib.external.learner.robot_runner import RobotEnvRunner
from e2hil_rllib.external.protocol.secure import SecurityError
from e2hil_rllib.external.protocol.weights import Weights
from e2hil_rllib.external.robot.delivery import DeliveryStatus
from e2hil_rllib.external.robot.news import News
from e2hil_rllib.external.robot.robot_loop import RobotError, Tally
from e2hil_rllib.external.robot.spool import Spool
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.settings.build import algorithm_config
from e2hil_rllib.settings.run_settings import Settings
from e2hil_rllib.settings.yaml_file import SettingsError
from tests.external.learner.test_robot_runner import free_ports
from tests.helpers import ReachEnv

REACH = "tests.helpers:E2HiLReach-v0"


def settings_with(**values: Any) -> Settings:
    return Settings.model_validate({"task": REACH, "stop": {"steps": 1}} | values)


@pytest.fixture
def console() -> Console:
    return Console(file=io.StringIO(), width=200)


def printed(console: Console) -> str:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


@pytest.mark.parametrize(
    ("external", "error", "message"),
    [
        (None, SettingsError, r"in the learner's own process\. Add 'external: \{\}' to the settin"),
        (
            {"host": "0.0.0.0", "token_file": "token.txt"},
            SettingsError,
            r"external\.host is 0\.0\.0\.0, where the learner listens\. Name .* external\.learner",
        ),
        ({"host": "::"}, SettingsError, r"external\.host is ::, where the learner listens"),
        ({"learner": "10.0.0.7"}, SecurityError, "'10.0.0.7'.* no token"),
        ({"token_file": "nowhere.txt"}, SecurityError, r"token file .*nowhere\.txt cannot be read"),
        ({"certificate": "nowhere.pem"}, SecurityError, r"nowhere\.pem"),
    ],
)
def test_what_keeps_it_from_starting_is_said_before_anything_is_made(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    console: Console,
    external: dict[str, Any] | None,
    error: type[Exception],
    message: str,
) -> None:
    def made(*_: Any) -> None:
        raise AssertionError("it has begun")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "Spool", made)
    with pytest.raises(error, match=message):
        run_robot(settings_with(external=external), "reach", console)


def test_the_command_says_it_as_a_message(tmp_path: Path) -> None:
    (tmp_path / "reach.yaml").write_text(f"task: {REACH}\nstop: {{steps: 1}}\n")
    result = CliRunner().invoke(app, ["robot", str(tmp_path / "reach.yaml")])
    assert result.exit_code == 2 and "Add 'external: {}'" in result.output


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    external = {"port": free_ports(1), "spool": str(tmp_path / "spool"), "chunk_steps": 3}
    sizes = {"hidden_sizes": [16], "encoder_size": 8}
    return settings_with(external=external, training=sizes, env={"limit": 7, "human_every": 1})


@pytest.fixture
def learner(tmp_path: Path, settings: Settings) -> Iterator[RobotEnvRunner]:
    """What robots talk to, without an algorithm behind it; its policy is as it was drawn."""
    runner = RobotEnvRunner(config=algorithm_config(settings, RunFolder(tmp_path / "run")))
    state = runner.module.get_state(inference_only=True)
    tensors = {name: np.array(value) for name, value in state.items()}
    runner.set_state({COMPONENT_RL_MODULE: tensors})
    runner.publish()
    yield runner
    runner.stop()


def test_the_learners_side_gets_the_same_settings(tmp_path: Path, settings: Settings) -> None:
    changed = {"lowest_update_ratio": 1.0, "highest_update_ratio": 3.0, "policy_interval": 2.0}
    assert settings.external is not None
    external = settings.external.model_copy(update=changed)
    config = algorithm_config(
        settings.model_copy(update={"external": external}), RunFolder(tmp_path / "run")
    )
    connector = config.connector
    assert connector is not None and Path(connector.inbox).parent == tmp_path / "run"
    for name in ("host", "port", "token_file", "certificate", "private_key", *changed):
        assert getattr(connector, name) == getattr(external, name), name
    env = ReachEnv()
    assert config.observation_space == env.observation_space
    assert config.action_space == env.action_space


def test_it_runs_its_episodes_and_the_learner_gets_every_step(
    settings: Settings, learner: RobotEnvRunner, console: Console
) -> None:
    begun = time.monotonic()
    tally = run_robot(settings, "reach", console, episodes=2)
    assert time.monotonic() - begun > 0.1 * (tally.steps - 4), "a simulated arm takes its time"
    chunks = [arrival.chunk for arrival in learner.sample() if arrival.chunk]
    assert tally.episodes == 2 == sum(chunk.ends_episode for chunk in chunks)
    assert tally.steps == sum(chunk.num_steps for chunk in chunks) > 2
    assert tally.human_steps == sum(int(chunk.is_intervention.sum()) for chunk in chunks)
    assert {(chunk.task, chunk.fps) for chunk in chunks} == {(REACH, 10.0)}
    (robot,) = learner.robots()
    assert robot.paused and not robot.stopped, "it may be started again"
    text = printed(console)
    assert "2 episodes done" in text
    assert f"2 episodes, {tally.steps} steps, {tally.human_steps} of them (" in text
    assert "led by a person; stood still 0 times for want of a learner" in text
    assert re.search(r"policy: \d+\.\d\d s old \(p50\)", text)


def test_what_the_learner_can_never_take_is_said_also_at_the_end(
    settings: Settings, learner: RobotEnvRunner, console: Console
) -> None:
    broken = settings.model_copy(update={"env": {"limit": 9, "fault": "observation"}})
    with pytest.raises(RobotError, match=r"What the environment returns is refused: .*not finite"):
        run_robot(broken, "reach", console)
    line = next(it for it in printed(console).splitlines() if "not everything could be sav" in it)
    assert "not finite" in line


def test_what_the_learner_does_not_have_yet_is_safe_and_said(
    tmp_path: Path, console: Console, monkeypatch: pytest.MonkeyPatch
) -> None:
    status = DeliveryStatus(False, 0, 3, "connection refused", False)
    delivery: Any = SimpleNamespace(status=status, flush=lambda seconds: False)
    module._deliver_the_rest(delivery, tmp_path / "spool", console)
    assert printed(console).splitlines() == [
        "sending the rest to the learner",
        f"3 chunks wait in {tmp_path / 'spool'} and are safe: the next 'e2hil robot' sends them.",
    ]


def test_each_session_of_each_robot_has_a_seed_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    with Spool(tmp_path / "one", 1 << 20) as one, Spool(tmp_path / "two", 1 << 20) as two:
        seeds = [module._seed(seed, spool) for seed in (0, 1) for spool in (one, two)]
        assert module._seed(0, one) == seeds[0]
        one.append(lambda _: b"x")
        seeds.append(module._seed(0, one))
    assert len(set(seeds)) == 5 and all(0 <= seed < 2**31 for seed in seeds)


class Seen:
    """A display, and what it is about."""

    def __init__(self, terminal: bool = False, **status: Any) -> None:
        self.text = io.StringIO()
        console = Console(file=self.text, width=200, force_terminal=terminal)
        self.news, self.policy = News(clock=lambda: 5.0), SimpleNamespace(updates=1200)
        values = {"connected": True, "delivered": 9, "waiting": 0, "trouble": "", "refused": False}
        self.status = DeliveryStatus(**(values | status))
        self.display = RobotDisplay(ReachEnv(), self, self.policy, console)  # type: ignore[arg-type]
        self.display.tally = Tally()

    def cells(self) -> dict[str, str]:
        return dict(self.display.cells())


def test_the_line_says_who_acts_how_it_goes_and_how_old_the_policy_is() -> None:
    seen = Seen()
    assert seen.cells() == {
        "acts": "policy", "episode": "1", "success": "-", "alone": "-", "interventions": "-",
        "policy": "1 200 upd, - old",
    }  # fmt: skip
    seen.display.tally.episodes = 4
    seen.display.tally.outcomes += [
        EpisodeOutcome(10, 5, True, 1.0),
        EpisodeOutcome(10, 0, True, 1),
    ]
    seen.news.receive(Weights(1, 1200, 0.0, {}))
    seen.news.take()
    seen.news.hear({"env_steps": 12_345, "success_rate": math.nan})
    seen.display.show({"is_intervention": True})
    assert seen.cells() == {
        "acts": "you", "episode": "5", "success": "100 %", "alone": "50 %",
        "interventions": "25 %", "policy": "1 200 upd, 0.0 s old", "learner": "12 345 steps",
    }  # fmt: skip


def test_what_is_wrong_stands_in_the_line() -> None:
    seen = Seen(trouble="connection refused", waiting=7)
    seen.news.hear({"env_steps": 5})
    seen.display.tally.standing = "the learner is away: connection refused"
    cells = seen.cells()
    assert (cells["acts"], cells["learner"]) == ("nobody", "connection refused")
    assert cells["to send"] == "7 chunks"
    assert cells["stands still"] == "the learner is away: connection refused"
    assert "to send" not in Seen(waiting=1).cells(), "one is always on its way"


def test_elsewhere_than_on_a_terminal_a_line_comes_now_and_then() -> None:
    seen = Seen()
    with seen.display:
        for _ in range(5):
            seen.display.show({"is_intervention": False})
    (line,) = seen.text.getvalue().splitlines()
    assert line.startswith("acts policy  episode 1  success -")


def test_a_terminal_shows_one_live_line() -> None:
    seen = Seen(terminal=True)
    with seen.display:
        seen.display.show({"is_intervention": True})
    assert "you" in seen.text.getvalue() and "1 200 upd" in seen.text.getvalue()
