"""From RLlib's chunks to segments, and what a broken environment gets told."""

import gymnasium as gym
import numpy as np
import pytest
from ray.rllib.env.single_agent_episode import SingleAgentEpisode

from e2hil_rllib.episodes import read_episodes
from e2hil_rllib.rollouts import ActionScale, EpisodeCollector
from e2hil_rllib.segments import INTERVENTION, POLICY

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


def test_scale_is_its_own_inverse():
    scale = ActionScale(SPACE)
    assert scale.to_unit(np.array([-2, 10], np.float32)).tolist() == [-1, 1]
    action = np.array([0.3, 7.0], np.float32)
    assert np.allclose(scale.to_environment(scale.to_unit(action)), action, atol=1e-6)


def test_the_executed_action_is_stored_in_the_critics_units():
    """Peers' defect 8: the human's action, scaled from the environment's box."""
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
    segment = c.segment_of(episode)
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
    assert not c.segment_of(episode).terminated.any()


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
