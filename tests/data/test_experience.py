"""What is stored of segments and recordings, and what a checkpoint shares."""

import dataclasses

import gymnasium as gym
import numpy as np
import pytest

from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.data.collector import EpisodeCollector
from e2hil_rllib.data.episodes import episode_path, write_episode
from e2hil_rllib.data.experience import REPLAY, Experience
from e2hil_rllib.data.transitions import EpisodeSteps
from tests.helpers import make_transitions

SPACE = gym.spaces.Dict(
    state=gym.spaces.Box(-100, 100, (2,), np.float32),
    front=gym.spaces.Box(0, 255, (32, 32, 3), np.uint8),
)
ACTIONS = gym.spaces.Box(-1, 1, (2,), np.float32)


def make(encoder="frozen", space=SPACE, bounds=(None, None), **training):
    config = E2HiLConfig().vision(encoder=encoder).debugging(seed=0)
    config.training(online_capacity=20, demonstration_capacity=20, **training)
    return Experience(config, space, 2, bounds)


def seeing(steps=4):
    segment = make_transitions(0, range(steps))
    generator = np.random.default_rng(0)
    segment.observations["front"] = generator.integers(0, 256, (steps + 1, 32, 32, 3), np.uint8)
    return segment


@pytest.mark.parametrize(("encoder", "dtype"), [("frozen", np.float16), ("cnn", np.uint8)])
def test_frames_are_stored_as_the_encoder_takes_them(encoder, dtype):
    experience = make(encoder)
    experience.add(seeing())
    batch = experience.replay.sample(4, 1)
    assert batch["obs"]["front"].dtype == batch["new_obs"]["front"].dtype == dtype


def test_a_bound_that_an_episode_breaks_is_told(caplog):
    """A reward of 1 at the end is within a bound of 1, two in a row are not."""
    experience = make("frozen", gym.spaces.Dict(state=SPACE["state"]), bounds=(None, 1.0))
    for number, rewards in enumerate(([0, 0, 0, 1], [0, 1, 0, 1], [0, 0, 1, 1])):
        segment = make_transitions(number, range(4))
        experience.add(dataclasses.replace(segment, rewards=np.array(rewards, np.float32)))
    assert len(experience.replay.online) == 12
    (told,) = caplog.messages
    assert "episode 1: its steps returned 1.941, highest_return=1 bounds" in told


def test_vectors_alone_need_no_trunk():
    experience = make("frozen", gym.spaces.Dict(state=SPACE["state"]))
    assert experience.trunk_fingerprint is None
    experience.add(make_transitions(0, range(3)))
    assert len(experience.replay.online) == 3


def test_a_checkpoint_holds_buffers_and_trunk_and_shares_them(tmp_path):
    experience = make()
    experience.add(seeing())
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    experience.save(tmp_path / "one", [])
    experience.save(tmp_path / "two", [tmp_path / "one"])
    (first,), (second,) = (list((tmp_path / n).glob("trunk-*")) for n in ("one", "two"))
    assert first.samefile(second)
    again = make()
    again.load(tmp_path / "two")
    np.testing.assert_array_equal(again.replay.online.ids(), experience.replay.online.ids())


def test_a_checkpoint_without_buffers_holds_the_trunk_all_the_same(tmp_path, caplog):
    caplog.set_level("INFO")
    make(checkpoint_buffers=False).save(tmp_path, [])
    assert list(tmp_path.glob("trunk-*"))
    assert not (tmp_path / REPLAY).exists()
    assert "holds no replay buffers" in caplog.text


def test_the_trunk_that_a_policy_was_trained_on_is_asked_for():
    experience = make()
    experience.check_trunk(experience.trunk_fingerprint)
    experience.check_trunk(None)
    expected = "weights abc, trunk_weights='seed:0' of resnet10t at stride 32 has ebca"
    with pytest.raises(ValueError, match=expected):
        experience.check_trunk("abc")


def test_recordings_become_demonstrations_or_say_why_not(tmp_path):
    def record(folder, side=32, size=2):
        episode = EpisodeSteps(
            episode=0,
            observations={
                "state": np.zeros((4, 2), np.float32),
                "front": np.full((4, side, 32, 3), 7, np.uint8),
            },
            actions=np.zeros((3, size), np.float32),
            rewards=np.array([0, 0, 1], np.float32),
            is_intervention=np.ones(3, bool),
            terminated=True, truncated=False, succeed=True, fps=10.0, task="t",
        )  # fmt: skip
        write_episode(episode_path(tmp_path / folder, 0), episode)
        return tmp_path / folder

    collector = EpisodeCollector(ACTIONS, interventions=True)
    experience = make()
    experience.add_demonstrations(record("good"), collector)
    assert len(experience.replay.demonstrations) == 3
    with pytest.raises(ValueError, match="holds observations"):
        experience.add_demonstrations(record("frames", side=16), collector)
    with pytest.raises(ValueError, match="holds actions of 3 numbers"):
        experience.add_demonstrations(record("actions", size=3), collector)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no episode files"):
        experience.add_demonstrations(tmp_path / "empty", collector)
    make(bounds=(0.0, 1.0)).add_demonstrations(tmp_path / "good", collector)
    with pytest.raises(ValueError, match=r"episode 0: its steps returned 1, highest_return=0\.5"):
        make(bounds=(0.0, 0.5)).add_demonstrations(tmp_path / "good", collector)
    with pytest.raises(
        ValueError, match=r"returned 0\.9409, lowest_return=0\.99 bounds .* to more"
    ):
        make(bounds=(0.99, 1.0)).add_demonstrations(tmp_path / "good", collector)
    small = make()
    small._config.demonstration_capacity = 2
    with pytest.raises(ValueError, match="3 steps do not fit"):
        small.add_demonstrations(tmp_path / "good", collector)
