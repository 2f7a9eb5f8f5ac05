"""Selection statistics: what is logged of a batch's selection."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from e2hil_rllib.data.replay import EPISODE, SOURCE, SOURCE_NAMES, STEP
from e2hil_rllib.method.selection import Selection, SelectionSettings
from e2hil_rllib.run.selection_log import JudgedSamples


def selection_statistics(
    selection: Selection, source: Tensor, settings: SelectionSettings
) -> dict[str, float]:
    """Statistics of a selection, over the batch and for each source in it.

    ``influence_mean`` is the mean of |c|, ``entropy_change`` the mean of c (the predicted change
    of entropy for a unit step, Eq. 9), ``entropy_change_learned`` that of the samples which the
    actor learns from, ``influence_lower``/``influence_upper`` the bounds; with a source's name
    behind them, they are the 5th and 95th percentile of that source's |c|.

    Args:
        selection: Selection of the batch.
        source: Shape (B,), codes of :data:`~e2hil_rllib.data.replay.SOURCE_NAMES`.
        settings: Settings that it was made with.

    Returns:
        Values by name; a source without samples is left out.
    """
    influence = selection.influence.double().cpu().numpy()
    magnitude = np.abs(influence)
    kept = selection.mask.cpu().numpy()
    codes = source.cpu().numpy()
    learned = influence[kept] if settings.enabled else influence
    statistics = {
        "influence_mean": float(magnitude.mean()),
        "entropy_change": float(influence.mean()),
        "entropy_change_learned": float(learned.mean()) if learned.size else math.nan,
        "influence_lower": float(selection.lower),
        "influence_upper": float(selection.upper),
        "kept_fraction": float(kept.mean()),
    }
    for code, name in enumerate(SOURCE_NAMES):
        chosen = codes == code
        if chosen.any():
            lower, upper = np.percentile(magnitude[chosen], (5, 95))
            statistics |= {
                f"influence_mean_{name}": float(magnitude[chosen].mean()),
                f"influence_lower_{name}": float(lower),
                f"influence_upper_{name}": float(upper),
                f"kept_fraction_{name}": float(kept[chosen].mean()),
            }
    return statistics


def judged_samples(
    selection: Selection, batch: Mapping[str, Any], settings: SelectionSettings
) -> JudgedSamples:
    """Verdicts on each sample of a batch, for the log.

    Args:
        selection: Selection of the batch.
        batch: Columns of the batch; source, episode and step are used.
        settings: Settings that it was made with.
    """
    columns = {name: batch[name].cpu().numpy().copy() for name in (EPISODE, STEP, SOURCE)}
    return JudgedSamples(
        **columns,
        influence=selection.influence.cpu().numpy(),
        kept=selection.mask.cpu().numpy(),
        lower=float(selection.lower),
        upper=float(selection.upper),
        rule=settings.rule,
        enabled=settings.enabled,
    )
