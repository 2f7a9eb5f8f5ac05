"""Three parts of the data that share no episode."""

from __future__ import annotations

from dataclasses import dataclass, fields

import numpy as np

from e2hil_rllib.classifier.dataset import DatasetError, LabelledEpisode

#: Share of the episodes that choose the epoch and the threshold, and share that tests.
HELD_OUT = 0.2
_FEWEST = 3  # episodes of a kind, so that each part has one


@dataclass(frozen=True)
class Split:
    """Episodes by what they are for.

    Attributes:
        train: What the network learns from.
        choose: What the epoch and the threshold are chosen on.
        test: What the reported figures come from; nothing is chosen on it.
    """

    train: list[LabelledEpisode]
    choose: list[LabelledEpisode]
    test: list[LabelledEpisode]

    def sizes(self) -> dict[str, dict[str, int]]:
        """Episodes, frames and frames that show success of each part."""
        return {
            field.name: {
                "episodes": len(part),
                "frames": sum(len(episode.success) for episode in part),
                "success_frames": sum(int(episode.success.sum()) for episode in part),
            }
            for field in fields(self)
            for part in [getattr(self, field.name)]
        }


def split_episodes(episodes: list[LabelledEpisode], seed: int) -> Split:
    """Splits by whole episodes: neighbouring frames are nearly the same, and give a test away.

    Episodes with and without success are dealt out separately, so that each part has its share.

    Raises:
        DatasetError: There are too few episodes for three parts that each show both success and
            failure; the message counts them.
    """
    rng = np.random.default_rng(np.random.SeedSequence([0x5911, seed]))
    parts: tuple[list[LabelledEpisode], ...] = ([], [], [])
    kinds = [[e for e in episodes if e.success.any() == shows] for shows in (True, False)]
    for kind in kinds:
        order = [kind[index] for index in rng.permutation(len(kind))]
        held = max(1, round(HELD_OUT * len(order))) if len(order) >= _FEWEST else 0
        for part, chosen in zip(
            parts, (order[2 * held :], order[:held], order[held : 2 * held]), strict=True
        ):
            part += chosen
    split = Split(*parts)
    for size in split.sizes().values():
        if not 0 < size["success_frames"] < size["frames"]:
            raise DatasetError(
                f"{len(kinds[0])} episodes that show success and {len(kinds[1])} that do not are "
                f"too few: training, the choice of the threshold and the test need both, and "
                f"share no episode. Record at least {_FEWEST} of each; 50 are a good start."
            )
    return split
