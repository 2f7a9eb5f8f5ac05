"""The report of a run: whole, partial and empty ones."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from e2hil_rllib.disk.files import WriteError
from e2hil_rllib.report import ReportError, write_report
from e2hil_rllib.report.run.curves import PLOTS
from e2hil_rllib.run.evaluation_log import EvaluatedEpisode, write_evaluations
from e2hil_rllib.run.progress import STEP, Row, write_rows
from e2hil_rllib.run.run_folder import RunFolder, RunFolderError
from tests.report import runs

LEARNER = "learners/default_policy/"


def run_in(folder: Path, rows: list[Row]) -> RunFolder:
    run = runs.run_in(folder)
    if rows:
        write_rows(run.progress, rows)
    return run


def whole_run() -> list[Row]:
    rows = []
    for step in (100, 200, 300, 400):
        row = {STEP: float(step), "num_updates_lifetime": 2.0 * step}
        row["num_takeovers_lifetime"] = step / 10
        for name in ("success_rate", "autonomous_success_rate", "intervention_rate"):
            row[f"env_runners/{name}"] = math.nan if step == 100 else step / 1000
        row["env_runners/episode_return_mean"] = 0.5
        row |= {LEARNER + name: 0.1 for name in ("policy_entropy", "temperature", "kept_fraction")}
        row |= {LEARNER + f"influence_{name}": 0.1 for name in ("mean", "lower", "upper")}
        for source in ("policy", "intervention", "demonstration"):
            row[LEARNER + f"influence_mean_{source}"] = 0.2
            row[LEARNER + f"kept_fraction_{source}"] = 0.9
        rows.append(row)
    return rows


class Tags(HTMLParser):
    """Parser that collects the pictures of a page, and checks that its tags are closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.sources: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.sources.append(dict(attrs)["src"] or "")
        elif tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_figure_is_drawn_and_the_page_is_self_contained(tmp_path: Path) -> None:
    run = run_in(tmp_path, whole_run())
    page = write_report(run)
    text = page.read_text()
    tags = Tags(text)
    assert not tags.open and len(tags.sources) == len(PLOTS)
    assert all(source.startswith("data:image/png;base64,") for source in tags.sources)
    assert not re.search(r'(src|href)="(?!data:)', text)
    for plot in PLOTS:
        pixels = np.asarray(Image.open(run.report / f"{plot.name}.png").convert("RGB"))
        saturation = pixels.max(axis=-1).astype(int) - pixels.min(axis=-1)
        assert (saturation > 80).sum() > 300, f"{plot.name} has no coloured line"


def test_the_page_tells_figures_settings_and_evaluation(tmp_path: Path) -> None:
    run = run_in(tmp_path, whole_run())
    episodes = [
        EvaluatedEpisode(400, seed, seed < 9, 20, 1.0, "left" if seed % 2 else "right")
        for seed in range(10)
    ]
    write_evaluations(run.evaluation, episodes)
    (run.root / "checkpoints" / "step_000000400").mkdir(parents=True)
    text = write_report(run).read_text()
    assert "Step 400 of 400" in text and "step_000000400" in text
    assert "task: envs:SO101TouchCube-v0" in text
    assert "<td>intervention rate</td><td>40.0%</td><td>-</td><td>20.0%</td>" in text
    assert "<td>takeovers</td><td>40</td>" in text
    assert "<td>all</td><td>90 %</td>" in text
    assert "<td>left</td><td>80 %</td>" in text and "<td>right</td><td>100 %</td>" in text


def test_the_page_shows_frames(tmp_path: Path) -> None:
    run = run_in(tmp_path, whole_run())
    runs.add_episode(run.episodes, 0, 10)
    runs.log_selection(run, 400, runs.judged_samples([0]))
    run.crops.mkdir()
    for name in ("wrist", "front"):
        Image.new("RGB", (4, 4)).save(run.crops / f"{name}.png")
    text = write_report(run).read_text()
    tags = Tags(text)
    assert not tags.open and len(tags.sources) == len(PLOTS) + 5
    headings = re.findall("<h2>(.*?)</h2>", text)
    assert headings[2:5] == [
        "Region of interest",
        "What the policy sees",
        "Kept and pruned samples",
    ]
    assert text.index("camera front") < text.index("camera wrist")


def test_a_run_that_has_just_begun_has_fewer_figures(tmp_path: Path) -> None:
    run = run_in(tmp_path, [{STEP: 100.0, "env_runners/success_rate": math.nan,
                             LEARNER + "temperature": 0.01}])  # fmt: skip
    text = write_report(run).read_text()
    assert [path.name for path in run.report.glob("*.png")] == ["temperature.png"]
    assert "None yet." in text and "nan" not in text


def test_an_old_figure_does_not_outlive_its_run(tmp_path: Path) -> None:
    run = run_in(tmp_path, whole_run())
    write_report(run)
    write_rows(run.progress, [{STEP: 100.0, LEARNER + "temperature": 0.01}])
    write_report(run)
    assert [path.name for path in run.report.glob("*.png")] == ["temperature.png"]


def test_a_full_disk_is_reported_with_the_picture_and_keeps_the_old_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = run_in(tmp_path, whole_run())
    write_report(run)
    before = {path.name: path.read_bytes() for path in run.report.iterdir()}

    def fill_the_disk(figure: Figure, target: Path, **options: str) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", fill_the_disk)
    with pytest.raises(WriteError, match=r"success\.png could not be written: No space left"):
        write_report(run)
    assert {path.name: path.read_bytes() for path in run.report.iterdir()} == before


def test_a_picture_that_cannot_be_removed_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, missing_ok: bool = False) -> None:
        raise PermissionError(13, "Permission denied")

    run = run_in(tmp_path, whole_run())
    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(WriteError, match=r"\.png could not be written: Permission denied"):
        write_report(run)


@pytest.mark.parametrize("text", ["", f"{STEP}\n", f"{STEP},x\n100"])
def test_a_run_without_a_row_is_refused(tmp_path: Path, text: str) -> None:
    run = run_in(tmp_path, [])
    run.progress.write_text(text)
    with pytest.raises(ReportError, match="nothing to report yet"):
        write_report(run)


def test_other_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="not a run folder"):
        write_report(RunFolder(tmp_path))
    assert not list(tmp_path.iterdir())
