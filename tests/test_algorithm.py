"""The algorithm end to end on a small environment with a human in it."""

import math
import shutil

import gymnasium as gym
import numpy as np
import pytest
import ray
from ray import tune

from e2hil_rllib.algorithm import E2HiL
from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.data.episodes import episode_path, read_episode, read_episodes, write_episode
from e2hil_rllib.data.replay import SOURCE
from e2hil_rllib.data.transitions import INTERVENTION, EpisodeSteps
from e2hil_rllib.run.selection_log import read_samples, selection_files
from tests.helpers import ReachEnv, policy_weights, same_arrays

pytestmark = pytest.mark.slow  # its trainings take minutes together


@pytest.fixture(scope="module", autouse=True)
def ray_session():
    """Enough logical CPUs for remote runners, on any machine."""
    ray.init(num_cpus=4, include_dashboard=False, log_to_driver=False, ignore_reinit_error=True)
    yield
    ray.shutdown()


def make_config(seed=0, env_config=None, **training):
    settings = {
        "hidden_sizes": (32, 32), "encoder_size": 16, "train_batch_size_per_learner": 32,
        "steps_per_iteration": 60,
    } | training  # fmt: skip
    return (
        E2HiLConfig()
        .environment("tests.helpers:E2HiLReach-v0", env_config=env_config or {})
        .entropy_selection(diagnostics_interval=1)
        .training(**settings)
        .debugging(seed=seed)
    )


def test_an_iteration_reports_what_the_contract_names():
    algo = make_config().build_algo()
    result = algo.train()
    runners, learner = result["env_runners"], result["learners"]["default_policy"]
    assert result["num_env_steps_sampled_lifetime"] == 60
    assert result["num_updates_lifetime"] == 2 * (60 - 4)  # learning starts at the fifth step
    assert 0 <= runners["autonomous_success_rate"] <= runners["success_rate"] <= 1
    assert 0 < runners["intervention_rate"] < 1
    for name in (
        "critic_loss", "actor_loss", "temperature", "policy_entropy", "influence_mean",
        "influence_lower", "influence_upper", "kept_fraction", "kept_fraction_policy",
        "kept_fraction_intervention", "influence_mean_intervention",
    ):  # fmt: skip
        assert math.isfinite(learner[name]), name
    assert 0.7 < learner["kept_fraction"] < 0.95
    sizes = result["replay"]
    assert sizes == {
        "online_size": len(algo.replay.online),
        "demonstration_size": len(algo.replay.demonstrations),
    }
    assert sizes["online_size"] == 60
    assert sizes["demonstration_size"] == result["num_human_steps_lifetime"] > 0
    algo.stop()


def test_n_steps_are_completed_in_replay_and_delay_nothing():
    """Chunks stay single steps, so that an iteration has exactly its steps and their updates."""
    algo = make_config(n_step=3).build_algo()
    result = algo.train()
    assert result["num_env_steps_sampled_lifetime"] == 60
    assert result["num_updates_lifetime"] == 2 * (60 - 4)
    discounts = algo.replay.online.empty_batch(200)
    algo.replay.online.sample_into(discounts, slice(0, 200), np.random.default_rng(0))
    assert np.isclose(discounts["discounts"], 0.97**3).any()
    algo.stop()


def test_rates_are_nan_before_the_first_episode():
    algo = make_config(steps_per_iteration=5).preset("e2hil_paper").build_algo()
    runners = algo.train()["env_runners"]
    assert math.isnan(runners["success_rate"])
    assert math.isnan(runners["intervention_rate"])
    algo.stop()


def test_rates_cover_the_last_100_episodes_across_iterations_and_resumes(tmp_path):
    algo = make_config(steps_per_iteration=100).build_algo()
    for _ in range(4):
        result = algo.train()
    ids, episodes = algo.replay.online.ids(), result["num_episodes_lifetime"]
    human = len(algo.replay.demonstrations)
    finished = len(algo.state.collector.outcomes)
    assert episodes - 1 <= finished <= episodes  # the last episode may be open
    ended = ids[:, 0] < finished
    assert human > 0
    rates = result["env_runners"]
    assert rates["episode_len_mean"] == pytest.approx(ended.sum() / finished)
    assert rates["intervention_rate"] == pytest.approx(human / ended.sum(), rel=0.1)
    algo.save_to_path(tmp_path / "checkpoint")
    restored = E2HiL.from_checkpoint(tmp_path / "checkpoint")
    assert list(restored.state.collector.outcomes) == list(algo.state.collector.outcomes)
    for a in (algo, restored):
        a.stop()


def test_rllibs_own_evaluation_reports_the_rates_too():
    algo = make_config().evaluation(evaluation_interval=1, evaluation_duration=3).build_algo()
    rates = algo.train()["evaluation"]["env_runners"]
    assert 0 <= rates["success_rate"] <= 1
    assert "autonomous_success_rate" in rates
    algo.stop()


def test_a_relative_checkpoint_path_works(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    algo = make_config(steps_per_iteration=10).build_algo()
    algo.train()
    algo.save_to_path("checkpoint")
    restored = E2HiL.from_checkpoint(str(tmp_path / "checkpoint"))
    assert len(restored.replay.online) == 10
    for a in (algo, restored):
        a.stop()


def test_one_seed_gives_one_run():
    def run(seed):
        algo = make_config(seed).build_algo()
        results = [algo.train() for _ in range(2)]
        learner = [r["learners"]["default_policy"] for r in results]
        numbers = [
            {k: float(v) for k, v in metrics.items() if not math.isnan(v)} for metrics in learner
        ]
        state = policy_weights(algo)
        returns = results[-1]["env_runners"]["episode_return_mean"]
        algo.stop()
        return numbers, returns, state

    first, second, other = run(0), run(0), run(1)
    assert first[0] == second[0]
    assert first[1] == second[1]
    assert same_arrays(first[2], second[2])
    assert not same_arrays(first[2], other[2])


def test_human_steps_are_stored_as_executed_in_the_critics_units():
    algo = make_config().build_algo()
    algo.train()
    batch = algo.replay.online.empty_batch(500)
    algo.replay.online.sample_into(batch, slice(0, 500), np.random.default_rng(0))
    human = batch[SOURCE] == 1
    assert human.any()
    executed = np.clip(-5 * batch["obs"]["state"], -2, 2) / 2  # the box is ±2
    assert np.allclose(batch["actions"][human], executed[human], atol=1e-5)
    moved = batch["obs"]["state"] + 0.1 * 2 * batch["actions"]
    assert np.allclose(batch["new_obs"]["state"], np.clip(moved, -2, 2), atol=1e-5)
    algo.stop()


def test_a_checkpoint_holds_everything(tmp_path):
    """Temperature, buffers, random streams and counters survive a restart."""
    algo = make_config().build_algo()
    for _ in range(2):
        algo.train()
    algo.save_to_path(tmp_path / "checkpoint")
    restored = E2HiL.from_checkpoint(tmp_path / "checkpoint")
    assert same_arrays(policy_weights(algo), policy_weights(restored))
    assert policy_weights(restored)["log_temperature"] != pytest.approx(math.log(0.01))
    for name in ("online", "demonstrations"):
        ids = [getattr(a.replay, name).ids() for a in (algo, restored)]
        assert np.array_equal(*ids)
    batches = [a.replay.sample(32, 2) for a in (algo, restored)]
    assert np.array_equal(batches[0]["actions"], batches[1]["actions"])
    result = restored.train()
    assert result["num_env_steps_sampled_lifetime"] == 180
    assert result["num_updates_lifetime"] == 2 * (180 - 4)
    assert result["training_iteration"] == 3
    assert same_step_numbers_never_repeat(restored)
    for a in (algo, restored):
        a.stop()


def same_step_numbers_never_repeat(algo):
    ids = algo.replay.online.ids()
    return len(np.unique(ids, axis=0)) == len(ids)


def test_starts_do_not_repeat_after_a_resume(tmp_path):
    def first_states(algo):
        ids = algo.replay.online.ids()
        new = [i for i, (_, step) in enumerate(ids) if step == 0]
        frames = algo.replay.online._columns["frame"][new]
        out = algo.replay.online._frames.empty(len(frames))
        algo.replay.online._frames.gather(frames, out)
        return [tuple(row) for row in out["state"]]

    algo = make_config().build_algo()
    algo.train()
    algo.save_to_path(tmp_path / "checkpoint")
    restored = E2HiL.from_checkpoint(tmp_path / "checkpoint")
    restored.train()
    starts = first_states(restored)
    assert len(starts) > 3
    assert len(set(starts)) == len(starts)
    for a in (algo, restored):
        a.stop()


def test_episodes_logged_after_the_checkpoint_are_taken_in_on_resume(tmp_path):
    """A kill loses no finished episode: what the checkpoint lacks is read from the log."""
    log = tmp_path / "episodes"
    algo = make_config().human_in_the_loop(episode_log=log).build_algo()
    algo.train()
    algo.save_to_path(tmp_path / "checkpoint")
    algo.train()
    algo.stop()  # as if killed: no checkpoint since
    logged = read_episodes(log)
    restored = E2HiL.from_checkpoint(tmp_path / "checkpoint")
    held = {tuple(pair) for pair in restored.replay.online.ids()}
    assert {(e.episode, t) for e in logged for t in range(e.num_steps)} <= held
    human = {
        (e.episode, int(t)) for e in logged for t in np.flatnonzero(e.is_intervention)
    }  # fmt: skip
    assert human <= {tuple(pair) for pair in restored.replay.demonstrations.ids()}
    assert same_step_numbers_never_repeat(restored)
    steps = restored.train()["num_env_steps_sampled_lifetime"]
    assert steps > 120
    assert restored.train()["num_updates_lifetime"] == 2 * (steps + 60 - 4)
    assert same_step_numbers_never_repeat(restored)
    restored.stop()


def test_takeovers_are_counted_beside_human_steps_and_go_on_after_a_kill(tmp_path):
    def counted(result):
        return result["num_takeovers_lifetime"], result["num_human_steps_lifetime"]

    log = tmp_path / "episodes"
    algo = make_config().human_in_the_loop(episode_log=log).build_algo()
    before = counted(algo.train())
    assert before[0] == -(-before[1] // 3) > 1  # the human leads three steps at a time
    algo.save_to_path(tmp_path / "checkpoint")
    algo.train()
    algo.stop()  # as if killed: no checkpoint since
    restored = E2HiL.from_checkpoint(tmp_path / "checkpoint")
    since = [e.is_intervention for e in read_episodes(log)]
    led = sum(int(np.diff(human, prepend=False)[human].sum()) for human in since)
    human = sum(int(human.sum()) for human in since)
    assert (restored.state.takeovers, restored.state.human_steps) == (led, human)
    state = restored.get_state()
    del state["e2hil"]["takeovers"]
    restored.set_state(state)
    assert restored.state.takeovers == 0  # a checkpoint from before they were counted
    restored.stop()


def test_the_selection_of_each_iteration_is_logged_and_a_resume_forgets_what_it_undoes(tmp_path):
    folder, log = tmp_path / "selection", tmp_path / "episodes"
    c = make_config().entropy_selection(selection_log=folder, diagnostics_interval=7)
    algo = c.human_in_the_loop(episode_log=log).build_algo()
    algo.train()
    algo.save_to_path(tmp_path / "checkpoint")
    for _ in range(2):
        algo.train()
    assert [step for step, _ in selection_files(folder)] == [60, 120, 180]
    samples = read_samples(selection_files(folder)[-1][1])
    held = {tuple(pair) for pair in algo.replay.online.ids()}
    assert set(zip(samples.episode.tolist(), samples.step.tolist(), strict=True)) <= held
    for episode, step, source in zip(samples.episode, samples.step, samples.source, strict=True):
        if (path := episode_path(log, episode)).exists():
            assert read_episode(path).is_intervention[step] == (source == INTERVENTION)
    algo.stop()
    restored = E2HiL.from_checkpoint(tmp_path / "checkpoint")
    assert len(selection_files(folder)) == 3  # who only evaluates takes nothing away
    steps = restored.train()["num_env_steps_sampled_lifetime"]
    assert [step for step, _ in selection_files(folder)] == [60, steps]
    restored.stop()


def test_a_checkpoint_without_buffers_says_so_and_the_episode_log_rebuilds_both(tmp_path, caplog):
    log = tmp_path / "log"
    config = make_config(checkpoint_buffers=False).human_in_the_loop(episode_log=log)
    algo = config.build_algo()
    algo.train()
    with caplog.at_level("INFO"):
        algo.save_to_path(tmp_path / "checkpoint")
    assert "holds no replay buffers" in caplog.text
    assert not (tmp_path / "checkpoint" / "replay").exists()
    algo.train()
    algo.stop()
    restored = E2HiL.from_checkpoint(tmp_path / "checkpoint")
    logged = read_episodes(log)
    steps = [(episode.episode, step) for episode in logged for step in range(episode.num_steps)]
    assert [tuple(pair) for pair in restored.replay.online.ids()] == steps
    human = sum(int(episode.is_intervention.sum()) for episode in logged)
    assert 0 < len(restored.replay.demonstrations) == human
    restored.stop()


def test_a_checkpoint_of_another_observation_space_is_refused(tmp_path):
    algo = make_config().build_algo()
    algo.train()
    algo.save_to_path(tmp_path / "checkpoint")
    algo.stop()
    other = (
        make_config()
        .environment("Pendulum-v1")
        .human_in_the_loop(interventions=False, demonstration_fraction=0)
        .build_algo()
    )
    with pytest.raises(ValueError, match="environment"):
        other.restore_from_path(tmp_path / "checkpoint")
    shutil.rmtree(tmp_path / "checkpoint" / "replay")
    with pytest.raises(ValueError, match="another observation"):
        other.restore_from_path(tmp_path / "checkpoint")
    other.stop()


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("observation", ValueError, "observation 'state' is not finite"),
        ("reward", ValueError, "the reward is not finite"),
        ("teleop_shape", ValueError, "teleop_action"),
        ("teleop_nan", ValueError, "teleop_action'] is not finite"),
        ("no_info", ValueError, "has no 'is_intervention'"),
        ("crash", RuntimeError, "the motor is on fire"),
    ],
)
def test_a_broken_environment_stops_the_run(fault, error, message):
    algo = make_config(env_config={"fault": fault}).build_algo()
    with pytest.raises(error, match=message):
        algo.train()
    algo.stop()


def write_demonstrations(folder, count=3, action_size=2):
    env = ReachEnv(human_every=0)
    for index in range(count):
        observation, _ = env.reset(seed=index)
        rows, actions = [observation], []
        for _ in range(5):
            actions.append(np.clip(-5 * observation["state"], -2, 2).astype(np.float32))
            observation, *_ = env.step(actions[-1])
            rows.append(observation)
        episode = EpisodeSteps(
            episode=index,
            observations={key: np.stack([row[key] for row in rows]) for key in rows[0]},
            actions=np.stack(actions)[:, :action_size],
            rewards=np.zeros(5, np.float32),
            is_intervention=np.ones(5, bool),
            terminated=False, truncated=True, succeed=False, fps=10.0, task="reach",
        )  # fmt: skip
        write_episode(episode_path(folder, index), episode)


def test_demonstrations_fill_their_buffer_only(tmp_path):
    write_demonstrations(tmp_path)
    algo = make_config().human_in_the_loop(demonstrations=tmp_path).build_algo()
    assert (len(algo.replay.online), len(algo.replay.demonstrations)) == (0, 15)
    learner = algo.train()["learners"]["default_policy"]
    assert 0 < learner["kept_fraction_demonstration"] <= 1
    algo.stop()


def test_a_checkpoint_needs_no_demonstration_folder(tmp_path):
    write_demonstrations(tmp_path / "recorded")
    c = make_config().human_in_the_loop(demonstrations=tmp_path / "recorded", interventions=True)
    algo = c.build_algo()
    algo.train()
    algo.save_to_path(tmp_path / "checkpoint")
    shutil.rmtree(tmp_path / "recorded")
    restored = E2HiL.from_checkpoint(tmp_path / "checkpoint")
    ids = [a.replay.demonstrations.ids() for a in (algo, restored)]
    assert np.array_equal(*ids)
    assert (ids[0][:, 0] < 0).sum() == 15
    restored.train()
    for a in (algo, restored):
        a.stop()


def test_demonstrations_that_do_not_fit_are_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no folder"):
        make_config().human_in_the_loop(demonstrations=tmp_path / "none").build_algo()
    (tmp_path / "empty").mkdir()
    with pytest.raises(ValueError, match="holds no episode files"):
        make_config().human_in_the_loop(demonstrations=tmp_path / "empty").build_algo()
    write_demonstrations(tmp_path)
    c = make_config(demonstration_capacity=10).human_in_the_loop(demonstrations=tmp_path)
    with pytest.raises(ValueError, match="15 steps do not fit into demonstration_capacity=10"):
        c.build_algo()
    write_demonstrations(tmp_path / "narrow", action_size=1)
    with pytest.raises(ValueError, match="holds actions of 1 numbers, the environment takes 2"):
        make_config().human_in_the_loop(demonstrations=tmp_path / "narrow").build_algo()


def test_a_flat_observation_and_no_humans_train_too():
    algo = (
        make_config(steps_per_iteration=30)
        .environment("Pendulum-v1", env_config={})
        .human_in_the_loop(interventions=False, demonstration_fraction=0)
        .build_algo()
    )
    result = algo.train()
    assert result["num_updates_lifetime"] == 2 * (30 - 4)
    assert math.isnan(result["env_runners"]["success_rate"])
    algo.stop()


def test_evaluation_is_deterministic_seeded_and_without_the_operator():
    algo = make_config(env_config={"operator": 1}).build_algo()
    algo.train()
    first, second = (list(algo.evaluate_episodes(4, seed=100)) for _ in range(2))
    assert first == second
    assert [episode["seed"] for episode in first] == [100, 101, 102, 103]
    assert len({episode["info"]["distance"] for episode in first}) == 4
    assert all(episode["info"]["is_intervention"] is False for episode in first)
    assert all(isinstance(episode["success"], bool) for episode in first)
    algo.stop()


def test_several_environments_in_one_runner_keep_their_episodes_apart():
    algo = make_config(steps_per_iteration=120).env_runners(num_envs_per_env_runner=3).build_algo()
    result = algo.train()
    assert result["num_updates_lifetime"] == 2 * (result["num_env_steps_sampled_lifetime"] - 4)
    batch = algo.replay.online.empty_batch(600)
    algo.replay.online.sample_into(batch, slice(0, 600), np.random.default_rng(0))
    moved = np.clip(batch["obs"]["state"] + 0.1 * 2 * batch["actions"], -2, 2)
    assert np.allclose(batch["new_obs"]["state"], moved, atol=1e-5)
    human = batch[SOURCE] == 1
    executed = np.clip(-5 * batch["obs"]["state"], -2, 2) / 2
    assert human.any()
    assert np.allclose(batch["actions"][human], executed[human], atol=1e-5)
    assert same_step_numbers_never_repeat(algo)
    algo.stop()


@pytest.mark.slow
def test_remote_runners_sample_while_the_learner_learns_and_lose_nothing():
    algo = make_config().env_runners(num_env_runners=2).build_algo()
    for _ in range(2):
        result = algo.train()
    steps = result["num_env_steps_sampled_lifetime"]
    assert steps >= 120
    assert result["num_updates_lifetime"] == 2 * (steps - 4)
    ids = algo.replay.online.ids()
    assert same_step_numbers_never_repeat(algo)
    for episode in np.unique(ids[:, 0]):  # every chunk of every episode, in order
        steps_held = ids[ids[:, 0] == episode][:, 1]
        assert np.array_equal(steps_held, np.arange(len(steps_held)))
    algo.stop()


@pytest.mark.slow
def test_an_error_in_a_remote_environment_arrives_as_what_it_is():
    config = make_config(env_config={"fault": "crash"}).env_runners(num_env_runners=1)
    algo = config.build_algo()
    with pytest.raises(RuntimeError, match="the motor is on fire"):
        algo.train()
    algo.stop()


@pytest.mark.slow
def test_remote_learners_train_and_restore(tmp_path):
    algo = make_config().learners(num_learners=1).build_algo()
    result = algo.train()
    assert result["num_updates_lifetime"] == 2 * (60 - 4)
    assert math.isfinite(result["learners"]["default_policy"]["critic_loss"])
    algo.save_to_path(tmp_path / "checkpoint")
    restored = E2HiL.from_checkpoint(tmp_path / "checkpoint")
    assert same_arrays(policy_weights(algo), policy_weights(restored))
    for a in (algo, restored):
        a.stop()


@pytest.mark.slow
def test_tune_knows_the_algorithm_by_name(tmp_path):
    config = make_config(steps_per_iteration=20, utd_ratio=tune.grid_search([1, 2]))
    results = tune.Tuner(
        "E2HiL",
        param_space=config,
        run_config=tune.RunConfig(
            stop={"training_iteration": 2}, storage_path=str(tmp_path), verbose=0
        ),
    ).fit()
    assert not results.errors
    assert sorted(r.metrics["num_updates_lifetime"] for r in results) == [36, 72]


def test_gymnasium_still_makes_the_environment_of_these_tests():
    assert isinstance(gym.make("tests.helpers:E2HiLReach-v0").unwrapped, ReachEnv)
