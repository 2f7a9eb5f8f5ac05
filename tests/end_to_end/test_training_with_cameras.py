"""The algorithm on frames: computed once, kept over a checkpoint, one seed one run."""

import dataclasses
import shutil

import numpy as np
import pytest
import torch

from e2hil_rllib.algorithm import E2HiL
from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.data.episodes import episode_path, read_episodes, write_episode
from e2hil_rllib.networks.frozen_trunk import FrozenTrunk, saved_trunk, shared_trunk
from e2hil_rllib.networks.trunk_stage import TrunkStage
from e2hil_rllib.networks.trunk_weights import load_trunk_weights, save_trunk_weights
from tests.helpers import policy_weights, same_arrays

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_session")]

ENCODERS = ("cnn", "frozen")


@pytest.fixture(autouse=True)
def no_shared_trunk():
    """Every test begins with nothing remembered."""
    shared_trunk.cache_clear()


def make_config(encoder, tmp_path, *, seed=0, vision=None, trunk_weights="seed:0", **training):
    settings = {
        "hidden_sizes": (32, 32), "encoder_size": 16, "train_batch_size_per_learner": 16,
        "steps_per_iteration": 30,
    } | training  # fmt: skip
    return (
        E2HiLConfig()
        .environment("tests.helpers:E2HiLSeeingReach-v0")
        .human_in_the_loop(episode_log=tmp_path / "episodes")
        .vision(encoder=encoder, trunk_weights=trunk_weights, **(vision or {}))
        .training(**settings)
        .debugging(seed=seed)
    )


@pytest.fixture(scope="module", params=ENCODERS)
def trained(request, ray_session, tmp_path_factory):
    """An encoder, and an algorithm that has trained with it, with its folder: only looked at."""
    folder = tmp_path_factory.mktemp(request.param)
    algo = make_config(request.param, folder).build_algo()
    algo.train()
    yield request.param, algo, folder
    algo.stop()


def held_frames(buffer):
    """What a buffer holds as the camera's entry of each (episode, step), before and after it."""
    columns = buffer._columns
    before, after = buffer._frames.empty(len(buffer)), buffer._frames.empty(len(buffer))
    buffer._frames.gather(columns["frame"][: len(buffer)], before)
    buffer._frames.gather(columns["next_frame"][: len(buffer)], after)
    keys = zip(columns["episode"][: len(buffer)], columns["step"][: len(buffer)], strict=True)
    pairs = zip(before["front"], after["front"], strict=True)
    return dict(zip([(int(e), int(s)) for e, s in keys], pairs, strict=True))


def test_replay_holds_what_the_episodes_on_disk_hold(trained):
    encoder, algo, folder = trained
    held = held_frames(algo.replay.online)
    episodes = read_episodes(folder / "episodes")
    assert episodes
    compared = 0
    for episode in episodes:
        stored = episode.observations["front"]
        if encoder == "frozen":
            stored = FrozenTrunk(load_trunk_weights("seed:0", TrunkStage()), TrunkStage()).features(
                stored
            )
        for step in range(episode.num_steps):
            for seen, kept in zip(
                stored[step : step + 2], held[episode.episode, step], strict=True
            ):
                np.testing.assert_allclose(kept, seen, rtol=2e-3, atol=2e-3)
                compared += 1
    assert compared > 20


def test_a_process_that_acts_and_learns_computes_each_frame_once(tmp_path):
    algo = make_config("frozen", tmp_path).build_algo()
    computed = shared_trunk("seed:0", TrunkStage()).computed
    algo.train()
    episodes = read_episodes(tmp_path / "episodes")
    logged = sum(episode.num_steps + 1 for episode in episodes)
    open_steps = 30 - sum(episode.num_steps for episode in episodes)
    new = shared_trunk("seed:0", TrunkStage()).computed - computed
    # The runner may have seen the first frame of the episode that comes next.
    assert logged + open_steps <= new <= logged + open_steps + 1
    algo.stop()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_one_seed_gives_one_run(encoder, tmp_path):
    runs = []
    for name, seed in (("a", 3), ("b", 3), ("c", 4)):
        shared_trunk.cache_clear()
        algo = make_config(encoder, tmp_path / name, seed=seed).build_algo()
        algo.train()
        runs.append(policy_weights(algo))
        algo.stop()
    assert same_arrays(runs[0], runs[1])
    assert not same_arrays(runs[0], runs[2])


def test_a_checkpoint_keeps_the_frames_of_both_buffers(trained, tmp_path):
    _, algo, _ = trained
    algo.save_to_path(tmp_path / "step_1")
    expected = [held_frames(b) for b in (algo.replay.online, algo.replay.demonstrations)]
    shared_trunk.cache_clear()
    restored = E2HiL.from_checkpoint(tmp_path / "step_1")
    found = [held_frames(b) for b in (restored.replay.online, restored.replay.demonstrations)]
    assert same_arrays(policy_weights(restored), policy_weights(algo))
    for one, other in zip(expected, found, strict=True):
        assert len(one) > 0
        assert one.keys() == other.keys()
        assert all(np.array_equal(one[key], other[key]) for key in one)
    restored.train()
    restored.stop()


def test_a_checkpoint_needs_no_file_of_trunk_weights(tmp_path):
    file = tmp_path / "mine.safetensors"
    save_trunk_weights(load_trunk_weights("seed:7", TrunkStage()), file)
    algo = make_config("frozen", tmp_path, trunk_weights=str(file)).build_algo()
    algo.train()
    algo.save_to_path(tmp_path / "step_1")
    algo.save_to_path(tmp_path / "step_2")
    episodes = list(algo.evaluate_episodes(2, seed=5))
    algo.stop()
    file.unlink()
    first, second = saved_trunk(tmp_path / "step_1"), saved_trunk(tmp_path / "step_2")
    assert first.stat().st_ino == second.stat().st_ino
    shutil.move(tmp_path / "step_2", tmp_path / "moved")
    restored = E2HiL.from_checkpoint(str(tmp_path / "moved"))
    assert list(restored.evaluate_episodes(2, seed=5)) == episodes
    restored.stop()


def test_a_policy_is_not_restored_onto_another_trunk(tmp_path):
    algo = make_config("frozen", tmp_path).build_algo()
    algo.save_to_path(tmp_path / "step_1")
    algo.stop()
    other = make_config("frozen", tmp_path, trunk_weights="seed:1").build_algo()
    with pytest.raises(ValueError, match=r"trained on a frozen trunk.*trunk-\*.safetensors"):
        other.restore_from_path(tmp_path / "step_1")
    other.stop()


LITE = {"trunk": "efficientnet_lite0", "stride": 8, "head": "keypoints", "feature_shift": 1}


def test_a_checkpoint_of_another_trunk_resumes_as_it_was(tmp_path):
    algo = make_config("frozen", tmp_path, vision=LITE).build_algo()
    algo.train()
    algo.save_to_path(tmp_path / "step_1")
    episodes = list(algo.evaluate_episodes(2, seed=5))
    held = held_frames(algo.replay.online)
    algo.stop()
    restored = E2HiL.from_checkpoint(str(tmp_path / "step_1"))
    assert next(iter(held.values()))[0].shape[0] == 40
    assert held_frames(restored.replay.online).keys() == held.keys()
    assert list(restored.evaluate_episodes(2, seed=5)) == episodes
    restored.stop()


@pytest.fixture(scope="module")
def lite_checkpoint(ray_session, tmp_path_factory):
    folder = tmp_path_factory.mktemp("lite")
    algo = make_config("frozen", folder, vision=LITE).build_algo()
    algo.save_to_path(folder / "step_1")
    algo.stop()
    return folder / "step_1"


@pytest.mark.parametrize("other", [{}, LITE | {"stride": 16}, {"stride": 8}])
def test_a_checkpoint_of_another_trunk_or_stage_is_refused_by_both_names(
    lite_checkpoint, tmp_path, other
):
    """Before the buffers, whose features would have another shape; nothing is lost."""
    algo = make_config("frozen", tmp_path, vision=other).build_algo()
    own = algo.config.vision_settings.stage
    expected = rf"weights efficientnet_lite0-stride8-\w+, trunk_weights='seed:0' of {own} has"
    with pytest.raises(ValueError, match=expected):
        algo.restore_from_path(lite_checkpoint)
    algo.stop()
    assert saved_trunk(lite_checkpoint).is_file()


def test_the_trunk_is_neither_trained_nor_sent_with_the_weights(tmp_path):
    algo = make_config("frozen", tmp_path).build_algo()
    before = {k: v.clone() for k, v in shared_trunk("seed:0", TrunkStage()).weights.items()}
    algo.train()
    after = shared_trunk("seed:0", TrunkStage()).weights
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert sum(value.size for value in policy_weights(algo).values()) < sum(
        v.numel() for v in before.values()
    )
    assert not [name for name in policy_weights(algo) if "layer4" in name]
    algo.stop()


def test_recorded_frames_fill_the_demonstration_buffer(trained, tmp_path):
    encoder, _, folder = trained
    steps = sum(episode.num_steps for episode in read_episodes(folder / "episodes"))
    again = make_config(encoder, tmp_path)
    again.human_in_the_loop(demonstrations=folder / "episodes")
    algo = again.build_algo()
    assert len(algo.replay.demonstrations) == steps
    (frame, _), *_ = held_frames(algo.replay.demonstrations).values()
    assert frame.dtype == (np.uint8 if encoder == "cnn" else np.float16)
    algo.train()
    algo.stop()


@pytest.mark.parametrize("encoder", ENCODERS)
def test_a_remote_runner_sees_too(encoder, tmp_path):
    algo = make_config(encoder, tmp_path).env_runners(num_env_runners=1).build_algo()
    result = algo.train()
    assert result["num_updates_lifetime"] > 0
    algo.stop()


def test_demonstrations_of_other_frames_are_refused(trained, tmp_path):
    encoder, _, folder = trained
    episode = read_episodes(folder / "episodes")[0]
    wrong = dataclasses.replace(
        episode,
        observations=episode.observations | {"front": episode.observations["front"][:, ::2]},
    )
    write_episode(episode_path(tmp_path / "wrong", 0), wrong)
    config = make_config(encoder, tmp_path / "x")
    config.human_in_the_loop(demonstrations=tmp_path / "wrong")
    with pytest.raises(ValueError, match="holds observations"):
        config.build_algo()
