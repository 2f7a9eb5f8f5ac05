"""Training a success classifier: from labelled episodes to a folder with its figures."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from e2hil_rllib.classifier.dataset import LabelledEpisode
from e2hil_rllib.classifier.debounce import episode_figures
from e2hil_rllib.classifier.figures import draw_mistakes, draw_scores, worst_frames
from e2hil_rllib.classifier.fitting import balanced, best_evaluation, fit, probabilities
from e2hil_rllib.classifier.inputs import COPIES, FeatureInputs, FrameInputs, Inputs, frames_at
from e2hil_rllib.classifier.metrics import average_precision, frame_figures, threshold_at
from e2hil_rllib.classifier.network import ClassifierNetwork
from e2hil_rllib.classifier.split import Split, split_episodes
from e2hil_rllib.classifier.success_classifier import VERSION, ClassifierError, SuccessClassifier
from e2hil_rllib.files import sync_file, sync_tree, writing
from e2hil_rllib.noise import NoiseStream
from e2hil_rllib.vision.settings import absolute_source
from e2hil_rllib.vision.trunk import FrozenTrunk, shared_trunk

#: Debouncing under which the figures of whole episodes are reported: without, and by default.
DEBOUNCED = ((1, 1), (2, 3))
_FROZEN_FRAMES = 3000  # training frames whose features are computed, as each takes 10 ms
_BATCH = 64

#: Called with what is being done, how far it is, and how far it goes.
OnProgress = Callable[[str, int, int], None]


@dataclass(frozen=True)
class TrainingOptions:
    """How to train.

    Attributes:
        encoder: "cnn" trains a small CNN; "frozen" a head on the features of a frozen trunk.
        trunk_weights: Of the frozen trunk: "seed:N", a .safetensors file, or a hub id.
        steps: Batches at most.
        seed: Of the split and of everything that is drawn.
        false_positive_rate: Largest share of the failures that the threshold lets through on
            the frames that it is chosen on.
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
    """Refuses to write where something is already: a classifier is never replaced in passing.

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
    """Trains, chooses the threshold, tests, and writes the classifier with its figures.

    Args:
        episodes: Labelled episodes with frames of the same cameras and shapes.
        options: How to train.
        out: The folder to write; there must be none yet.
        on_progress: Told how far training has come.

    Returns:
        What the classifier's file says, the figures of the test among it.

    Raises:
        ClassifierError: The folder exists already.
        DatasetError: There are too few episodes.
        TrunkWeightsError: The frozen trunk's weights cannot be had.
        WriteError: The folder cannot be written.
    """
    refuse_existing(out)
    split = split_episodes(episodes, options.seed)
    trunk = shared_trunk(absolute_source(options.trunk_weights)) if _frozen(options) else None
    noise = NoiseStream(options.seed)
    parts = _inputs(split, trunk, options, noise, on_progress)
    shapes = episodes[0].shapes
    network = _network(shapes, options)
    history = fit(
        network, parts["train"], parts["choose"], steps=options.steps, batch_size=_BATCH,
        noise=noise, on_step=lambda done, total: on_progress("Training", done, total),
    )  # fmt: skip
    network.eval()
    chosen_on = probabilities(network, parts["choose"])
    threshold = threshold_at(chosen_on, parts["choose"].success, options.false_positive_rate)
    tested = probabilities(network, parts["test"])
    ends = np.cumsum([len(episode.success) for episode in split.test])[:-1]
    by_episode = np.split(tested, ends)
    best = best_evaluation(history)
    description = {
        "version": VERSION,
        "encoder": options.encoder,
        "trunk_weights": absolute_source(options.trunk_weights) if trunk else None,
        "trunk_fingerprint": trunk.fingerprint if trunk else None,
        "cameras": {camera: list(shape) for camera, shape in shapes.items()},
        "threshold": threshold,
        "false_positive_rate": options.false_positive_rate,
        "seed": options.seed,
        "steps": {"most": options.steps, "made": history[-1].step, "best": best.step},
        "split": split.sizes(),
        "chosen_on": _as_dicts(frame_figures(chosen_on, parts["choose"].success, threshold)),
        "test": _test_figures(split, by_episode, threshold),
    }
    classifier = SuccessClassifier(network, shapes, threshold, trunk, description)
    _write(classifier, split, by_episode, out)
    return description


def _frozen(options: TrainingOptions) -> bool:
    return options.encoder == "frozen"


def _network(shapes: dict[str, tuple[int, ...]], options: TrainingOptions) -> ClassifierNetwork:
    """A network drawn from the seed, with torch's own generator left where it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        return ClassifierNetwork(shapes, _frozen(options))


def _inputs(
    split: Split,
    trunk: FrozenTrunk | None,
    options: TrainingOptions,
    noise: NoiseStream,
    on_progress: OnProgress,
) -> dict[str, Inputs]:
    """The three parts of the data as the network takes them."""
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
            lambda done, total, stage=stage: on_progress(stage, done, total),  # type: ignore[misc]
        )  # fmt: skip
    return inputs


def _test_figures(split: Split, probability: list[np.ndarray], threshold: float) -> dict[str, Any]:
    truth = [episode.success for episode in split.test]
    all_scores, all_truth = np.concatenate(probability), np.concatenate(truth)
    predicted = [scores >= threshold for scores in probability]
    return {
        "frames": _as_dicts(frame_figures(all_scores, all_truth, threshold)),
        "average_precision": average_precision(all_scores, all_truth),
        "episodes": [
            {"agree": agree, "window": window}
            | _as_dicts(episode_figures(predicted, truth, agree, window))
            for agree, window in DEBOUNCED
        ],
    }


def _as_dicts(figures: dict[str, Any]) -> dict[str, Any]:
    return {name: figure.as_dict() for name, figure in figures.items()}


def _write(
    classifier: SuccessClassifier, split: Split, probability: list[np.ndarray], out: Path
) -> None:
    """Writes the folder beside, then gives it its name: it is there whole or not at all."""
    temporary = out.with_name(f".{out.name}.tmp")
    with writing(out):
        try:
            shutil.rmtree(temporary, ignore_errors=True)
            temporary.mkdir(parents=True)
            classifier.save(temporary)
            truth = np.concatenate([episode.success for episode in split.test])
            scores = np.concatenate(probability)
            draw_scores(scores, truth, classifier.threshold, temporary / "scores.png")
            worst = [
                frame
                for kind in (False, True)
                for frame in worst_frames(split.test, probability, kind)
            ]
            draw_mistakes(worst, classifier.threshold, temporary / "mistakes.png")
            sync_tree(temporary)
            temporary.rename(out)
            sync_file(out.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
