"""The algorithm takes in what its runners' robots send, and deletes there what it has logged."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from e2hil_rllib.data.episodes import read_episodes
from e2hil_rllib.external.learner.arrivals import Arrival
from e2hil_rllib.external.learner.robot_feed import RobotFeed
from e2hil_rllib.external.learner.roster import Robot
from tests.data import test_collector
from tests.data.test_collector import collector


def arrival(*args, **changes):
    """Steps of a robot as they come out of the inbox."""
    origin, steps = test_collector.arrival(*args, **changes)
    return Arrival(origin, origin.partition("/")[0], 0, steps)


def cut_off(**changes):
    """News that an episode goes no further."""
    origin, steps = test_collector.cut_off(**changes)
    return Arrival(origin, origin.partition("/")[0], 0, steps)


class Runner:
    """One that has these arrivals at hand, a list for each sample."""

    def __init__(self, *samples: list[Arrival], robots: tuple[Robot, ...] = ()) -> None:
        self.samples, self.there = deque(samples), list(robots)
        self.finished: list[Arrival] = []
        self.logged: list[int] = []
        self.log = Path()
        self.told: list[dict[str, Any]] = []
        self.published = 0

    def sample(self) -> list[Arrival]:
        return self.samples.popleft() if self.samples else []

    def finish(self, arrival: Arrival) -> None:
        self.finished.append(arrival)
        self.logged.append(len(list(self.log.glob("*.parquet"))))

    def robots(self) -> list[Robot]:
        return self.there

    def tell(self, status: dict[str, Any]) -> None:
        self.told.append(status)

    def publish(self) -> None:
        self.published += 1


class Group:
    """What the feed uses of an `EnvRunnerGroup`, without processes.

    Args:
        runners: The local one first.
    """

    def __init__(self, *runners: Runner) -> None:
        self.local_env_runner, self.remote = runners[0], dict(enumerate(runners[1:], 1))
        self._asked: set[int] = set()

    def num_remote_env_runners(self) -> int:
        return len(self.remote)

    def foreach_env_runner_async(self, name: str, tag: str) -> None:
        assert (name, tag) == ("sample", "robots")
        self._asked |= self.remote.keys()

    def fetch_ready_async_reqs(self, tags: str, timeout_seconds: float) -> Iterator[Any]:
        assert tags == "robots" and timeout_seconds < 0.1
        asked, self._asked = self._asked, set()
        return iter([(place, self.remote[place].sample()) for place in sorted(asked)])

    def foreach_env_runner(
        self,
        ask: Callable[[Runner], Any],
        local_env_runner: bool,
        remote_worker_ids: list[int] | None = None,
    ) -> list[Any]:
        chosen = [self.local_env_runner] if local_env_runner else []
        places = self.remote if remote_worker_ids is None else remote_worker_ids
        return [ask(runner) for runner in [*chosen, *(self.remote[place] for place in places)]]


def feed_of(*runners: Runner, log: Path) -> RobotFeed:
    for runner in runners:
        runner.log = log
    group: Any = Group(*runners)
    return RobotFeed(group, collector(episode_log=log))


def places(feed: RobotFeed) -> list[tuple[int, int, int]]:
    """Episode, first step and length of each segment that comes."""
    return [(it.episode, it.first_step, len(it)) for it in feed.take()]


def test_what_ends_an_episode_is_finished_once_it_is_logged(tmp_path: Path) -> None:
    runner = Runner(
        [arrival(0, 3), arrival(3, 2, ends="cut"), arrival(0, 1, episode=1)],
        [cut_off(episode=1), arrival(0, 4, episode=2, ends="terminated")],
    )
    feed = feed_of(runner, log=tmp_path)
    assert places(feed) == [(0, 0, 3), (0, 3, 2), (1, 0, 1)]
    assert [it.origin for it in runner.finished] == ["arm/0/0"]
    assert places(feed) == [(2, 0, 4)]
    assert [it.origin for it in runner.finished] == ["arm/0/0", "arm/1/0", "arm/2/0"]
    assert runner.logged == [1, 2, 3], "how many were in the log when each was finished"
    assert places(feed) == [] and len(read_episodes(tmp_path)) == 3


def test_what_was_logged_before_is_finished_and_not_taken_again(tmp_path: Path) -> None:
    before = feed_of(Runner([arrival(0, 3, ends="cut")]), log=tmp_path)
    assert places(before) == [(0, 0, 3)]
    runner = Runner([arrival(0, 3, ends="cut"), arrival(0, 2, episode=1, ends="cut")])
    feed = feed_of(runner, log=tmp_path)
    for episode in read_episodes(tmp_path):
        feed._collector.recover(episode)
    assert places(feed) == [(1, 0, 2)]
    assert [it.origin for it in runner.finished] == ["arm/0/0", "arm/1/0"]


def test_each_remote_runner_finishes_its_own_and_gets_no_steps_back(tmp_path: Path) -> None:
    local = Runner()
    one = Runner([arrival(0, 3, stream="one")], [arrival(3, 1, stream="one", ends="cut")])
    two = Runner([arrival(0, 2, stream="two", ends="cut")])
    feed = feed_of(local, one, two, log=tmp_path)
    assert places(feed) == [(0, 0, 3), (1, 0, 2)]
    assert places(feed) == [(0, 3, 1)]
    for runner, name in ((one, "one"), (two, "two")):
        (end,) = runner.finished
        assert (end.origin, end.stream, end.chunk) == (f"{name}/0/0", name, None)
    assert local.finished == []


def test_all_runners_that_listen_are_told_and_asked(tmp_path: Path) -> None:
    alone = Runner(robots=(Robot("a"),))
    local, one, two = Runner(), Runner(robots=(Robot("b"),)), Runner(robots=(Robot("c"),))
    for feed, expected in (
        (feed_of(alone, log=tmp_path), "a"),
        (feed_of(local, one, two, log=tmp_path), "bc"),
    ):
        feed.tell({"updates": 3})
        feed.publish()
        assert feed.robots == []
        feed.look()
        assert "".join(robot.stream for robot in feed.robots) == expected
    for runner in (alone, one, two):
        assert (runner.told, runner.published) == ([{"updates": 3}], 1)
    assert (local.told, local.published) == ([], 0)


def looked(folder: Path, *robots: Robot) -> RobotFeed:
    feed = feed_of(Runner(robots=robots), log=folder)
    feed.look()
    return feed


ACTS, PAUSED = Robot("acts"), Robot("paused", paused=True)
STOPPED, AWAY = Robot("stopped", stopped=True), Robot("away", connected=False)
SENDS = Robot("sends", paused=True, waiting=1)


@pytest.mark.parametrize(
    ("robots", "paused", "stopped", "drained", "words"),
    [
        ((), False, False, True, "waiting for a robot"),
        ((ACTS,), False, False, False, "1 robot"),
        ((ACTS, ACTS), False, False, False, "2 robots"),
        ((PAUSED,), True, False, True, "1 robot, 1 paused"),
        ((ACTS, PAUSED), False, False, False, "2 robots, 1 paused"),
        ((PAUSED, STOPPED), True, False, True, "2 robots, 1 paused"),
        ((STOPPED,), True, True, True, "1 robot"),
        ((AWAY,), False, False, True, "the robot is away"),
        ((AWAY, PAUSED), True, False, True, "1 robot, 1 paused"),
        ((SENDS,), True, False, False, "1 robot, 1 paused"),
        ((Robot("left", connected=False, stopped=True),), False, True, True, "the robot is away"),
        ((STOPPED, ACTS), False, False, False, "2 robots"),
    ],
)
def test_what_the_robots_do_together(
    tmp_path: Path,
    robots: tuple[Robot, ...],
    paused: bool,
    stopped: bool,
    drained: bool,
    words: str,
) -> None:
    feed = looked(tmp_path, *robots)
    assert (feed.paused, feed.stopped, feed.drained) == (paused, stopped, drained)
    assert feed.in_words() == words
