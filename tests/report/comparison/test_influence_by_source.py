"""|c| by source: the figures of Table II, and their picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.colors import to_rgb
from PIL import Image

from e2hil_rllib.report.comparison.influence_by_source import (
    PERCENTILES,
    draw_sources,
    judged_by_source,
    source_table,
)
from e2hil_rllib.report.run.logged_samples import LoggedSamples
from e2hil_rllib.report.style import COLOUR_OF_SOURCE


def samples_of(magnitude: np.ndarray, source: np.ndarray, kept: np.ndarray) -> LoggedSamples:
    nothing = np.zeros(len(magnitude), np.int64)
    return LoggedSamples(nothing, nothing, source.astype(np.uint8), magnitude, kept, True)


def two_seeds() -> list[LoggedSamples]:
    """|c| is 1 to 100 without demonstrations; the largest twenty are interventions and pruned."""
    magnitude = np.arange(1.0, 101)
    source, kept = (magnitude > 80).astype(int), magnitude <= 80
    return [
        samples_of(magnitude[half], source[half], kept[half])
        for half in (slice(50), slice(50, 100))
    ]


def test_percentiles_tail_and_pruned_are_those_of_all_seeds() -> None:
    head, rows = source_table({"e2hil": two_seeds()}, "reach")
    assert {len(row) for row in rows} == {len(head)}
    by_source = {row[2]: dict(zip(head, row, strict=True)) for row in rows}
    assert list(by_source) == ["all", "policy", "intervention"]
    expected = [f"{value:.3g}" for value in np.percentile(np.arange(1, 101), PERCENTILES)]
    assert list(by_source["all"].values())[4:10] == expected
    human, policy = by_source["intervention"], by_source["policy"]
    assert (human["samples"], human["median"], human["of all"]) == ("20", "90.5", "20.0%")
    assert (human["of the largest tenth"], human["pruned"]) == ("100.0%", "100.0%")
    assert (policy["of the largest tenth"], policy["pruned"]) == ("0.0%", "0.0%")
    assert by_source["all"]["pruned"] == "20.0%"


def test_sources_are_told_apart_in_the_picture(tmp_path: Path) -> None:
    seeds = two_seeds()
    assert list(judged_by_source(seeds)) == ["all", "policy", "intervention"]
    assert draw_sources({"e2hil": seeds, "random": seeds}, "reach", tmp_path / "a.png")
    pixels = np.asarray(Image.open(tmp_path / "a.png").convert("RGB")).astype(int)
    for name, colour in COLOUR_OF_SOURCE.items():
        wanted = np.array([round(255 * part) for part in to_rgb(colour)])
        assert ((np.abs(pixels - wanted).max(axis=-1) < 6).sum() > 300) == (name != "demonstration")


def test_influences_of_zero_have_a_table_and_no_picture(tmp_path: Path) -> None:
    zero = samples_of(np.zeros(10), np.zeros(10), np.ones(10, bool))
    assert not draw_sources({"e2hil": [zero]}, "reach", tmp_path / "a.png")
    assert not (tmp_path / "a.png").exists()
    _, rows = source_table({"e2hil": [zero]}, "reach")
    assert rows[0][4:] == ("0", "0", "0", "0", "0", "0", "100.0%", "100.0%", "0.0%")
    some = samples_of(np.r_[np.zeros(9), 1], np.zeros(10), np.ones(10, bool))
    assert draw_sources({"e2hil": [some]}, "reach", tmp_path / "a.png")
