"""Weights of the frozen trunk: from a file, from the hub, or from a seed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from e2hil_rllib.errors import UserError
from e2hil_rllib.files import swapped_in
from e2hil_rllib.vision.resnet import ResNet10T
from e2hil_rllib.vision.seeded_weights import seeded_weights

#: Mean and standard deviation of the red, green and blue of a frame in [0, 1], by which the
#: public weights expect it to be normalised (those of ImageNet).
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)

PUBLIC_WEIGHTS = "timm/resnet10t.c3_in1k"
_HUB_FILE = "model.safetensors"
_SEED = re.compile(r"seed:(\d{1,9})")
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_CLASSIFIER = ("fc.weight", "fc.bias")  # in the public file, and of no use for features
_COUNTER = "num_batches_tracked"  # read by training only; some files leave it out


class TrunkWeightsError(UserError):
    """Weights that cannot be had or used; the message says which, why and what to do."""


def load_trunk_weights(source: str) -> dict[str, Tensor]:
    """The tensors of `ResNet10T` by name.

    Args:
        source: ``"seed:N"`` for weights that are drawn from seed N (no file, no network); the
            path of a safetensors file; or ``"owner/name"``, a model on the Hugging Face hub,
            e.g. ``"timm/resnet10t.c3_in1k"``, which is downloaded once and then kept in the
            hub's cache.

    Returns:
        Tensors in the order of ``ResNet10T().state_dict()``; every number is float32.

    Raises:
        TrunkWeightsError: The source is none of these, there is no such file, the hub does not
            answer, or the file is damaged or holds another network.
    """
    seed = _SEED.fullmatch(source)
    if seed:
        return seeded_weights(int(seed[1]))
    if source.endswith(".safetensors") or (source and Path(source).expanduser().exists()):
        return _read(Path(source).expanduser())
    if _HUB_ID.fullmatch(source):
        return _read(_downloaded(source))
    raise TrunkWeightsError(
        f"The trunk weights {source!r} are none of: 'seed:N' with a whole number N, the path of a "
        f".safetensors file, or a model on the hub such as {PUBLIC_WEIGHTS!r}."
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
        tensors = load_file(path)
    except (SafetensorError, OSError) as error:
        raise TrunkWeightsError(
            f"The file of trunk weights {path} cannot be read: {error}. It is damaged, or no "
            "safetensors file: download or copy it again."
        ) from error
    return _checked(tensors, path)


def _checked(tensors: dict[str, Tensor], path: Path) -> dict[str, Tensor]:
    """Refuses tensors that are not those of `ResNet10T`, and brings them into its order."""
    with torch.device("meta"):  # names and shapes only: nothing is drawn from torch's generator
        expected = ResNet10T().state_dict()
    where = f"The trunk weights {path} are not those of a resnet10t"
    advice = f"Use the {_HUB_FILE} of {PUBLIC_WEIGHTS}, or a file written from its tensors."
    given = {name: value for name, value in tensors.items() if name not in _CLASSIFIER}
    missing = [name for name in expected if name not in given and not name.endswith(_COUNTER)]
    if missing:
        raise TrunkWeightsError(f"{where}: {_listed(missing)} missing. {advice}")
    extra = sorted(given.keys() - expected.keys())
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


def _listed(names: list[str], most: int = 4) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return f"{', '.join(names[:most])}{more} {'is' if len(names) == 1 else 'are'}"
