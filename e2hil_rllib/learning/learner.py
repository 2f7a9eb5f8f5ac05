"""The learner of E2HiL: wires the losses, the selection, the optimizers and the target update."""

from __future__ import annotations

import math
import random
from collections import defaultdict
from collections.abc import Iterator
from operator import itemgetter
from typing import Any

import numpy as np
import torch
import tree
from ray.rllib.algorithms.algorithm_config import AlgorithmConfig
from ray.rllib.core.columns import Columns
from ray.rllib.core.learner.torch.torch_learner import TorchLearner
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch
from torch import Tensor

from e2hil_rllib.data.replay import DISCOUNT, FLOOR, SOURCE
from e2hil_rllib.data.transitions import POLICY
from e2hil_rllib.learning.entropy_probe import EntropyProbe
from e2hil_rllib.learning.flat_parameters import FlatParameters
from e2hil_rllib.learning.rl_module import E2HiLTorchRLModule
from e2hil_rllib.learning.selection_statistics import judged_samples, selection_statistics
from e2hil_rllib.learning.torch_setup import set_up_torch
from e2hil_rllib.method.imitation import ImitatedShare, human_is_better, imitation_loss
from e2hil_rllib.method.losses import actor_loss, critic_loss, critic_target, temperature_loss
from e2hil_rllib.method.selection import (
    Selection,
    select_samples,
)
from e2hil_rllib.networks.actor_critic import Dropout, Gaussian, frozen_parameters
from e2hil_rllib.networks.noise import NoiseStream
from e2hil_rllib.run.selection_log import JudgedSamples

_RANDOM_STATE = "random_state"
_WARM_STANDARD_DEVIATION = 0.1
"""Standard deviation of the policy before the tanh, at the start of the warm start."""


class E2HiLTorchLearner(TorchLearner):
    """Updates critics, actor and temperature from one batch of ``utd_ratio`` minibatches.

    Every minibatch updates the critics and the target network; the last one of ``utd_ratio`` also
    updates the actor, on the samples that the selection keeps, and the temperature. The terms are
    added and differentiated in one backward pass, so the actor and the influence see the critics
    as they were before this minibatch's critic step.

    During the warm start (:meth:`begin_warm_start`) a minibatch holds demonstrations alone: the
    actor imitates all of them, the critics learn the returns that they reached.
    """

    def build(self) -> None:
        """Build the module, the optimizers and the random streams."""
        set_up_torch(self.config.torch_threads)
        super().build()
        given = self.config.seed
        seed = torch.tensor(random.getrandbits(31) if given is None else given, device=self.device)
        if self.config.num_learners > 1:  # all start alike, also without a seed
            averages = (average for average, _ in self._averages)
            for tensor in (seed, *(f.vector.data for f in (*self._flat.values(), *averages))):
                torch.distributed.broadcast(tensor, src=0)
        share = (self._learner_index, max(1, self.config.num_learners))
        self._learning_noise = NoiseStream(int(seed), *share)
        self._selection_noise = NoiseStream(int(seed) + 1, *share)
        self._minibatch = 0
        self._actor_updates = 0
        self._return_bounds = self.config.return_bounds()
        self._imitated_share = ImitatedShare()
        self._warming_up = False
        self._statistics: dict[str, list[float]] = defaultdict(list)
        self._judged: JudgedSamples | None = None
        self._probe: EntropyProbe | None = None  # of the update under way

    def _make_modules_ddp_if_necessary(self) -> None:
        """Gradients are averaged in :meth:`_step`, not by DDP.

        DDP reduces only what ``forward`` returned, and waits for parameters (the actor's, on a
        critic-only minibatch) that got no gradient.
        """

    def configure_optimizers_for_module(
        self, module_id: str, config: AlgorithmConfig | None = None
    ) -> None:
        """One Adam each for encoder and critics, for the actor, and for the temperature."""
        config = config or self.config
        module = self._e2hil_module(module_id)
        self._flat = {
            "critic": FlatParameters(
                [*module.encoder.parameters(), *module.critics.parameters()],
            ),
            "actor": FlatParameters(module.actor.parameters()),
            "temperature": FlatParameters([module.log_temperature]),
        }
        target = FlatParameters(
            [*module.target_encoder.parameters(), *module.target_critics.parameters()]
        )
        self._averages = [(target, self._flat["critic"])]
        if module.target_actor is not None:
            target_actor = FlatParameters(module.target_actor.parameters())
            self._averages.append((target_actor, self._flat["actor"]))
        learning_rates = (config.critic_lr, config.actor_lr, config.alpha_lr)
        for (name, flat), lr in zip(self._flat.items(), learning_rates, strict=True):
            self.register_optimizer(
                module_id=module_id,
                optimizer_name=name,
                optimizer=torch.optim.Adam([flat.vector], fused=True),
                params=[flat.vector],
                lr_or_lr_schedule=lr,
            )

    def _create_iterator_if_necessary(
        self, *, training_data: Any, minibatch_size: int, **kwargs: Any
    ) -> Iterator[MultiAgentBatch]:
        """Minibatches as views of the batch, in its order (RLlib's iterator copies them)."""
        batch = self._make_batch_if_necessary(training_data=training_data)
        ((module_id, columns),) = batch.policy_batches.items()
        for start in range(0, len(columns[Columns.REWARDS]), minibatch_size):
            part = slice(start, start + minibatch_size)
            minibatch = SampleBatch(tree.map_structure(itemgetter(part), dict(columns)))
            yield MultiAgentBatch({module_id: minibatch}, env_steps=minibatch_size)

    def bound_returns(self, lowest: float | None, highest: float | None) -> None:
        """Keep the critics' targets between what an episode can return; None is no bound."""
        self._return_bounds = (lowest, highest)

    def begin_warm_start(self) -> None:
        """Learn from demonstrations alone from now on, for a policy of little noise."""
        self._warming_up = True
        for module_id in self.module.keys():  # noqa: SIM118 (a MultiRLModule is no dict)
            self._e2hil_module(module_id).actor.set_standard_deviation(_WARM_STANDARD_DEVIATION)

    def end_warm_start(self) -> None:
        """Learn by reinforcement from now on."""
        self._warming_up = False

    def before_gradient_based_update(self, *, timesteps: dict[str, Any]) -> None:
        """Start counting the minibatches of a new batch."""
        super().before_gradient_based_update(timesteps=timesteps)
        self._minibatch = 0

    def _update(self, batch: dict[str, Any], **kwargs: Any) -> tuple[Any, Any, Any]:
        """One minibatch: losses, one backward pass, clipped steps, target average."""
        self._minibatch += 1
        losses = self.compute_losses(fwd_out=dict.fromkeys(batch), batch=batch)
        sum(losses.values()).backward()
        for name in self._learning_groups:
            self._step(name)
        self._measure_entropy_change(batch)
        for average, learned in self._averages:
            average.move_towards(learned, self.config.tau)
        return {}, losses, {}

    def _measure_entropy_change(self, batch: dict[str, Any]) -> None:
        """What this update did to the entropy, where the selection was diagnosed."""
        if self._probe is not None:
            (module_id,) = batch
            change = self._probe.change(self._e2hil_module(module_id))
            self._statistics["entropy_change_measured"].append(change)
            self._probe = None

    @property
    def _updates_actor(self) -> bool:
        """Whether this minibatch is the last of ``utd_ratio``."""
        return self._minibatch % self.config.utd_ratio == 0

    @property
    def _learning_groups(self) -> tuple[str, ...]:
        """Groups of parameters that this minibatch has a gradient for."""
        if self._warming_up or not self.config.reinforcement:
            return "critic", "actor"
        return ("critic", "actor", "temperature") if self._updates_actor else ("critic",)

    def compute_loss_for_module(
        self,
        *,
        module_id: str,
        config: AlgorithmConfig,
        batch: dict[str, Any],
        fwd_out: dict[str, Any] | None,
    ) -> Tensor:
        """Sum of the critic loss and, on the last minibatch, of actor and temperature losses.

        Raises:
            FloatingPointError: When a loss is not finite, naming it.
        """
        module = self._e2hil_module(module_id)
        if self._warming_up or not config.reinforcement:
            losses = self._imitation_alone(module, batch)
            self._log_finite({name: loss.detach() for name, loss in losses.items()})
            return sum(losses.values(), start=torch.zeros((), device=self.device))
        noise = self._learning_noise
        observation = module.encoder.augment(batch[Columns.OBS], noise)
        latent = module.encoder(observation, noise)
        observation_part = module.critics.observation_part(latent)
        q = module.critics.from_observation_part(observation_part, batch[Columns.ACTIONS])
        losses = {"critic_loss": critic_loss(q, self._critic_target(module, config, batch))}
        if self._updates_actor:
            losses |= self._actor_losses(
                module, config, latent, observation_part.detach(), batch, q.detach()
            )
        self._log_finite({name: loss.detach() for name, loss in losses.items()})
        return sum(losses.values(), start=torch.zeros((), device=latent.device))

    @torch.no_grad()
    def _critic_target(
        self, module: E2HiLTorchRLModule, config: AlgorithmConfig, batch: dict[str, Any]
    ) -> Tensor:
        """Bellman target of the minibatch, shape (B,)."""
        next_obs = module.encoder.augment(batch[Columns.NEXT_OBS], self._learning_noise)
        policy = module.policy(module.encoder(next_obs))
        next_action, next_log_prob = policy.sample(self._learning_noise.normal_like(policy.mean))
        next_q = module.target_critics(module.target_encoder(next_obs), next_action)
        if config.num_subsampled_critics is not None:
            subset = self._learning_noise.subset(config.num_critics, config.num_subsampled_critics)
            next_q = next_q[subset.to(next_q.device)]
        return critic_target(
            batch[Columns.REWARDS], batch[DISCOUNT], next_q, next_log_prob, module.temperature,
            backup_entropy=config.backup_entropy,
            floor=batch[FLOOR] if config.monte_carlo_floor else None,
            lowest_return=self._return_bounds[0], highest_return=self._return_bounds[1],
        )  # fmt: skip

    def _actor_losses(
        self,
        module: E2HiLTorchRLModule,
        config: AlgorithmConfig,
        latent: Tensor,
        observation_part: Tensor,
        batch: dict[str, Any],
        executed_q: Tensor,
    ) -> dict[str, Tensor]:
        """Masked actor loss (Eq. 12), imitation and temperature losses of the minibatch."""
        policy = module.policy(latent)
        action, log_prob = policy.sample(self._learning_noise.normal_like(policy.mean))
        with frozen_parameters(module.critics):
            q = module.critics.from_observation_part(observation_part, action).amin(dim=0)
        selection = self._select(module, config, policy, latent, observation_part, batch)
        mask = selection.mask if selection is not None and config.selection_enabled else None
        with torch.no_grad():
            self._statistics["temperature"].append(module.temperature.item())
            self._statistics["policy_entropy"].append(-log_prob.mean().item())
        losses = {
            "actor_loss": actor_loss(log_prob, q, module.temperature, mask),
            "temperature_loss": temperature_loss(
                module.log_temperature, log_prob, config.target_entropy_nats(action.shape[-1])
            ),
        }
        if config.imitation_weight:
            losses["imitation_loss"] = self._imitation(
                module, config, policy, latent, observation_part, batch, executed_q, mask
            )
        return losses

    def _imitation(
        self,
        module: E2HiLTorchRLModule,
        config: AlgorithmConfig,
        policy: Gaussian,
        latent: Tensor,
        observation_part: Tensor,
        batch: dict[str, Any],
        executed_q: Tensor,
        mask: Tensor | None,
    ) -> Tensor:
        """Weighted imitation loss of the minibatch's human rows."""
        rows = torch.nonzero(batch[SOURCE] != POLICY).squeeze(-1)
        mean_action = policy.mode()[rows]
        imitated = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
        starts = config.q_filter_starts
        if starts is not None and self._actor_updates > starts:
            with torch.no_grad():
                policy_q = module.critics.from_observation_part(
                    observation_part[:, rows], mean_action
                )
            imitated = human_is_better(executed_q[:, rows], policy_q)
        counts = torch.stack([imitated.sum(), imitated.new_tensor(len(rows), dtype=torch.long)])
        if self.config.num_learners > 1:
            torch.distributed.all_reduce(counts)
        filtered, human = counts.tolist()
        if human:
            share = self._imitated_share.update(filtered / human)
            self._statistics["imitated_share"].append(share)
        if mask is not None and config.imitated_rows == "selected":
            imitated = imitated & mask[rows]
        if config.imitation_dropout:
            dropout = self._dropout(len(latent), rows)
            mean_action = module.actor(latent.detach()[rows], dropout).mode()
        loss = imitation_loss(mean_action, batch[Columns.ACTIONS][rows], imitated)
        return config.imitation_weight * self._imitated_share.value * loss

    def _dropout(self, batch_size: int, rows: Tensor) -> Dropout:
        """Dropout of hidden activations (N, n) at some rows of a minibatch."""
        keep = 1.0 - self.config.imitation_dropout

        def dropout(activations: Tensor) -> Tensor:
            whole = activations.new_empty(()).expand(batch_size, activations.shape[-1])
            kept = self._learning_noise.keep_mask(whole, keep)[rows]
            return activations * kept / keep

        return dropout

    def _imitation_alone(
        self, module: E2HiLTorchRLModule, batch: dict[str, Any]
    ) -> dict[str, Tensor]:
        """Imitation of all human rows, which trains the encoder, too.

        During the warm start the critics learn the returns that are known, where there are any.
        """
        observation = module.encoder.augment(batch[Columns.OBS], self._learning_noise)
        latent = module.encoder(observation, self._learning_noise)
        rows = torch.nonzero(batch[SOURCE] != POLICY).squeeze(-1)
        dropout = self._dropout(len(latent), rows) if self.config.imitation_dropout else None
        mean_action = module.actor(latent[rows], dropout).mode()
        all_rows = torch.ones(len(rows), dtype=torch.bool, device=rows.device)
        loss = imitation_loss(mean_action, batch[Columns.ACTIONS][rows], all_rows)
        losses = {"imitation_loss": loss}
        known = torch.isfinite(batch[FLOOR])
        if self._warming_up and known.any():
            q = module.critics(latent, batch[Columns.ACTIONS])[:, known]
            losses["critic_loss"] = critic_loss(q, batch[FLOOR][known])
        return losses

    @torch.no_grad()
    def _select(
        self,
        module: E2HiLTorchRLModule,
        config: AlgorithmConfig,
        policy: Gaussian,
        latent: Tensor,
        observation_part: Tensor,
        batch: dict[str, Any],
    ) -> Selection | None:
        """The selection of the minibatch; None where neither it nor its statistics are wanted."""
        diagnose = self._actor_updates % config.diagnostics_interval == 0
        self._actor_updates += 1
        if not (config.selection_enabled or diagnose):
            return None
        noise = self._selection_noise.normal_like(policy.mean, config.num_action_samples)
        actions, log_prob = policy.sample(noise)
        q = module.critics.from_observation_part(observation_part, actions).amin(dim=0)
        settings = config.selection
        selection = select_samples(
            log_prob, q, module.temperature, settings, self._selection_noise.generator
        )
        if diagnose:
            for name, value in selection_statistics(selection, batch[SOURCE], settings).items():
                self._statistics[name].append(value)
            self._judged = judged_samples(selection, batch, settings)
            self._probe = EntropyProbe(latent.detach(), noise, -log_prob.mean().item())
        return selection

    def _step(self, name: str) -> None:
        """Average one group's gradient over the learners, clip it, step, and clear it.

        Raises:
            FloatingPointError: When the gradient is not finite.
        """
        flat = self._flat[name]
        if self.config.num_learners > 1:
            torch.distributed.all_reduce(flat.gradient)
            flat.gradient.div_(self.config.num_learners)
        if not math.isfinite(flat.clip_gradient(self.config.grad_clip)):
            raise FloatingPointError(
                f"the gradient of the {name} is not finite; training stops before it reaches the "
                "parameters. Resume from the last checkpoint with smaller learning rates or rewards"
            )
        self.get_optimizer(optimizer_name=name).step()
        flat.gradient.zero_()

    def _log_finite(self, losses: dict[str, Tensor]) -> None:
        for name, value in zip(losses, torch.stack(list(losses.values())).tolist(), strict=True):
            if not math.isfinite(value):
                raise FloatingPointError(
                    f"{name} is {value}; training stops before it reaches the parameters. Check "
                    "the rewards, the temperature and the learning rates, then resume from the "
                    "last checkpoint"
                )
            self._statistics[name].append(value)

    def flush_metrics(self) -> dict[str, Any]:
        """Log the means since the last call and return the reduced metrics of this learner."""
        for module_id in self.module.keys():  # noqa: SIM118 (a MultiRLModule is no dict)
            for name, values in self._statistics.items():
                if finite := [value for value in values if not math.isnan(value)]:
                    self.metrics.log_value((module_id, name), float(np.mean(finite)), window=1)
        self._statistics.clear()
        return self.metrics.reduce()

    def flush_samples(self) -> JudgedSamples | None:
        """The newest minibatch that was diagnosed since the last call; None if there is none."""
        judged, self._judged = self._judged, None
        return judged

    def _log_steps_trained_metrics(self, batch: Any) -> None:
        """Counted once by the algorithm (``num_updates_lifetime``), not for every minibatch."""

    def _e2hil_module(self, module_id: str) -> E2HiLTorchRLModule:
        return self.module[module_id].unwrapped()

    def get_state(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """State of RLlib's learner, and the random streams."""
        return super().get_state(*args, **kwargs) | {
            _RANDOM_STATE: {
                "learning": self._learning_noise.state(),
                "selection": self._selection_noise.state(),
                "actor_updates": self._actor_updates,
                "imitated_share": self._imitated_share.value,
            }
        }

    def set_state(self, state: dict[str, Any]) -> None:
        """Restore what :meth:`get_state` returned."""
        super().set_state(state)
        if random_state := state.get(_RANDOM_STATE):
            self._learning_noise.set_state(random_state["learning"])
            self._selection_noise.set_state(random_state["selection"])
            self._actor_updates = random_state["actor_updates"]
            self._imitated_share.value = random_state.get("imitated_share", 1.0)
