"""The learner's side of the connection: what its settings may be, and what they make."""

from __future__ import annotations

import math
import ssl
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest

from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.errors import UserError
from e2hil_rllib.external.learner.connector import Connector
from e2hil_rllib.external.protocol.secure import SecurityError
from tests.external.certificates import make_pair

BOX = gym.spaces.Box(-1, 1, (2,), np.float32)


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    path = tmp_path / "token.txt"
    path.write_text("open sesame, open sesame".replace(" ", "_"))
    path.chmod(0o600)
    return path


def test_by_default_only_this_machine_is_served_without_a_token_or_encryption() -> None:
    connector = Connector("inbox")
    assert (connector.host, connector.port) == ("127.0.0.1", 5656)
    assert connector.token() is None and connector.tls() is None


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"port": -1}, "external.port is -1, expected 0 to 65535"),
        ({"port": 65_536}, "external.port is 65536"),
        (
            {"lowest_update_ratio": 3, "highest_update_ratio": 2},
            "lowest_update_ratio is 3 and highest_update_ratio 2, expected 0 <= lowest <= highest",
        ),
        ({"lowest_update_ratio": -1}, "expected 0 <= lowest"),
        ({"lowest_update_ratio": math.nan}, "expected 0 <= lowest"),
        ({"highest_update_ratio": math.inf}, "expected 0 <= lowest"),
        ({"lowest_update_ratio": 0, "highest_update_ratio": 0}, "a highest above 0"),
        ({"seconds_per_iteration": 0}, "seconds_per_iteration is 0, expected more than 0"),
        ({"seconds_per_iteration": 61}, "at most 60"),
        ({"policy_interval": -0.1}, "policy_interval is -0.1, expected 0 to 3600"),
        ({"certificate": "c.pem"}, "certificate and private_key go together: set both or none"),
        ({"private_key": "k.pem"}, "certificate and private_key go together"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Connector("inbox", **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"port": 0, "lowest_update_ratio": 0, "highest_update_ratio": 0.1},
        {"port": 65_535, "lowest_update_ratio": 2, "highest_update_ratio": 2},
        {"seconds_per_iteration": 60, "policy_interval": 0},
    ],
)
def test_the_ends_of_the_ranges_are_valid(settings: dict[str, Any]) -> None:
    Connector("inbox", **settings)


def test_other_machines_are_served_only_with_a_token(token_file: Path) -> None:
    with pytest.raises(SecurityError, match=r"'0\.0\.0\.0', where other machines may reach it"):
        Connector("inbox", host="0.0.0.0")
    served = Connector("inbox", host="0.0.0.0", token_file=str(token_file))
    assert served.token() == "open_sesame,_open_sesame"
    token_file.chmod(0o644)
    with pytest.raises(UserError, match="Others than its owner may use the token file"):
        Connector("inbox", token_file=str(token_file))


def test_a_certificate_and_its_key_make_a_server_that_speaks_tls(tmp_path: Path) -> None:
    pair = make_pair(tmp_path, "127.0.0.1")
    settings = {"certificate": str(pair.certificate), "private_key": str(pair.key)}
    context = Connector("inbox", **settings).tls()
    assert isinstance(context, ssl.SSLContext)
    with pytest.raises(UserError, match="nowhere"):
        Connector("inbox", certificate="nowhere.pem", private_key="nowhere.pem").tls()


def configured(folder: Path, **settings: Any) -> E2HiLConfig:
    config = E2HiLConfig().environment(observation_space=BOX, action_space=BOX)
    return config.external(inbox=folder / "inbox", **settings)


def test_the_configuration_takes_its_keys_and_names_the_inbox_absolutely(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    connector = configured(Path("run"), port=0, highest_update_ratio=8).connector
    assert connector is not None
    assert connector.inbox == str(tmp_path / "run" / "inbox")
    assert (connector.port, connector.highest_update_ratio) == (0, 8)
    with pytest.raises(ValueError, match=r"external\.port is 70000"):
        configured(tmp_path, port=70_000)
    with pytest.raises(TypeError, match="prot"):
        configured(tmp_path, prot=1)


def test_robots_need_an_episode_log(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"external\(\.\.\.\) needs .*episode_log=FOLDER"):
        configured(tmp_path).validate()
    configured(tmp_path).human_in_the_loop(episode_log=tmp_path / "log").validate()
