"""The algorithm's side of its robots: takes in what they send, and tells them how it goes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from e2hil_rllib.data.collector import EpisodeCollector
from e2hil_rllib.data.transitions import Transitions
from e2hil_rllib.external.learner.arrivals import Arrival
from e2hil_rllib.external.learner.roster import Robot

if TYPE_CHECKING:
    from ray.rllib.env.env_runner_group import EnvRunnerGroup


class RobotFeed:
    """Takes steps from the runners that robots are connected to.

    What ends an episode is deleted from a runner's inbox once the collector has logged it.

    Args:
        group: Of `RobotEnvRunner`.
        collector: Numbers and logs episodes.
    """

    def __init__(self, group: EnvRunnerGroup, collector: EpisodeCollector) -> None:
        self._group, self._collector = group, collector
        self._remote = group.num_remote_env_runners() > 0
        #: The robots, as of the last `look`.
        self.robots: list[Robot] = []

    def take(self) -> Iterator[Transitions]:
        """Takes what has come, at once; remote runners are asked for more before returning."""
        for runner, arrivals in self._arrivals():
            for arrival in arrivals:
                transitions = self._collector.receive(arrival.origin, arrival.chunk)
                if transitions is not None:
                    yield transitions
                if arrival.ends_episode:
                    self._finish(runner, arrival)

    def look(self) -> None:
        """Asks how the robots are doing."""
        found = self._each(lambda runner: runner.robots())
        self.robots = [robot for robots in found for robot in robots]

    def tell(self, status: dict[str, Any]) -> None:
        """Lets the robots know how training goes: plain values by name."""
        self._each(lambda runner: runner.tell(status))

    def publish(self) -> None:
        """Gives robots the policy that the runners were sent last."""
        self._each(lambda runner: runner.publish())

    @property
    def paused(self) -> bool:
        """Whether every robot that is connected is paused, and there is one."""
        connected = [robot for robot in self.robots if robot.connected]
        return bool(connected) and all(robot.paused or robot.stopped for robot in connected)

    @property
    def stopped(self) -> bool:
        """Whether every robot's session was ended by the person there, and there was one."""
        return bool(self.robots) and all(robot.stopped for robot in self.robots)

    def in_words(self) -> str:
        """How the robots are doing, e.g. "2 robots, 1 paused"."""
        connected = [robot for robot in self.robots if robot.connected]
        if not connected:
            return "waiting for a robot" if not self.robots else "the robot is away"
        paused = sum(robot.paused for robot in connected)
        text = f"{len(connected)} robot" + ("s" if len(connected) > 1 else "")
        return f"{text}, {paused} paused" if paused else text

    @property
    def drained(self) -> bool:
        """Whether every robot stands still and has nothing left to send."""
        there = (robot for robot in self.robots if robot.connected)
        return all((robot.paused or robot.stopped) and not robot.waiting for robot in there)

    def _arrivals(self) -> Iterator[tuple[int, list[Arrival]]]:
        if not self._remote:
            yield 0, self._group.local_env_runner.sample()
            return
        self._group.foreach_env_runner_async("sample", tag="robots")
        yield from self._group.fetch_ready_async_reqs(tags="robots", timeout_seconds=0.02)

    def _finish(self, runner: int, arrival: Arrival) -> None:
        if not self._remote:
            self._group.local_env_runner.finish(arrival)
            return
        # Without the steps, which the runner has itself.
        end = Arrival(arrival.origin, arrival.stream, arrival.sequence, None)
        self._group.foreach_env_runner(
            lambda r: r.finish(end), remote_worker_ids=[runner], local_env_runner=False
        )

    def _each(self, ask: Any) -> list[Any]:
        answers: list[Any] = self._group.foreach_env_runner(ask, local_env_runner=not self._remote)
        return answers
