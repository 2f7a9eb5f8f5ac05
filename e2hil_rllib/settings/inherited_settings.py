"""Settings that RLlib's configuration brings or would silently take, and E2HiL refuses by name."""

from __future__ import annotations

from ray.rllib.algorithms.algorithm_config import AlgorithmConfig

from e2hil_rllib.section import did_you_mean

#: Settings of RLlib that E2HiL does not read, and what to set in their place.
UNUSED_SETTINGS = {
    "twin_q": "training(num_critics=...)",
    "q_model_config": "training(hidden_sizes=...)",
    "policy_model_config": "training(hidden_sizes=...)",
    "model": "training(hidden_sizes=..., encoder_size=...)",
    "replay_buffer_config": "training(online_capacity=..., demonstration_capacity=...)",
    "training_intensity": "training(utd_ratio=...)",
    "store_buffer_in_checkpoints": "training(checkpoint_buffers=...)",
    "num_steps_sampled_before_learning_starts": "training(learning_starts=...)",
    "target_network_update_freq": "training(tau=...): the target moves at every minibatch",
    "optimization": "training(actor_lr=..., critic_lr=..., alpha_lr=...)",
    "lr": "training(actor_lr=..., critic_lr=..., alpha_lr=...)",
    "grad_clip_by": "training(grad_clip=...): each optimizer's gradient is clipped by its norm",
    "train_batch_size": "training(train_batch_size_per_learner=...)",
    "minibatch_size": "training(train_batch_size_per_learner=...)",
    "num_epochs": "training(utd_ratio=...)",
    "shuffle_batch_per_epoch": "nothing: minibatches are drawn at random",
    "min_time_s_per_iteration": "training(steps_per_iteration=...)",
    "min_sample_timesteps_per_iteration": "training(steps_per_iteration=...)",
    "min_train_timesteps_per_iteration": "training(steps_per_iteration=...)",
    "torch_skip_nan_gradients": "nothing: a gradient that is not finite stops the run",
    "clip_actions": "nothing: the policy acts in [-1, 1]^d, which is scaled to the action space",
    "normalize_actions": "nothing: the policy acts in [-1, 1]^d, scaled to the action space",
    "_learner_connector": "nothing: batches come from replay ready to learn from",
    "_env_to_module_connector": "a gymnasium wrapper: replay stores what the environment returns",
    "_deterministic_loss": "nothing",
    "_use_beta_distribution": "nothing: the policy is a tanh-squashed Gaussian",
    "restart_failed_env_runners": "nothing: an error of the environment stops the run",
    "ignore_env_runner_failures": "nothing: an error of the environment stops the run",
}

#: Set by RLlib itself on the copies that it makes for its workers.
_SET_BY_RLLIB = {"worker_index", "simple_optimizer", "class"}


def refuse_unknown_settings(config: AlgorithmConfig, defaults: AlgorithmConfig) -> None:
    """Refuse a setting that does not exist; ``update_from_dict`` takes any name silently.

    Raises:
        ValueError: Naming the setting and the nearest ones that exist.
    """
    known = {name for name in vars(defaults) if not name.startswith("_")} | _SET_BY_RLLIB
    for name in vars(config):
        if not name.startswith("_") and name not in known:
            raise ValueError(f"unknown setting {name!r}{did_you_mean(name, known)}")


def refuse_unused_settings(config: AlgorithmConfig, defaults: AlgorithmConfig) -> None:
    """Refuse a changed setting that E2HiL does not read.

    Raises:
        ValueError: Naming the setting and what to set instead.
    """
    for name, instead in UNUSED_SETTINGS.items():
        value = getattr(config, name, None)
        if value != getattr(defaults, name, None):
            raise ValueError(
                f"{name.lstrip('_')}={value!r} has no effect on E2HiL. Set instead: {instead}"
            )
    if config.is_multi_agent:
        raise ValueError("E2HiL trains one agent; multi_agent(...) has no effect on it")
