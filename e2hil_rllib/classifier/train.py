"""Training of a success classifier: from labelled episodes to a folder with its figures."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from e2hil_rllib.classifier.dataset import LabelledEpisode, Split, split_episodes
from e2hil_rllib.classifier.fitting import balanced, best_evaluation, fit, probabilities
from e2hil_rllib.classifier.inputs import COPIES, FeatureInputs, FrameInputs, Inputs, frames_at
from e2hil_rllib.classifier.metrics import as_dicts, frame_figures, threshold_at
from e2hil_rllib.classifier.network import STAGE, ClassifierNetwork
from e2hil_rllib.classifier.success_classifier import ClassifierError, SuccessClassifier, describe
from e2hil_rllib.classifier.testing import ClassifierTest
from e2hil_rllib.disk.files import sync_file, sync_tree, writing
from e2hil_rllib.networks.frozen_trunk import FrozenTrunk, shared_trunk
from e2hil_rllib.networks.noise import NoiseStream
from e2hil_rllib.networks.vision_settings import absolute_source

_FROZEN_FRAMES = 3000  # training frames whose features are computed, as each takes 10 ms
_BATCH = 64

OnProgress = Callable[[str, int, int], None]
"""Callback with the name of the stage, its progress and its total."""


@dataclass(frozen=True)
class TrainingOptions:
    """Options of the training.

    Attributes:
        encoder: "cnn" trains a small CNN; "frozen" a head on the features of a frozen trunk.
        trunk_weights: Weights of the frozen trunk: "seed:N", a .safetensors file, or a hub id.
        steps: Largest number of batches.
        seed: Seed of the split and of all random draws.
        false_positive_rate: Largest share of the failures above the threshold, on the frames that
            it is chosen on.
    """

    encoder: str = "cnn"
    trunk_weights: str = "seed:0"
    steps: int = 1000
    seed: int = 0
    false_positive_rate: float = 0.01

    def __post_init__(self) -> None:
        if self.encoder not in ("cnn", "frozen"):
            raise ClassifierError(f"encoder is {self.encoder!r}, expected 'cnn' or 'frozen'.")
        if self.steps < 1:
            raise ClassifierError(f"steps is {self.steps}, expected a whole number from 1.")
        if not 0 <= self.false_positive_rate < 1:
            raise ClassifierError(
                f"false_positive_rate is {self.false_positive_rate}, expected 0 to below 1, e.g. "
                "0.01."
            )


def refuse_existing(out: Path) -> None:
    """Refuse an existing output: a classifier is never replaced in passing.

    Raises:
        ClassifierError: There is a file or a folder of that name.
    """
    if out.exists():
        raise ClassifierError(
            f"{out} is there already. Name another folder with --out, or move it."
        )


def train_classifier(
    episodes: list[LabelledEpisode],
    options: TrainingOptions,
    out: Path,
    on_progress: OnProgress = lambda stage, done, total: None,
) -> dict[str, Any]:
    """Train, choose the threshold, test, and write the classifier with its figures.

    Args:
        episodes: Labelled episodes with frames of the same cameras and shapes.
        options: Options of the training.
        out: Folder to write; it must not exist yet.
        on_progress: Callback with the progress.

    Returns:
        Content of the classifier's file, with the figures of the test.

    Raises:
        ClassifierError: The folder exists already.
        DatasetError: There are too few episodes.
        TrunkWeightsError: The frozen trunk's weights are not available.
        WriteError: The folder cannot be written.
    """
    refuse_existing(out)
    split = split_episodes(episodes, options.seed)
    frozen = options.encoder == "frozen"
    trunk = shared_trunk(absolute_source(options.trunk_weights), STAGE) if frozen else None
    noise = NoiseStream(options.seed)
    parts = _inputs(split, trunk, options, noise, on_progress)
    shapes = episodes[0].shapes
    network = _network(shapes, frozen, options.seed)
    history = fit(
        network, parts["train"], parts["choose"], steps=options.steps, batch_size=_BATCH,
        noise=noise, on_step=lambda done, total: on_progress("Training", done, total),
    )  # fmt: skip
    chosen_on = probabilities(network, parts["choose"])
    truth = parts["choose"].success
    threshold = threshold_at(chosen_on, truth, options.false_positive_rate)
    test = ClassifierTest(split.test, probabilities(network, parts["test"]), threshold)
    best = best_evaluation(history)
    description = {
        **describe(shapes, threshold, trunk, options.trunk_weights),
        "false_positive_rate": options.false_positive_rate,
        "seed": options.seed,
        "steps": {"most": options.steps, "made": history[-1].step, "best": best.step},
        "split": split.sizes(),
        "chosen_on": as_dicts(frame_figures(chosen_on, truth, threshold)),
        "test": test.figures(),
    }
    with written_whole(out) as folder:
        SuccessClassifier(network, shapes, threshold, trunk, description).save(folder)
        test.draw(folder)
    return description


def _network(shapes: dict[str, tuple[int, ...]], frozen: bool, seed: int) -> ClassifierNetwork:
    """Return a network initialised from the seed; torch's own generator is left as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ClassifierNetwork(shapes, frozen)


def _inputs(
    split: Split,
    trunk: FrozenTrunk | None,
    options: TrainingOptions,
    noise: NoiseStream,
    on_progress: OnProgress,
) -> dict[str, Inputs]:
    """Return the three parts of the data as inputs of the network."""
    parts = {"train": split.train, "choose": split.choose, "test": split.test}
    if trunk is None:
        return {name: FrameInputs(part) for name, part in parts.items()}
    success = np.concatenate([episode.success for episode in split.train])
    parts["train"] = frames_at(split.train, balanced(success, _FROZEN_FRAMES, noise))
    inputs: dict[str, Inputs] = {}
    for name, part in parts.items():
        stage = f"Computing features ({name})"
        inputs[name] = FeatureInputs(
            FrameInputs(part), trunk, COPIES if name == "train" else 0, noise,
            partial(on_progress, stage),
        )  # fmt: skip
    return inputs


@contextmanager
def written_whole(out: Path) -> Iterator[Path]:
    """Provide a temporary folder that is renamed at the end: whole or missing.

    Raises:
        WriteError: It cannot be written, or there is one of that name.
    """
    temporary = out.with_name(f".{out.name}.tmp")
    with writing(out):
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            yield temporary
            sync_tree(temporary)
            temporary.rename(out)
            sync_file(out.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
