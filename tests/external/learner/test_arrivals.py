"""Chunks of an inbox become steps in order, and every episode's end becomes known."""

from __future__ import annotations

import itertools
import logging
import os
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2hil_rllib.external.learner.arrivals import Arrival, Arrivals
from e2hil_rllib.external.learner.inbox import Inbox
from e2hil_rllib.external.protocol.chunk import Chunk
from e2hil_rllib.external.protocol.chunk_folder import LOST
from tests.external.protocol.test_chunk import make_chunk


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[Inbox]:
    with Inbox(tmp_path / "inbox") as inbox:
        yield inbox


@pytest.fixture(autouse=True)
def _no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)


def chunk(
    sequence: int, episode: int, first_step: int, steps: int = 4, ends: bool = False
) -> bytes:
    """A chunk of the stream "a" as it is sent."""
    place = {"stream": "a", "sequence": sequence, "episode": episode, "first_step": first_step}
    ending = {"terminated": False, "truncated": ends, "succeed": False}
    return make_chunk(steps, sequence, **place, **ending).to_bytes()


def put(inbox: Inbox, *chunks: bytes, stream: str = "a", first: int = 0) -> None:
    for sequence, data in enumerate(chunks, first):
        inbox.receive(stream, sequence, data)


def everything(arrivals: Arrivals, most_steps: int = 10_000) -> list[Arrival]:
    return arrivals.take(most_steps)


def accepts(chunk: Chunk) -> None:
    """A learner that can learn from everything."""


def told(arrivals: list[Arrival]) -> list[tuple[str, int, int | None, bool]]:
    """Origin, sequence, first step (None where nothing comes) and end of each."""
    return [
        (it.origin, it.sequence, it.chunk.first_step if it.chunk else None, it.ends_episode)
        for it in arrivals
    ]


def test_each_chunk_comes_once_with_the_name_of_its_episode(inbox: Inbox) -> None:
    arrivals = Arrivals(inbox, accepts)
    assert everything(arrivals) == []
    put(inbox, chunk(0, 0, 0), chunk(1, 0, 4, ends=True))
    put(inbox, chunk(2, 2, 0, 3), first=2)
    assert told(everything(arrivals)) == [
        ("a/0/0", 0, 0, False),
        ("a/0/0", 1, 4, True),
        ("a/2/0", 2, 0, False),
    ]
    assert everything(arrivals) == []
    put(inbox, chunk(3, 2, 3, ends=True), first=3)
    assert told(everything(arrivals)) == [("a/2/0", 3, 3, True)]


def test_what_comes_too_early_waits_for_its_turn(inbox: Inbox) -> None:
    arrivals = Arrivals(inbox, accepts)
    put(inbox, chunk(1, 0, 4, ends=True), first=1)
    assert everything(arrivals) == []
    put(inbox, chunk(0, 0, 0))
    assert told(everything(arrivals)) == [("a/0/0", 0, 0, False), ("a/0/0", 1, 4, True)]


def test_an_episode_that_a_restarted_robot_left_open_is_cut_off_where_the_next_begins(
    inbox: Inbox,
) -> None:
    arrivals = Arrivals(inbox, accepts)
    put(inbox, chunk(0, 0, 0), chunk(1, 1, 0), chunk(2, 1, 4, ends=True))
    assert told(everything(arrivals)) == [
        ("a/0/0", 0, 0, False),
        ("a/0/0", 0, None, True),
        ("a/1/0", 1, 0, False),
        ("a/1/0", 2, 4, True),
    ]


def test_the_cut_is_told_also_when_the_next_episode_comes_much_later(inbox: Inbox) -> None:
    arrivals = Arrivals(inbox, accepts)
    put(inbox, chunk(0, 0, 0))
    assert told(everything(arrivals)) == [("a/0/0", 0, 0, False)]
    put(inbox, chunk(1, 1, 0), first=1)
    assert told(everything(arrivals)) == [("a/0/0", 0, None, True), ("a/1/0", 1, 0, False)]


def test_after_a_lost_chunk_the_rest_of_its_episode_is_one_of_its_own(
    inbox: Inbox, caplog: pytest.LogCaptureFixture
) -> None:
    put(inbox, chunk(0, 0, 0), LOST, chunk(2, 0, 8), chunk(3, 0, 12, ends=True))
    assert told(everything(Arrivals(inbox, accepts))) == [
        ("a/0/0", 0, 0, False),
        ("a/0/0", 1, None, True),
        ("a/0/8", 2, 8, False),
        ("a/0/8", 3, 12, True),
    ]
    assert "Chunk 1 of the recording a is lost" in caplog.text


def test_an_episode_whose_first_or_last_chunk_is_lost(inbox: Inbox) -> None:
    put(inbox, LOST, chunk(1, 0, 4), LOST, chunk(3, 3, 0, ends=True))
    assert told(everything(Arrivals(inbox, accepts))) == [
        ("a/0/4", 1, 4, False),
        ("a/0/4", 2, None, True),
        ("a/3/0", 3, 0, True),
    ]


@pytest.mark.parametrize("fault", ["malformed", "refused"])
def test_a_chunk_that_nobody_can_learn_from_is_left_out_with_the_reason(
    inbox: Inbox, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    def check(chunk: Chunk) -> None:
        if fault == "refused" and chunk.sequence == 1:
            raise ValueError("actions have shape (4, 9)")

    bad = b"no chunk" if fault == "malformed" else chunk(1, 0, 4, ends=True)
    put(inbox, chunk(0, 0, 0), bad, chunk(2, 2, 0, ends=True))
    assert told(everything(Arrivals(inbox, check))) == [
        ("a/0/0", 0, 0, False),
        ("a/0/0", 1, None, True),
        ("a/2/0", 2, 0, True),
    ]
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert "Chunk 1 of the recording a is left out: " in record.getMessage()
    assert fault == "malformed" or "actions have shape (4, 9)" in record.getMessage()


def test_it_stops_with_the_chunk_that_reaches_so_many_steps(inbox: Inbox) -> None:
    put(inbox, *(chunk(n, 0, 4 * n) for n in range(5)))
    put(inbox, chunk(0, 0, 0), stream="b")
    arrivals = Arrivals(inbox, accepts)
    taken = [told(arrivals.take(7)) for _ in range(4)]
    assert [[(name[0], sequence) for name, sequence, *_ in each] for each in taken] == [
        [("a", 0), ("a", 1)],
        [("a", 2), ("a", 3)],
        [("a", 4), ("b", 0)],
        [],
    ]


def test_what_went_to_another_inbox_is_not_waited_for(inbox: Inbox) -> None:
    arrivals = Arrivals(inbox, accepts)
    put(inbox, chunk(0, 0, 0))
    everything(arrivals)
    inbox.begin("a", 7)
    put(inbox, chunk(7, 5, 8), first=7)
    assert told(everything(arrivals)) == [("a/0/0", 6, None, True), ("a/5/8", 7, 8, False)]


def test_another_process_begins_with_the_first_episode_that_is_not_finished(inbox: Inbox) -> None:
    put(inbox, chunk(0, 0, 0), chunk(1, 0, 4, ends=True), chunk(2, 2, 0), chunk(3, 2, 4))
    first = everything(Arrivals(inbox, accepts))
    inbox.finish("a", 1)
    again = Arrivals(inbox, accepts)
    assert told(everything(again)) == told(first)[2:]
    put(inbox, chunk(4, 2, 8, ends=True), first=4)
    assert told(everything(again)) == [("a/2/0", 4, 8, True)]


EPISODES = st.lists(
    st.tuples(st.lists(st.integers(1, 3), min_size=1, max_size=4), st.booleans()), max_size=6
)


def stream_of(episodes: list[tuple[list[int], bool]]) -> Iterator[bytes]:
    """Chunks of these lengths for each episode; without an end where the robot was killed."""
    sequence = 0
    for lengths, ended in episodes:
        episode, step = sequence, 0
        for place, length in enumerate(lengths):
            ends = ended and place == len(lengths) - 1
            yield chunk(sequence, episode, step, length, ends)
            sequence, step = sequence + 1, step + length


@given(EPISODES, st.sets(st.integers(0, 20)), st.data())
@settings(max_examples=60, deadline=None)
def test_whatever_is_lost_everything_else_comes_in_order_in_episodes_without_a_gap(
    episodes: list[tuple[list[int], bool]], lost: set[int], data: st.DataObject
) -> None:
    sent = list(stream_of(episodes))
    with tempfile.TemporaryDirectory() as folder, Inbox(folder) as inbox:
        arrivals, taken = Arrivals(inbox, accepts), []
        for sequence in data.draw(st.permutations(range(len(sent)))):
            put(inbox, LOST if sequence in lost else sent[sequence], first=sequence)
            taken += arrivals.take(data.draw(st.integers(1, 10)))
        taken += everything(arrivals)
        inbox.finish("a", len(sent) - 1)
    came = [it.chunk.to_bytes() for it in taken if it.chunk]
    assert came == [data for sequence, data in enumerate(sent) if sequence not in lost]
    for it, following in itertools.pairwise(taken):
        assert it.ends_episode or it.origin == following.origin
    by_origin: dict[str, list[Arrival]] = defaultdict(list)
    for it in taken:
        by_origin[it.origin].append(it)
    for origin, parts in by_origin.items():
        assert [it.ends_episode for it in parts[:-1]] == [False] * (len(parts) - 1)
        chunks = [it.chunk for it in parts if it.chunk]
        assert origin == f"a/{chunks[0].episode}/{chunks[0].first_step}"
        steps = [chunks[0].first_step]
        for each in chunks:
            assert (each.episode, each.first_step) == (chunks[0].episode, steps[-1])
            steps.append(each.first_step + each.num_steps)
