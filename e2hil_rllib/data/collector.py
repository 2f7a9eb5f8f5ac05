"""Episode collector: sampled steps become transitions for replay and episodes on disk."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from e2hil_rllib.data.action_scale import ActionScale
from e2hil_rllib.data.episodes import episode_path, write_episode
from e2hil_rllib.data.outcomes import WINDOW, EpisodeOutcome, episode_outcome
from e2hil_rllib.data.transitions import (
    INTERVENTION,
    POLICY,
    EpisodeSteps,
    Transitions,
    as_stored,
)
from e2hil_rllib.networks.observation_encoder import FLAT_KEY


@dataclass
class _OpenEpisode:
    """An episode that has not ended; it keeps its transitions only where it is logged."""

    number: int
    num_steps: int = 0
    infos: list[dict[str, Any]] = field(default_factory=list)
    rewards: float = 0.0
    parts: list[Transitions] = field(default_factory=list)
    origin: str = ""
    """Names it among those of all robots; "" where no robot sends it."""
    known: int = 0
    """Steps that replay has from before the process was restarted."""
    led: bool = False
    """Whether a human led its last step."""
    task: str = ""
    fps: float = 0.0


class EpisodeCollector:
    """Numbers episodes, takes the executed action of every step, and logs finished episodes."""

    def __init__(
        self,
        action_space: gym.spaces.Box,
        *,
        interventions: bool,
        episode_log: Path | None = None,
        task: str = "",
        fps: float = 10.0,
    ):
        self.scale = ActionScale(action_space)
        self.next_episode = 0
        #: Outcomes of the last finished episodes.
        self.outcomes: deque[EpisodeOutcome] = deque(maxlen=WINDOW)
        self._interventions = interventions
        #: Folder of finished episodes, or None.
        self.episode_log = episode_log
        self._task, self._fps = task, fps
        self._open: dict[str, _OpenEpisode] = {}
        self._logged_before: set[str] = set()

    def collect(self, chunk: SingleAgentEpisode) -> Transitions:
        """Turn one chunk into a transitions; where its episode ends, write the episode to the log.

        Raises:
            ValueError: When the environment broke its contract, naming the key and the step.
            FileExistsError: When the log already holds an episode of this number.
        """
        episode = self._opened(chunk.id_, self._task, self._fps)
        transitions = self._sampled(chunk, episode)
        self._add(episode, transitions, chunk.get_infos()[1:])
        if chunk.is_done:
            self._finish(chunk.id_, terminated=chunk.is_terminated)
        return transitions

    def receive(self, origin: str, steps: EpisodeSteps | None) -> Transitions | None:
        """Turn steps of a robot into transitions; log the episode that they end.

        Args:
            origin: Name of the episode among those of all robots.
            steps: Next steps of the episode; None where it was cut off after those before.

        Returns:
            The steps that replay does not have yet; None where it has them all.

        Raises:
            ValueError: A human acted although nobody may.
            FileExistsError: The log already holds an episode of this number.
        """
        if origin in self._logged_before:
            return None
        if steps is None:
            self._finish(origin, terminated=False)
            return None
        episode = self._opened(origin, steps.task, steps.fps)
        episode.origin = origin
        if steps.is_intervention.any():
            self._refuse_humans(f"episode {episode.number} of the robot {origin.partition('/')[0]}")
        transitions = steps.transitions(
            self.scale, episode=episode.number, first_step=episode.num_steps,
            after_human=episode.led,
        )  # fmt: skip
        infos = [{"is_intervention": human} for human in steps.is_intervention.tolist()]
        infos[-1]["succeed"] = steps.succeed
        self._add(episode, transitions, infos)
        if steps.ends_episode:
            self._finish(origin, terminated=steps.terminated)
        known = max(0, episode.known - transitions.first_step)
        return transitions.part(known, len(transitions)) if known < len(transitions) else None

    def _opened(self, name: str, task: str, fps: float) -> _OpenEpisode:
        episode = self._open.get(name)
        if episode is None:
            episode = self._open[name] = _OpenEpisode(self.next_episode)
            self.next_episode += 1
        episode.task, episode.fps = task, fps
        return episode

    def _add(
        self, episode: _OpenEpisode, transitions: Transitions, step_infos: list[dict[str, Any]]
    ) -> None:
        episode.num_steps += len(transitions)
        if len(transitions):
            episode.led = bool(transitions.source[-1] == INTERVENTION)
        episode.infos += step_infos
        episode.rewards += float(transitions.rewards.sum(dtype=np.float64))
        if self.episode_log is not None:
            episode.parts.append(transitions)

    def _finish(self, name: str, *, terminated: bool) -> None:
        episode = self._open.pop(name)
        outcome = episode_outcome(episode.infos, episode.rewards)
        self.outcomes.append(outcome)
        if self.episode_log is None:
            return
        path = episode_path(self.episode_log, episode.number)
        if path.exists():
            raise FileExistsError(
                f"{path} holds an episode of another run, which is not overwritten. Name an empty "
                "folder as episode_log, or go on from that run's checkpoint"
            )
        write_episode(path, self._whole(episode, outcome, terminated=terminated))

    def _sampled(self, chunk: SingleAgentEpisode, episode: _OpenEpisode) -> Transitions:
        observations = chunk.get_observations()
        if not isinstance(observations, dict):
            observations = {FLAT_KEY: observations}
        actions = np.array(chunk.get_actions(), np.float32)
        terminated = np.zeros(len(actions), bool)
        terminated[-1:] = chunk.is_terminated
        source = np.full(len(actions), POLICY, np.uint8)
        # infos[t + 1] belongs to actions[t]; infos[0] to the step before the chunk.
        for t, info in enumerate(chunk.get_infos()[1:]):
            where = f"episode {episode.number}, step {episode.num_steps + t}"
            if self._is_human(info, where):
                source[t] = INTERVENTION
                actions[t] = self._human_action(info, where)
        return Transitions(
            episode.number,
            episode.num_steps,
            {key: as_stored(np.asarray(x)) for key, x in observations.items()},
            actions,
            np.asarray(chunk.get_rewards(), np.float32),
            terminated,
            source,
            episode.led,
        )

    def _is_human(self, info: dict[str, Any], where: str) -> bool:
        if "is_intervention" not in info:
            if self._interventions:
                raise ValueError(
                    f"{where}: info has no 'is_intervention'. Wrap the environment so that it "
                    "reports who acted, or set human_in_the_loop(interventions=False)"
                )
            return False
        human = bool(info["is_intervention"])
        if human:
            self._refuse_humans(where)
        return human

    def _refuse_humans(self, where: str) -> None:
        if not self._interventions:
            raise ValueError(
                f"{where}: a human acted, but human_in_the_loop(interventions=False) is set. Set "
                "interventions=True, or switch the environment's operator off"
            )

    def _human_action(self, info: dict[str, Any], where: str) -> np.ndarray:
        low, high = self.scale.low, self.scale.high
        action = np.asarray(info.get("teleop_action", ()))
        if action.dtype.kind not in "fiu" or action.shape != low.shape:
            raise ValueError(
                f"{where}: info['teleop_action'] has shape {action.shape} and type "
                f"{action.dtype}; expected numbers of the action's shape {low.shape}"
            )
        if not np.isfinite(action).all():
            raise ValueError(f"{where}: info['teleop_action'] is not finite: {action}")
        if (action < low - 1e-4).any() or (action > high + 1e-4).any():
            raise ValueError(
                f"{where}: info['teleop_action'] {action} lies outside the action space "
                f"[{low}, {high}]; the environment must report the action that it executed"
            )
        return self.scale.to_unit(np.clip(action, low, high))

    def _whole(
        self, episode: _OpenEpisode, outcome: EpisodeOutcome, *, terminated: bool
    ) -> EpisodeSteps:
        parts = episode.parts
        first = parts[0].observations
        return EpisodeSteps(
            episode=episode.number,
            observations={
                key: np.concatenate([first[key][:1], *(s.observations[key][1:] for s in parts)])
                for key in first
            },
            actions=self.scale.to_environment(np.concatenate([s.actions for s in parts])),
            rewards=np.concatenate([s.rewards for s in parts]),
            is_intervention=np.concatenate([s.source for s in parts]) == INTERVENTION,
            terminated=terminated,
            truncated=not terminated,
            succeed=bool(outcome.success),
            fps=episode.fps,
            task=episode.task,
            origin=episode.origin,
        )

    def transitions_of(self, episode: EpisodeSteps) -> Transitions:
        """A recorded episode as transitions, human steps marked as interventions."""
        return episode.transitions(self.scale, episode=episode.episode, first_step=0)

    def recover(self, episode: EpisodeSteps) -> Transitions:
        """Count a logged episode as collected; returns its steps."""
        self.next_episode = max(self.next_episode, episode.episode + 1)
        if episode.origin:
            self._logged_before.add(episode.origin)
            self._open.pop(episode.origin, None)
        human = int(episode.is_intervention.sum())
        self.outcomes.append(
            EpisodeOutcome(episode.num_steps, human, episode.succeed, float(episode.rewards.sum()))
        )
        return self.transitions_of(episode)

    def state(self) -> dict[str, Any]:
        """Next episode number, collected steps of each open episode, and the last outcomes."""
        return {
            "next_episode": self.next_episode,
            "open_steps": {e.number: max(e.num_steps, e.known) for e in self._open.values()},
            "open_origins": {e.origin: e.number for e in self._open.values() if e.origin},
            "outcomes": list(self.outcomes),
        }

    def resume(self, state: dict[str, Any]) -> Iterator[int]:
        """Go on after a checkpoint; yields numbers of episodes that may have been logged since.

        Robots send the open episodes that are not logged again, from their first step, and go on
        with them; an environment starts anew.
        """
        self._open = {
            origin: _OpenEpisode(number, origin=origin, known=state["open_steps"][number])
            for origin, number in state.get("open_origins", {}).items()
        }
        self.next_episode = state["next_episode"]
        self.outcomes.clear()
        self.outcomes.extend(state["outcomes"])
        if self.episode_log is None:
            return
        candidates = set(state["open_steps"])
        candidates |= {
            int(path.stem.split("_")[-1]) for path in self.episode_log.glob("episode_*.parquet")
        }
        yield from sorted(
            n for n in candidates
            if (n >= self.next_episode or n in state["open_steps"])
            and episode_path(self.episode_log, n).exists()
        )  # fmt: skip
