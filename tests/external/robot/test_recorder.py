"""What a robot records comes into the spool whole and in order, however the disk behaves."""

from __future__ import annotations

import itertools
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2hil_rllib.data.collector import EpisodeCollector
from e2hil_rllib.data.episodes import read_episodes
from e2hil_rllib.data.transitions import EpisodeSteps
from e2hil_rllib.external.learner.arrivals import Arrivals
from e2hil_rllib.external.learner.inbox import Inbox
from e2hil_rllib.external.protocol.chunk import Chunk
from e2hil_rllib.external.robot import recorder as recorder_module
from e2hil_rllib.external.robot.recorder import Recorder, Step
from e2hil_rllib.external.robot.spool import Spool
from tests.external.robot.test_delivery import until
from tests.patience import stretched

ACTIONS = gym.spaces.Box(-10_000, 10_000, (1,), np.float32)
ROOM = 1 << 28  # [bytes]


@pytest.fixture(autouse=True)
def _quick_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)
    monkeypatch.setattr(recorder_module, "_RETRY", 0.02)


@pytest.fixture
def spool(tmp_path: Path) -> Iterator[Spool]:
    with Spool(tmp_path / "spool", ROOM) as spool:
        yield spool


def seen(number: float) -> np.ndarray:
    return np.array([number, -number], np.float32)


def step(number: int, human: bool = False) -> Step:
    """The step that leads to what is seen as this number."""
    return Step(np.array([number / 2]), number / 4, human, seen(number))


def chunks_of(spool: Spool) -> list[Chunk]:
    return [Chunk.from_bytes(spool.read(sequence)) for sequence, _ in spool.waiting()]


def recorded(spool: Spool, chunk_steps: int = 3) -> Recorder:
    return Recorder(spool, fps=25.0, task="reach", chunk_steps=chunk_steps)


def record(recorder: Recorder, steps: range) -> None:
    for number in steps:
        recorder.add(step(number))


def logged(chunks: list[tuple[int, bytes]], stream: str, folder: Path) -> list[EpisodeSteps]:
    """The episodes that a learner logs which gets these chunks."""
    collector = EpisodeCollector(ACTIONS, interventions=True, episode_log=folder / "log")
    with Inbox(folder / "inbox") as inbox:
        arrivals = Arrivals(inbox, lambda chunk: None)
        for sequence, data in chunks:
            inbox.receive(stream, sequence, data)
            for arrival in arrivals.take(100):
                collector.receive(arrival.origin, arrival.chunk)
    return read_episodes(folder / "log") if collector.outcomes else []


def test_a_chunk_says_what_happened(spool: Spool) -> None:
    recorder = recorded(spool)
    recorder.begin(seen(0))
    record(recorder, range(1, 3))
    recorder.add(step(3, human=True))
    recorder.end(terminated=True, succeed=True)
    assert recorder.close()
    (chunk,) = chunks_of(spool)
    assert (chunk.stream, chunk.sequence, chunk.episode) == (spool.stream, 0, 0)
    assert (chunk.first_step, chunk.fps, chunk.task) == (0, 25.0, "reach")
    assert chunk.observations.keys() == {"state"}
    assert chunk.observations["state"].tolist() == [seen(n).tolist() for n in range(4)]
    assert chunk.actions.tolist() == [[0.5], [1.0], [1.5]] and chunk.actions.dtype == np.float32
    assert chunk.rewards.tolist() == [0.25, 0.5, 0.75]
    assert chunk.is_intervention.tolist() == [False, False, True]
    assert (chunk.terminated, chunk.truncated, chunk.succeed) == (True, False, True)


def test_entries_of_an_observation_keep_their_names_and_frames_their_bytes(spool: Spool) -> None:
    def view(number: int) -> dict[str, np.ndarray]:
        return {"state": seen(number), "front": np.full((4, 5, 3), number, np.uint8)}

    recorder = recorded(spool)
    recorder.begin(view(0))
    recorder.add(Step(np.zeros(1, np.float32), 0.0, False, view(1)))
    recorder.cut()
    assert recorder.close()
    (chunk,) = chunks_of(spool)
    front = chunk.observations["front"]
    assert front.shape == (2, 4, 5, 3) and front.dtype == np.uint8
    assert front[:, 0, 0, 0].tolist() == [0, 1] and chunk.truncated


def test_a_kill_loses_at_most_the_steps_of_a_chunk_and_the_newest(spool: Spool) -> None:
    recorder = recorded(spool)
    recorder.begin(seen(0))
    for steps in range(1, 14):
        recorder.add(step(steps))
        until(lambda: len(spool.waiting()) == (steps - 1) // 3, 5.0)  # noqa: B023
        assert steps - 3 * len(spool.waiting()) <= 3 + 1
    assert not any(chunk.ends_episode for chunk in chunks_of(spool))
    assert recorder.close()
    assert [chunk.num_steps for chunk in chunks_of(spool)] == [3, 3, 3, 3, 1]
    assert [chunk.truncated for chunk in chunks_of(spool)] == [False] * 4 + [True]


def test_the_first_chunks_number_names_the_episode_also_in_the_next_process(tmp_path: Path) -> None:
    for _ in range(2):
        with Spool(tmp_path, ROOM) as spool:
            recorder = recorded(spool)
            for _ in range(2):
                recorder.begin(seen(0))
                record(recorder, range(1, 6))
            assert recorder.close()
            chunks = chunks_of(spool)
    assert [chunk.episode for chunk in chunks] == [0, 0, 2, 2, 4, 4, 6, 6]
    assert [chunk.first_step for chunk in chunks] == [0, 3] * 4


def test_nothing_is_recorded_where_no_step_was_done(spool: Spool) -> None:
    recorder = recorded(spool)
    recorder.cut()
    recorder.begin(seen(0))
    recorder.end(terminated=True, succeed=True)
    recorder.begin(seen(0))
    recorder.begin(seen(0))
    recorder.cut()
    assert recorder.close() and recorder.fault == ""
    assert chunks_of(spool) == []


_BEGIN, _CUT = st.just(("begin",)), st.just(("cut",))
_ADD = st.tuples(st.just("add"), st.integers(1, 9), st.booleans())
_END = st.tuples(st.just("end"), st.booleans(), st.booleans())
# Mostly episodes as they should be, and calls in any order.
HAPPENINGS = st.lists(
    st.tuples(_BEGIN, _ADD, _END) | st.tuples(_BEGIN, _ADD, _ADD) | st.tuples(_END | _CUT | _ADD),
    max_size=8,
).map(lambda groups: [each for group in groups for each in group])


class Model:
    """What a learner should log: the numbers of the steps, who did them, and the end of each."""

    def __init__(self) -> None:
        self.episodes: list[tuple[list[int], list[bool], tuple[bool, bool, bool]]] = []
        self.runs, self._steps, self._human = False, [0], [False]

    def begin(self, number: int) -> None:
        self.end(False, False)
        self.runs, self._steps, self._human = True, [number], []

    def add(self, number: int, human: bool) -> None:
        self._steps.append(number)
        self._human.append(human)

    def end(self, terminated: bool, succeed: bool) -> None:
        if self.runs and self._human:
            self.episodes.append((self._steps, self._human, (terminated, not terminated, succeed)))
        self.runs = False


def play(happenings: list[Any], recorder: Recorder, model: Model) -> None:
    """Does all of this with both; steps come only while an episode runs."""
    number = 0
    for what, *arguments in happenings:
        if what == "begin":
            number += 1
            recorder.begin(seen(number))
            model.begin(number)
        elif what == "add" and model.runs:
            for _ in range(arguments[0]):
                number += 1
                recorder.add(step(number, arguments[1]))
                model.add(number, arguments[1])
        elif what == "end":
            recorder.end(terminated=arguments[0], succeed=arguments[1])
            model.end(*arguments)
        elif what == "cut":
            recorder.cut()
            model.end(False, False)
    model.end(False, False)


@given(HAPPENINGS, st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_the_learner_logs_exactly_what_was_recorded(happenings: list[Any], size: int) -> None:
    model = Model()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        with Spool(root / "spool", ROOM) as spool:
            recorder = recorded(spool, size)
            play(happenings, recorder, model)
            assert recorder.close()
            chunks = [(sequence, spool.read(sequence)) for sequence, _ in spool.waiting()]
        episodes = logged(chunks, spool.stream, root)
    sent = [Chunk.from_bytes(data) for _, data in chunks]
    for chunk, following in itertools.pairwise(sent):
        if following.episode == chunk.episode:
            last, first = chunk.observations["state"][-1], following.observations["state"][0]
            assert last.tolist() == first.tolist()
    assert len(episodes) == len(model.episodes)
    for episode, (numbers, human, end) in zip(episodes, model.episodes, strict=True):
        assert episode.observations["state"][:, 0].tolist() == numbers
        np.testing.assert_allclose(episode.actions[:, 0], np.array(numbers[1:]) / 2, atol=1e-2)
        assert episode.rewards.tolist() == [number / 4 for number in numbers[1:]]
        assert episode.is_intervention.tolist() == human
        assert (episode.terminated, episode.truncated, episode.succeed) == end
        assert (episode.fps, episode.task) == (25.0, "reach")


def test_while_the_spool_is_full_nothing_is_lost_or_reordered(tmp_path: Path) -> None:
    sent: list[tuple[int, bytes]] = []
    with Spool(tmp_path / "spool", 3000) as spool:

        def deliver() -> int:
            for sequence, _ in spool.waiting():
                sent.append((sequence, spool.read(sequence)))
                spool.acknowledge(sequence)
            return len(sent)

        recorder, number = recorded(spool), 0
        recorder.begin(seen(0))
        for _ in range(3):
            while not recorder.fault:
                number += 1
                recorder.add(step(number))
                time.sleep(0.001)
            until(lambda: "takes no more than" in recorder.fault, 5.0)
            assert recorder.failure == "" and len(sent) < (number - 1) // 3
            until(lambda: deliver() == (number - 1) // 3, 5.0)  # noqa: B023
            until(lambda: not recorder.fault, 5.0)
        assert recorder.close()
        deliver()
    (episode,) = logged(sent, spool.stream, tmp_path)
    assert episode.observations["state"][:, 0].tolist() == list(range(number + 1))
    assert number > 30 and episode.truncated


def test_a_slow_disk_is_told_before_anything_waits_for_it(
    spool: Spool, monkeypatch: pytest.MonkeyPatch
) -> None:
    free, append = threading.Event(), spool.append

    def slow(make: Any) -> int:
        assert free.wait(30.0)
        return append(make)

    monkeypatch.setattr(spool, "append", slow)
    recorder = recorded(spool, chunk_steps=1)
    recorder.begin(seen(0))
    number = 0
    while not recorder.fault and number < 60:
        number += 1
        recorder.add(step(number))
    assert number < 15 and recorder.fault.endswith("chunks wait for a slow disk")
    free.set()
    until(lambda: not recorder.fault, 5.0)
    assert recorder.close() and sum(chunk.num_steps for chunk in chunks_of(spool)) == number


def test_what_a_full_spool_does_not_take_at_the_end_is_told(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Spool(tmp_path, 10) as spool:
        recorder = recorded(spool)
        recorder.begin(seen(0))
        record(recorder, range(1, 6))
        begun = time.monotonic()
        assert not recorder.close()
        assert time.monotonic() - begun < stretched(5.0)
    assert "3 steps are lost" in caplog.text and "2 steps are lost" in caplog.text


def test_steps_that_were_lost_at_the_end_are_told_although_later_ones_found_room(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with Spool(tmp_path, 500) as spool:
        recorder = recorded(spool, chunk_steps=20)
        recorder.begin(seen(0))
        record(recorder, range(1, 22))  # 20 steps do not fit, the last one does
        assert not recorder.close()
        assert "takes no more than" in recorder.fault
        assert [chunk.num_steps for chunk in chunks_of(spool)] == [1]
    assert "20 steps are lost" in caplog.text


@pytest.mark.parametrize(
    ("observation", "fault"),
    [
        (np.array([np.nan, 1], np.float32), "not finite"),
        (np.zeros(3, np.float32), "same shape"),
        (np.array(["a", "b"]), "expected numbers"),
        ({"other": seen(1)}, r"the entries ['other'], one before it ['state']"),
    ],
)
def test_what_no_learner_would_take_is_a_failure_with_the_reason(
    spool: Spool, observation: Any, fault: str
) -> None:
    recorder = recorded(spool)
    recorder.begin(seen(0))
    recorder.add(Step(np.zeros(1, np.float32), 0.0, False, observation))
    recorder.end(terminated=True, succeed=False)
    until(lambda: fault in recorder.failure, 5.0)
    assert recorder.fault == "", "no pause would help"
    recorder.begin(seen(0))
    record(recorder, range(1, 3))
    assert not recorder.close()
    assert [chunk.num_steps for chunk in chunks_of(spool)] == [2]
