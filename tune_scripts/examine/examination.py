"""Examination of the selection at one checkpoint of a run: its noise, its meaning, its effect."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch
from ray.rllib.core.rl_module.rl_module import RLModule
from torch import Tensor

from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.data.episodes import episode_files
from e2hil_rllib.data.experience import Experience
from e2hil_rllib.data.replay import EPISODE as EPISODE_ID
from e2hil_rllib.data.replay import SOURCE, SOURCE_NAMES, STEP
from e2hil_rllib.disk.parquet_columns import EPISODE, SUCCESS, step_column
from e2hil_rllib.learning.rl_module import E2HiLTorchRLModule
from e2hil_rllib.method.selection import Selection, SelectionSettings, select_samples
from e2hil_rllib.report.comparison.statistics import mean_known
from e2hil_rllib.run.checkpoints import CheckpointStore
from e2hil_rllib.run.run_folder import RunFolder
from e2hil_rllib.settings.build import algorithm_config, demonstration_folder
from tune_scripts.examine.entropy_effect import entropy_effects
from tune_scripts.examine.mask_noise import above, agreement, below, mean_of, rank_correlation

MANY = 256
"""Number of draws whose influence is taken as exact."""
_MODULE = Path("learner_group/learner/rl_module/default_policy")

MEASURES = (
    "entropy", "temperature", "clipped", "rank_density", "rank_advantage", "rank_log",
    "agree_8", "chance_8", "pruned_again_8", "rank_8",
    "agree_many", "chance_many", "pruned_again_many", "rank_many",
    "effect_own_8", "effect_own_many", "effect_own_log", "own_kept", "own_above", "own_below",
    "effect_whole_8", "effect_whole_many", "effect_whole_log",
    "whole_kept", "whole_above", "whole_below",
    *(f"{what}_{name}" for name in SOURCE_NAMES for what in ("upper", "bias", "prefers")),
)  # fmt: skip
"""Measures of ``examine``, in order, so that a table's columns are known before the first row."""


@dataclass(frozen=True)
class Examined:
    """Settings of an examination.

    Attributes:
        batches: Number of minibatches, drawn as in training.
        samples: Samples of each minibatch whose effect on the entropy is computed.
        draws: Actions for each state in that computation.
        seed: Seed of the minibatches and of the actions.
    """

    batches: int = 4
    samples: int = 64
    draws: int = 64
    seed: int = 0


def examine(run: RunFolder, checkpoint: Path, wanted: Examined) -> dict[str, float]:
    """Return the ``MEASURES`` of one checkpoint, means over its minibatches.

    ``agree_8``, ``chance_8``, ``pruned_again_8``, ``rank_8``: the selection by the run's own K
    against one by ``MANY`` draws; with the suffix ``_many``, a second one by ``MANY`` draws, the
    best achievable. ``clipped``: share of the densities above the clip. ``rank_density``,
    ``rank_advantage``, ``rank_log``: rank correlation of |c| with the mean log density of the
    state, with the spread of the advantage, and with the influence without the density.
    ``upper_SOURCE``: share of a source's samples above the upper bound. ``effect_own_8``,
    ``effect_own_many``, ``effect_own_log``, ``effect_whole_…``: rank correlation of c with the
    effect of a step on the sample on the entropy at its state and of the whole batch. ``own_kept``,
    ``own_above``, ``own_below``, ``whole_…``: the mean of these effects in each part of the batch.
    ``bias_SOURCE``: mean of Q minus the discounted reward that followed. ``prefers_SOURCE``: mean
    of Q at the policy's mode minus Q at the action that was taken. ``entropy``, ``temperature``:
    those of the policy.

    Args:
        run: Run folder, whose episodes hold the rewards that followed.
        checkpoint: Checkpoint of that run, with its buffers.
        wanted: Settings of the examination.

    Raises:
        ValueError: The checkpoint holds no buffers.
    """
    config = algorithm_config(run.settings(), run)
    module = RLModule.from_checkpoint(checkpoint / _MODULE)
    assert isinstance(module, E2HiLTorchRLModule)
    experience = Experience(config, module.observation_space, module.actor.action_size)
    if not experience.load(checkpoint):
        raise ValueError(f"{checkpoint} holds no replay buffers, so there is nothing to select of")
    step = CheckpointStore.step_of(checkpoint)
    experience.replay.set_random_state(
        dict(np.random.default_rng((wanted.seed, step)).bit_generator.state)
    )
    generator = torch.Generator().manual_seed(wanted.seed)
    outcomes = _outcomes(run)
    measured = []
    for _ in range(wanted.batches):
        batch = experience.replay.sample(config.train_batch_size_per_learner, 1)
        measured.append(_Batch(module, config, batch, generator).measures(wanted, outcomes))
    assert tuple(measured[0]) == MEASURES
    return {name: mean_known(of_batch[name] for of_batch in measured) for name in MEASURES}


class _Batch:
    """Minibatch under a policy and its critics."""

    def __init__(
        self,
        module: E2HiLTorchRLModule,
        config: E2HiLConfig,
        batch: dict[str, Any],
        generator: torch.Generator,
    ) -> None:
        self._module, self._config, self._batch = module, config, batch
        self._generator = generator
        with torch.no_grad():
            observation = {k: torch.from_numpy(np.array(x)) for k, x in batch["obs"].items()}
            self._latent = module.encoder(observation)
            self._part = module.critics.observation_part(self._latent)

    def measures(self, wanted: Examined, outcomes: dict[int, tuple[int, bool]]) -> dict[str, float]:
        # By influence, whatever the rule of training was.
        settings = self._config.selection.model_copy(update={"rule": "entropy"})
        log_prob, q = self._draw(MANY)
        few = self._select(settings, *self._draw(settings.num_action_samples))
        many = self._select(settings, log_prob, q)
        again = self._select(settings, *self._draw(MANY))
        plain = self._select(settings.model_copy(update={"rule": "log_entropy"}), log_prob, q)
        value = q - self._module.temperature * log_prob
        found = {
            "entropy": -log_prob.mean().item(),
            "temperature": self._module.temperature.item(),
            "clipped": (log_prob > math.log(settings.density_clip)).float().mean().item(),
            "rank_density": rank_correlation(many.influence.abs(), log_prob.mean(dim=0)),
            "rank_advantage": rank_correlation(many.influence.abs(), value.std(dim=0)),
            "rank_log": rank_correlation(many.influence.abs(), plain.influence.abs()),
        }
        for name, selection in (("8", few), ("many", again)):
            both = agreement(selection, many)
            found |= {
                f"agree_{name}": both.verdicts,
                f"chance_{name}": both.by_chance,
                f"pruned_again_{name}": both.pruned_again,
                f"rank_{name}": both.rank,
            }
        found |= self._effects(wanted, few, many, plain)
        return found | self._by_source(many, outcomes)

    @torch.no_grad()
    def _draw(self, draws: int) -> tuple[Tensor, Tensor]:
        """Return log densities and values of drawn actions, both of shape (draws, B)."""
        policy = self._module.policy(self._latent)
        shape = (draws, *policy.mean.shape)
        actions, log_prob = policy.sample(torch.randn(shape, generator=self._generator))
        q = self._module.critics.from_observation_part(self._part, actions).amin(dim=0)
        return log_prob, q

    def _select(self, settings: SelectionSettings, log_prob: Tensor, q: Tensor) -> Selection:
        return select_samples(log_prob, q, self._module.temperature, settings, self._generator)

    def _effects(
        self, wanted: Examined, few: Selection, many: Selection, plain: Selection
    ) -> dict[str, float]:
        order = torch.randperm(len(self._latent), generator=self._generator)
        chosen = order[: wanted.samples]
        effects = entropy_effects(
            self._module, self._latent, chosen.tolist(), wanted.draws, self._generator
        )
        found = {}
        for place, effect in (("own", effects.own), ("whole", effects.whole)):
            for name, selection in (("8", few), ("many", many), ("log", plain)):
                predicted = selection.influence[chosen]
                found[f"effect_{place}_{name}"] = rank_correlation(predicted, effect)
            parts = (("kept", many.mask), ("above", above(many)), ("below", below(many)))
            for name, part in parts:
                found[f"{place}_{name}"] = mean_of(effect, part[chosen])
        return found

    def _by_source(
        self, many: Selection, outcomes: dict[int, tuple[int, bool]]
    ) -> dict[str, float]:
        with torch.no_grad():
            actions = torch.from_numpy(self._batch["actions"])
            q = self._module.critics.from_observation_part(self._part, actions).amin(dim=0)
            mode = self._module.policy(self._latent).mode()
            own = self._module.critics.from_observation_part(self._part, mode).amin(dim=0)
        got = torch.tensor(
            [
                _return_to_go(outcomes.get(int(episode)), int(step), self._config.gamma)
                for episode, step in zip(self._batch[EPISODE_ID], self._batch[STEP], strict=True)
            ]
        )
        found = {}
        codes = torch.from_numpy(np.array(self._batch[SOURCE]))
        for code, name in enumerate(SOURCE_NAMES):
            of_source = codes == code
            found[f"upper_{name}"] = mean_of(above(many).float(), of_source)
            found[f"bias_{name}"] = mean_of(q - got, of_source & got.isfinite())
            found[f"prefers_{name}"] = mean_of(own - q, of_source)
        return found


@lru_cache(maxsize=1)
def _outcomes(run: RunFolder) -> dict[int, tuple[int, bool]]:
    """Return length and success of each episode on disk; demonstration n has the number −1 − n.

    They are cached for the checkpoints of a run, which are examined one after the other.
    """
    outcomes = {}
    demonstrations = demonstration_folder(run.settings(), run)
    for folder, is_demonstration in ((run.episodes, False), (demonstrations, True)):
        for path in episode_files(folder) if folder is not None and folder.is_dir() else []:
            table = pq.read_table(path, columns=[EPISODE, SUCCESS], use_threads=False)
            success = step_column(table, SUCCESS)
            number = table.column(EPISODE)[0].as_py()
            number = -1 - number if is_demonstration else number
            outcomes[number] = (len(success), bool(success[-1].as_py()))
    return outcomes


def _return_to_go(outcome: tuple[int, bool] | None, step: int, gamma: float) -> float:
    """Return the discounted reward of an episode from a step on: 1 at the last step of a success.

    NaN for an open episode, which is not on disk, and for one without success, whose later reward
    is unknown.
    """
    if outcome is None or not outcome[1]:
        return math.nan
    return float(gamma ** (outcome[0] - 1 - step))
