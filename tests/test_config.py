"""What the configuration refuses, and that each message says what to do."""

import math

import pytest

from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.settings.inherited_settings import UNUSED_SETTINGS


def config() -> E2HiLConfig:
    return E2HiLConfig().environment("Pendulum-v1")


def test_the_papers_preset_has_the_papers_numbers_and_is_valid():
    c = config().preset("e2hil_paper")
    c.validate()
    assert (c.num_action_samples, c.lower_percentile, c.upper_percentile) == (8, 5, 90)
    assert (c.gamma, c.tau, c.utd_ratio, c.initial_alpha) == (0.97, 0.005, 2, 0.01)
    assert (c.actor_lr, c.critic_lr, c.alpha_lr, c.grad_clip) == (3e-4, 3e-4, 3e-4, 40)
    assert (c.online_capacity, c.demonstration_capacity, c.learning_starts) == (30_000, 10_000, 5)
    assert c.train_batch_size_per_learner == 256
    assert c.target_entropy_nats(4) == -2


@pytest.mark.parametrize(
    ("call", "kwargs", "message"),
    [
        ("entropy_selection", {"lower_percentile": 95}, "0 <= lower < upper <= 100"),
        ("entropy_selection", {"upper_percentile": 120}, "0 <= lower < upper <= 100"),
        (
            "entropy_selection",
            {"num_action_samples": 1},
            r"=1\): must be at least 2",
        ),
        ("entropy_selection", {"rule": "best"}, "must be 'entropy', 'log_entropy' or 'random'"),
        ("training", {"utd_ratio": 0}, r"training\(utd_ratio=0\): must be at least 1"),
        ("training", {"utd_ratio": 1.5}, r"utd_ratio=1.5\): must be a whole number"),
        ("training", {"num_subsampled_critics": 3}, "within 1..num_critics"),
        ("training", {"gamma": 1.2}, r"gamma=1.2\): must be at most 1"),
        ("training", {"initial_alpha": 0}, r"initial_alpha=0\): must be above 0"),
        ("training", {"initial_alpha": math.inf}, r"initial_alpha=inf\): must be a finite number"),
        ("training", {"actor_lr": -1.0}, r"actor_lr=-1.0\): must be above 0"),
        ("training", {"critic_lr": math.nan}, r"critic_lr=nan\): must be a finite number"),
        (
            "training",
            {"target_entropy": math.nan},
            r"target_entropy=nan\): must be a finite",
        ),
        (
            "training",
            {"highest_return": math.inf},
            r"highest_return=inf\): must be a finite",
        ),
        (
            "training",
            {"lowest_return": "least"},
            r"'least'\): must be a number or 'auto'",
        ),
        ("training", {"lowest_return": 1, "highest_return": 1}, "must be below highest_return=1"),
        ("training", {"n_step": 0}, r"n_step=0\): must be at least 1"),
        ("training", {"exploration_noise": -0.1}, r"exploration_noise=-0.1\): must be at least 0"),
        ("training", {"fine_scales": [0]}, r"fine_scales=\(0,\)\): must be above 0"),
        ("imitation", {"weight": -1.0}, r"imitation\(weight=-1.0\): must be at least 0"),
        ("imitation", {"weight": math.nan}, r"imitation\(weight=nan\): must be a finite number"),
        ("imitation", {"dropout": 1.0}, r"imitation\(dropout=1.0\): must be below 1"),
        ("imitation", {"rows": "some"}, r"imitation\(rows='some'\): must be 'all' or 'selected'"),
        ("imitation", {"q_filter_starts": -1}, r"q_filter_starts=-1\): must be at least 0"),
        ("imitation", {"warm_start_updates": 1.5}, r"warm_start_updates=1.5\): must be a whole"),
        ("imitation", {"reinforcement": False, "weight": 0.0}, "not even that"),
        ("training", {"hidden_sizes": ()}, r"hidden_sizes=\(\)\): must be a list of at least 1"),
        ("training", {"hidden_sizes": (32, 0)}, r"hidden_sizes=\(32, 0\)\): must be at least 1"),
        ("human_in_the_loop", {"demonstration_fraction": 2}, "must be at most 1"),
        ("human_in_the_loop", {"interventions": False}, "neither demonstrations nor interv"),
    ],
)
def test_values_out_of_range_are_refused(call, kwargs, message):
    c = config()
    getattr(c, call)(**kwargs)
    with pytest.raises(ValueError, match=message):
        c.validate()


@pytest.mark.parametrize(
    ("kwargs", "instead"),
    [
        ({"twin_q": False}, "num_critics"),
        ({"training_intensity": 4.0}, "utd_ratio"),
        ({"num_steps_sampled_before_learning_starts": 7}, "learning_starts"),
        ({"store_buffer_in_checkpoints": True}, "checkpoint_buffers"),
        ({"replay_buffer_config": {"capacity": 5}}, "online_capacity"),
        ({"target_network_update_freq": 3}, "tau"),
        ({"lr": 0.1}, "actor_lr"),
    ],
)
def test_inherited_settings_that_do_nothing_are_refused_with_their_replacement(kwargs, instead):
    c = config().training(**kwargs)
    with pytest.raises(ValueError, match=f"has no effect on E2HiL.*{instead}"):
        c.validate()


def test_every_unused_setting_exists_in_rllib():
    assert not [name for name in UNUSED_SETTINGS if not hasattr(E2HiLConfig(), name)]


def test_folders_are_made_absolute_for_processes_that_run_elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    c = config().human_in_the_loop(demonstrations="recorded", episode_log=None)
    assert c.demonstrations == str(tmp_path / "recorded")
    assert c.episode_log is None
    assert config().selection_log is None
    assert c.entropy_selection(selection_log="judged").selection_log == str(tmp_path / "judged")
    assert c.entropy_selection(enabled=False).selection_log == str(tmp_path / "judged")
    assert c.entropy_selection(selection_log=None).selection_log is None


def test_iterations_go_by_steps_not_by_the_clock():
    with pytest.raises(ValueError, match="steps_per_iteration"):
        config().reporting(min_time_s_per_iteration=2).validate()


def test_an_unknown_key_is_refused_with_the_nearest_names():
    with pytest.raises(ValueError, match=r"unknown setting 'upper_percentil'.*upper_percentile"):
        config().update_from_dict({"upper_percentil": 80}).validate()
    with pytest.raises(TypeError, match="upper_percentil"):
        config().entropy_selection(upper_percentil=80)


def test_evaluation_is_deterministic_and_without_the_operator():
    c = config().environment(env_config={"operator": {"skill": 1.0}, "reward": "sparse"})
    evaluation = c.get_evaluation_config_object()
    assert evaluation.explore is False
    assert evaluation.env_config == {"operator": None, "reward": "sparse"}
    assert c.env_config["operator"] == {"skill": 1.0}
    chosen = c.evaluation(evaluation_config={"explore": True}).get_evaluation_config_object()
    assert chosen.explore is True


def test_imitating_selected_rows_needs_a_selection():
    c = config().imitation(rows="selected").entropy_selection(enabled=False)
    with pytest.raises(ValueError, match=r"needs entropy_selection\(enabled=True\)"):
        c.validate()
