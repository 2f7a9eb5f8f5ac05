"""From RLlib's chunks to segments, and what a broken environment gets told."""

import gymnasium as gym
import numpy as np
import pytest
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from e2hil_rllib.data.collector import EpisodeCollector
from e2hil_rllib.data.episodes import read_episodes
from e2hil_rllib.data.transitions import INTERVENTION, POLICY, EpisodeSteps

SPACE = gym.spaces.Box(np.array([-2, 0], np.float32), np.array([2, 10], np.float32))


def info(human=False, teleop=(0.0, 0.0), succeed=False):
    return {
        "is_intervention": human, "teleop_action": np.array(teleop, np.float32), "succeed": succeed,
    }  # fmt: skip


def chunks(infos, *, cut_at=None, truncated=False, terminated=False):
    """Chunks of one episode whose observation counts the steps; infos are those of the steps."""
    episode = SingleAgentEpisode()
    episode.add_env_reset({"state": np.zeros(2)}, infos=info())
    for t, step_info in enumerate(infos):
        last = t == len(infos) - 1
        episode.add_env_step(
            {"state": np.full(2, t + 1.0)}, np.full(2, 0.5), float(t), step_info,
            terminated=last and terminated, truncated=last and truncated,
        )  # fmt: skip
        if t + 1 == cut_at:
            following = episode.cut(len_lookback_buffer=1)
            yield episode.to_numpy()
            episode = following
    yield episode.to_numpy()


def collector(**kwargs):
    return EpisodeCollector(SPACE, **({"interventions": True} | kwargs))


def test_the_executed_action_is_stored_in_the_critics_units():
    """The human's action is stored, scaled from the environment's box."""
    (chunk,) = chunks([info(), info(True, (1.0, 2.5)), info()], truncated=True)
    segment = collector().collect(chunk)
    assert segment.source.tolist() == [POLICY, INTERVENTION, POLICY]
    assert segment.actions.tolist() == [[0.5, 0.5], [0.5, -0.5], [0.5, 0.5]]
    assert segment.observations["state"][:, 0].tolist() == [0, 1, 2, 3]
    assert not segment.terminated.any()


def test_a_chunk_knows_its_place_and_ignores_the_info_of_the_step_before():
    """In a later chunk ``infos[0]`` belongs to the chunk before."""
    infos = [info(), info(), info(True, (0.0, 5.0)), info(), info()]
    first, second = chunks(infos, cut_at=3, terminated=True)
    c = collector()
    a, b = c.collect(first), c.collect(second)
    assert (a.episode, a.first_step, len(a)) == (0, 0, 3)
    assert (b.episode, b.first_step, len(b)) == (0, 3, 2)
    assert a.source.tolist() == [0, 0, INTERVENTION]
    assert b.source.tolist() == [0, 0]
    assert b.terminated.tolist() == [False, True]
    assert c.collect(next(chunks([info()], truncated=True))).episode == 1


def test_a_takeover_that_spans_two_chunks_counts_once():
    led = info(True, (0.0, 5.0))
    infos = [led, info(), led, led, led, info(), led]
    for cut in range(1, len(infos)):
        c = collector()
        parts = [c.collect(chunk) for chunk in chunks(infos, cut_at=cut, truncated=True)]
        assert [segment.after_human for segment in parts] == [False, infos[cut - 1] is led]
        assert sum(segment.takeovers for segment in parts) == 3
        # The next episode begins with a step of nobody's before.
        assert c.collect(next(chunks([led], truncated=True))).takeovers == 1


def test_a_finished_episode_is_logged_whole(tmp_path):
    infos = [info(), info(True, (1.0, 2.5)), info(), info(succeed=True)]
    c = collector(episode_log=tmp_path, task="reach", fps=10.0)
    for chunk in chunks(infos, cut_at=2, terminated=True):
        assert not list(tmp_path.glob("*.parquet"))
        c.collect(chunk)
    (episode,) = read_episodes(tmp_path)
    assert (episode.num_steps, episode.succeed, episode.terminated) == (4, True, True)
    assert episode.is_intervention.tolist() == [False, True, False, False]
    assert np.allclose(episode.actions[:2], [[1.0, 7.5], [1.0, 2.5]])
    assert episode.observations["state"][:, 0].tolist() == [0, 1, 2, 3, 4]
    segment = c.transitions_of(episode)
    assert np.allclose(segment.actions[1], [0.5, -0.5])
    assert segment.terminated.tolist() == [False, False, False, True]


def test_a_collector_set_back_in_its_own_process_forgets_what_came_after():
    c = collector()
    c.collect(next(chunks([info()], truncated=True)))
    state = c.state()
    c.collect(next(chunks([info()] * 2, truncated=True)))
    c.collect(next(chunks([info()] * 3, cut_at=2)))
    assert list(c.resume(state)) == []
    assert c.state() == state


def test_a_recovered_episode_counts_as_it_did_before_the_kill(tmp_path):
    c = collector(episode_log=tmp_path)
    infos = [info(), info(True, (1.0, 2.5)), info(succeed=True)]
    c.collect(next(chunks(infos, terminated=True)))
    (episode,) = read_episodes(tmp_path)
    again = collector()
    again.recover(episode)
    assert again.state() == c.state()


def test_a_recorded_time_limit_does_not_terminate(tmp_path):
    c = collector(episode_log=tmp_path)
    c.collect(next(chunks([info()] * 3, truncated=True)))
    (episode,) = read_episodes(tmp_path)
    assert not c.transitions_of(episode).terminated.any()


def test_resume_finds_the_episodes_logged_since(tmp_path):
    c = collector(episode_log=tmp_path, fps=10.0)
    first, second = chunks([info()] * 4, cut_at=2, truncated=True)
    c.collect(first)
    state = c.state()  # a checkpoint in the middle of episode 0
    c.collect(second)
    c.collect(next(chunks([info()], truncated=True)))
    again = collector(episode_log=tmp_path)
    assert list(again.resume(state)) == [0, 1]
    assert state["open_steps"] == {0: 2}
    assert list(again.resume(c.state())) == []


@pytest.mark.parametrize(
    ("step_info", "message"),
    [
        ({}, "episode 0, step 1: info has no 'is_intervention'"),
        (info(True, (0.0, 0.0, 0.0)), r"shape \(3,\).*expected numbers of the action's shape"),
        (info(True, (np.nan, 0.0)), "teleop_action'] is not finite"),
        (info(True, (3.0, 0.0)), "outside the action space"),
        ({"is_intervention": True}, "teleop_action"),
    ],
)
def test_a_broken_contract_is_named(step_info, message):
    (chunk,) = chunks([info(), step_info], truncated=True)
    with pytest.raises(ValueError, match=message):
        collector().collect(chunk)


def test_a_human_where_none_was_announced_is_an_error():
    (chunk,) = chunks([info(True)], truncated=True)
    with pytest.raises(ValueError, match=r"interventions=False\) is set"):
        collector(interventions=False).collect(chunk)


def test_an_environment_without_humans_needs_no_info():
    (chunk,) = chunks([{}, {}], truncated=True)
    assert collector(interventions=False).collect(chunk).source.tolist() == [POLICY, POLICY]


def test_a_logged_episode_is_never_overwritten(tmp_path):
    for error in (None, FileExistsError):
        c = collector(episode_log=tmp_path)
        (chunk,) = chunks([info()], truncated=True)
        if error is None:
            c.collect(chunk)
        else:
            with pytest.raises(error, match=r"episode_000000.parquet holds an episode of another"):
                c.collect(chunk)


def arrival(first_step, steps, *, episode=0, stream="arm", ends=None, human=(), **changes):
    """Steps of a robot whose observation counts them, as they arrive; `ends` is terminated or cut.

    The action of step t is (t / 10, t), in the environment's units.
    """
    times = np.arange(first_step, first_step + steps + 1)
    values = {
        "observations": {"state": np.stack([times, times], 1).astype(np.float32)},
        "actions": np.stack([times[:-1] / 10, times[:-1]], 1).astype(np.float32),
        "rewards": times[:-1].astype(np.float32),
        "is_intervention": np.isin(times[:-1], human),
        "terminated": ends == "terminated",
        "truncated": ends == "cut",
        "succeed": False,
        "fps": 25.0,
        "task": "reach",
    } | changes
    sent = EpisodeSteps(episode=episode, first_step=first_step, **values)
    return f"{stream}/{episode}/0", sent


def cut_off(episode=0, stream="arm"):
    return f"{stream}/{episode}/0", None


def test_a_robots_steps_come_in_the_critics_units_with_who_acted_and_how_it_ended():
    frames = np.zeros((3, 4, 4, 3), np.uint8)
    observations = {"state": np.zeros((3, 2)), "front": frames}
    c = collector()
    segment = c.receive(
        *arrival(
            0, 2, ends="terminated", human=[1], observations=observations,
            actions=np.array([[1.0, 2.5], [2.00005, -0.00005]], np.float32),
        )
    )  # fmt: skip
    assert (segment.episode, segment.first_step) == (0, 0)
    assert segment.actions.tolist() == [[0.5, -0.5], [1, -1]] and segment.actions.dtype == "f4"
    assert segment.source.tolist() == [POLICY, INTERVENTION]
    assert segment.terminated.tolist() == [False, True]
    assert segment.observations["state"].dtype == np.float32
    assert segment.observations["front"].dtype == np.uint8


def test_chunks_of_several_robots_make_an_episode_each(tmp_path):
    c = collector(episode_log=tmp_path)
    places = [
        (segment.episode, segment.first_step, len(segment))
        for segment in (
            c.receive(*arrival(0, 3)),
            c.receive(*arrival(0, 2, stream="other")),
            c.receive(*arrival(3, 2, ends="cut")),
            c.receive(*arrival(2, 4, stream="other", ends="terminated", succeed=True)),
            c.receive(*arrival(0, 1, episode=7)),
        )
    ]
    assert places == [(0, 0, 3), (1, 0, 2), (0, 3, 2), (1, 2, 4), (2, 0, 1)]
    first, second = read_episodes(tmp_path)
    assert (first.num_steps, first.terminated, first.truncated) == (5, False, True)
    assert (second.num_steps, second.terminated, second.succeed) == (6, True, True)
    assert (first.origin, second.origin) == ("arm/0/0", "other/0/0")
    assert (first.fps, first.task) == (25.0, "reach")
    assert first.observations["state"][:, 0].tolist() == [0, 1, 2, 3, 4, 5]
    assert np.allclose(first.actions, [[t / 10, t] for t in range(5)], atol=1e-5)
    assert [outcome.num_steps for outcome in c.outcomes] == [5, 6]


def test_an_episode_that_goes_no_further_is_truncated_after_the_last_step_that_came(tmp_path):
    c = collector(episode_log=tmp_path)
    c.receive(*arrival(0, 3))
    assert c.receive(*cut_off()) is None
    (episode,) = read_episodes(tmp_path)
    assert (episode.num_steps, episode.terminated, episode.truncated) == (3, False, True)
    assert c.receive(*arrival(0, 1, episode=1)).episode == 1


def test_a_robots_human_where_none_was_announced_is_an_error():
    c = collector(interventions=False)
    c.receive(*arrival(0, 2))
    with pytest.raises(ValueError, match=r"episode 0 of the robot arm: a human acted, but"):
        c.receive(*arrival(2, 2, human=[3]))


def test_a_robots_episode_is_never_written_over_another_runs(tmp_path):
    collector(episode_log=tmp_path).receive(*arrival(0, 1, ends="cut"))
    with pytest.raises(
        FileExistsError, match=r"episode_000000.parquet holds an episode of another"
    ):
        collector(episode_log=tmp_path).receive(*arrival(0, 1, stream="other", ends="cut"))


def test_an_open_episode_of_a_robot_goes_on_with_its_number_and_its_new_steps_alone(tmp_path):
    c = collector(episode_log=tmp_path)
    c.receive(*arrival(0, 1, stream="other", ends="cut"))
    for first_step in (0, 4):
        c.receive(*arrival(first_step, 4))
    state = c.state()
    assert state["open_steps"] == {1: 8} and state["open_origins"] == {"arm/0/0": 1}
    c.receive(*arrival(8, 4))  # after the checkpoint, and before the kill
    again = collector(episode_log=tmp_path)
    assert list(again.resume(state)) == []
    assert again.state() == state
    # A robot's chunks need not be those that they were, after a gap for example.
    assert again.receive(*arrival(0, 6)) is None
    assert again.state() == state
    fresh = again.receive(*arrival(6, 4))
    assert (fresh.episode, fresh.first_step, len(fresh)) == (1, 8, 2)
    assert fresh.observations["state"][:, 0].tolist() == [8, 9, 10]
    assert fresh.rewards.tolist() == [8, 9]
    last = again.receive(*arrival(10, 2, ends="terminated"))
    assert (last.first_step, last.terminated.tolist()) == (10, [False, True])
    _, episode = read_episodes(tmp_path)
    assert episode.observations["state"][:, 0].tolist() == list(range(13)), "it is logged whole"
    assert again.receive(*arrival(0, 1, episode=1)).episode == 2


def test_takeovers_of_a_robot_count_once_also_after_a_restart():
    led = {"human": [2, 3, 4, 5, 8]}
    c = collector()
    assert [c.receive(*arrival(t, 4, **led)).takeovers for t in (0, 4)] == [1, 0]
    again = collector()
    assert list(again.resume(c.state())) == []
    # Sent again from the first step on, in other chunks; replay has the first eight.
    assert again.receive(*arrival(0, 3, **led)) is None
    assert again.receive(*arrival(3, 8, **led)).takeovers == 1
    c = collector()
    c.receive(*arrival(0, 4, **led))  # the checkpoint comes while a human leads
    again = collector()
    assert list(again.resume(c.state())) == []
    assert again.receive(*arrival(0, 6, **led)).takeovers == 0


def test_a_robots_episode_that_was_logged_after_the_checkpoint_is_taken_once(tmp_path):
    c = collector(episode_log=tmp_path)
    c.receive(*arrival(0, 4))
    state = c.state()
    c.receive(*arrival(4, 4, ends="cut"))
    c.receive(*arrival(0, 3, episode=1, ends="terminated"))
    again = collector(episode_log=tmp_path)
    assert list(again.resume(state)) == [0, 1]
    for episode in read_episodes(tmp_path):
        again.recover(episode)
    # The process ended before they were deleted from the inbox, and so they come again.
    for it in (arrival(0, 4), arrival(4, 4, ends="cut"), cut_off(), arrival(0, 3, episode=1)):
        assert again.receive(*it) is None
    assert again.state() | {"outcomes": 0} == c.state() | {"outcomes": 0}
    assert [outcome.num_steps for outcome in again.outcomes] == [8, 3]
    assert again.receive(*arrival(0, 2, episode=2)).episode == 2
    assert len(read_episodes(tmp_path)) == 2


def test_an_environments_open_episode_is_not_waited_for_after_a_resume():
    c = collector()
    c.collect(next(chunks([info()] * 4, cut_at=2)))
    c.receive(*arrival(0, 3))
    again = collector()
    assert list(again.resume(c.state())) == []
    assert again.state()["open_steps"] == {1: 3}
