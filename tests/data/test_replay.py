"""Replay against a plain list of transitions, and the data defects of the peers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from e2hil_rllib.data.replay import DISCOUNT, EPISODE, FLOOR, SOURCE, STEP
from e2hil_rllib.data.transitions import DEMONSTRATION, INTERVENTION
from tests.helpers import make_buffer, make_replay, make_transitions


def drawn(buffer, rows=400):
    batch = buffer.empty_batch(rows)
    buffer.sample_into(batch, slice(0, rows), np.random.default_rng(0))
    return batch


def assert_consistent(batch):
    """Every row of one-step targets is a real step: next state = state + 1, same episode."""
    state, following = batch["obs"]["state"], batch["new_obs"]["state"]
    assert np.array_equal(following[:, 0], state[:, 0] + 1)
    assert np.array_equal(following[:, 1], state[:, 1])
    assert np.allclose(batch["actions"][:, 0], state[:, 0] / 1000)
    assert np.array_equal(batch["rewards"], state[:, 0])
    assert np.array_equal(batch[STEP], state[:, 0])
    assert np.array_equal(batch[EPISODE], state[:, 1])


# Chunks of several interleaved episodes, as several runners deliver them.
chunks = st.lists(st.tuples(st.integers(0, 3), st.integers(1, 9)), min_size=1, max_size=60)


@settings(deadline=None)
@given(chunks, st.integers(1, 40), st.booleans())
def test_it_holds_exactly_the_newest_transitions_and_their_real_next_frames(chunks, cap, images):
    buffer = make_buffer(cap, images=images)
    clock = dict.fromkeys(range(4), 0)
    expected = []
    for episode, length in chunks:
        steps = range(clock[episode], clock[episode] + length)
        clock[episode] = steps.stop
        buffer.add(make_transitions(episode, steps, images=images))
        expected += [(episode, t) for t in steps]
    assert buffer.ids().tolist() == [list(pair) for pair in expected[-cap:]]
    batch = drawn(buffer)
    assert_consistent(batch)
    if images:
        assert np.array_equal(
            batch["new_obs"]["front"][:, 0, 0, 0], batch["new_obs"]["state"][:, 0] % 256
        )


def test_a_chunk_that_goes_on_shares_the_frame_between():
    """One frame per step: 100 chunks of one step store 101 frames, not 200."""
    buffer = make_buffer(1000)
    for t in range(100):
        buffer.add(make_transitions(0, range(t, t + 1)))
    assert buffer._frames.count == 101


@pytest.mark.parametrize("pause", range(58, 76))
def test_an_episode_that_pauses_for_as_long_as_the_ring_keeps_its_frames(pause):
    """Its last frame is kept, or stored anew, but never mistaken for the one in its place."""
    buffer = make_buffer(8)
    buffer.add(make_transitions(0, range(2)))
    for t in range(pause):
        buffer.add(make_transitions(1, range(t, t + 1)))
    buffer.add(make_transitions(0, range(2, 7)))
    assert_consistent(drawn(buffer))


def test_one_more_episode_than_are_remembered_forgets_none_that_goes_on():
    buffer = make_buffer(3000)
    for episode in range(300):
        buffer.add(make_transitions(episode, range(2)))
    frames = buffer._frames.count
    for episode in range(300):
        buffer.add(make_transitions(episode, range(2, 3)))
    assert buffer._frames.count == frames + 300


def test_the_next_state_across_a_gap_is_the_frame_that_followed():
    """Steps t = 10, 11, 12, 50, 51, 52 give 12 -> 13, never 12 -> 50."""
    replay = make_replay()
    human = np.zeros(60, np.uint8)
    human[[10, 11, 12, 50, 51, 52]] = INTERVENTION
    replay.add(make_transitions(0, range(60), source=human))
    held = replay.demonstrations
    assert held.ids()[:, 1].tolist() == [10, 11, 12, 50, 51, 52]
    batch = drawn(held)
    assert_consistent(batch)
    assert set(batch["new_obs"]["state"][batch["obs"]["state"][:, 0] == 12][:, 0]) == {13}


def test_truncation_keeps_its_last_frame_and_does_not_terminate():
    """After a time limit comes that episode's own last frame, and its value counts."""
    buffer = make_buffer(100)
    buffer.add(make_transitions(0, range(5)))
    buffer.add(make_transitions(1, range(5), terminated=True))
    batch = drawn(buffer)
    assert_consistent(batch)
    last = batch["obs"]["state"][:, 0] == 4
    truncated = last & (batch["obs"]["state"][:, 1] == 0)
    assert np.allclose(batch[DISCOUNT][truncated], 0.9)
    assert not batch[DISCOUNT][last & ~truncated].any()
    assert np.allclose(batch[DISCOUNT][~last], 0.9)


@settings(deadline=None)
@given(chunks, st.integers(1, 40), st.integers(1, 4), st.randoms(use_true_random=False))
def test_targets_are_those_of_whole_episodes_however_they_came(chunks, cap, n, random):
    """Chunks of any length, several episodes at once, and a buffer that overwrites its oldest."""
    buffer, clock = make_buffer(cap, n_step=n), dict.fromkeys(range(4), 0)
    sources = {episode: [] for episode in range(4)}
    for episode, length in chunks:
        source = np.array([random.randrange(2) for _ in range(length)])
        steps = range(clock[episode], clock[episode] + length)
        clock[episode] = steps.stop
        sources[episode] += source.tolist()
        buffer.add(make_transitions(episode, steps, source=source))
    batch = drawn(buffer)
    for row in range(len(batch["rewards"])):
        episode, step = int(batch[EPISODE][row]), int(batch[STEP][row])
        end = step + 1
        while (
            end < min(step + n, clock[episode]) and sources[episode][end] == sources[episode][step]
        ):
            end += 1
        # In these segments the reward is the step's number.
        expected = sum(0.9**k * (step + k) for k in range(end - step))
        assert batch["rewards"][row] == pytest.approx(expected, rel=1e-5)
        assert batch[DISCOUNT][row] == pytest.approx(0.9 ** (end - step), rel=1e-5)
        assert batch["new_obs"]["state"][row].tolist() == [end, episode]


def test_a_person_who_goes_on_to_success_makes_the_returns_known():
    """Chunk by chunk, in both buffers; the policy's steps before have no known return."""
    replay = make_replay()
    source = np.array([0, 0, INTERVENTION, INTERVENTION, INTERVENTION])
    for start, stop in ((0, 3), (3, 4), (4, 5)):
        part = make_transitions(
            7, range(start, stop), source=source[start:stop], terminated=stop == 5
        )
        replay.add(part)
    for buffer, first in ((replay.online, 0), (replay.demonstrations, 2)):
        batch = drawn(buffer)
        expected = {0: -np.inf, 1: -np.inf, 2: 2 + 0.9 * (3 + 0.9 * 4), 3: 3 + 0.9 * 4, 4: 4}
        for step in range(first, 5):
            floors = batch[FLOOR][batch[STEP] == step]
            assert len(floors)
            assert np.allclose(floors, expected[step])


def test_human_steps_go_to_both_buffers_and_demonstrations_to_one():
    replay = make_replay()
    replay.add_demonstration(make_transitions(0, range(7)))
    source = np.array([0, 0, 1, 1, 0], np.uint8)
    replay.add(make_transitions(0, range(5), source=source))
    assert len(replay.online) == 5
    assert replay.demonstrations.ids().tolist() == [[-1, t] for t in range(7)] + [[0, 2], [0, 3]]
    sources = drawn(replay.demonstrations)[SOURCE]
    assert set(sources) == {DEMONSTRATION, INTERVENTION}
    assert set(drawn(replay.online)[SOURCE]) == {0, 1}


def test_every_minibatch_is_half_and_half():
    replay = make_replay()
    replay.add(make_transitions(0, range(30)))
    assert replay.demonstration_rows(64) == 0  # D is empty: all of it from R
    assert set(replay.sample(64, 2)[SOURCE]) == {0}
    replay.add_demonstration(make_transitions(0, range(10)))
    sources = replay.sample(64, 3)[SOURCE].reshape(3, 64)
    assert (sources[:, :32] == 0).all()
    assert (sources[:, 32:] == DEMONSTRATION).all()


@pytest.mark.parametrize(("fraction", "rows"), [(0.0, 0), (0.25, 16), (1.0, 64)])
def test_the_fraction_can_be_chosen(fraction, rows):
    replay = make_replay(demonstration_fraction=fraction)
    replay.add(make_transitions(0, range(30)))
    replay.add_demonstration(make_transitions(0, range(10)))
    assert (replay.sample(64, 1)[SOURCE] == DEMONSTRATION).sum() == rows


def test_the_seed_rules_the_draws():
    def draws(seed):
        replay = make_replay(seed=seed)
        replay.add(make_transitions(0, range(30)))
        return replay.sample(64, 1)["rewards"]

    assert np.array_equal(draws(1), draws(1))
    assert not np.array_equal(draws(1), draws(2))


def test_draws_are_uniform():
    buffer = make_buffer(20)
    buffer.add(make_transitions(0, range(30)))
    counts = np.bincount(drawn(buffer, 20_000)["rewards"].astype(int), minlength=30)
    assert not counts[:10].any()
    assert (np.abs(counts[10:] - 1000) < 150).all()


def test_two_cameras_fit_into_the_promised_memory():
    """30 000 steps with two 128x128 cameras: at most 3.2 GB, from the shapes alone."""
    from e2hil_rllib.data.observation_store import FrameStore

    per_frame = 2 * 128 * 128 * 3 + 4 * 21
    small = make_buffer(30_000)._frames.ring_size
    assert small * per_frame < 3.2e9
    store = FrameStore({"state": (1,)}, {"state": np.dtype(np.float32)}, 8)
    assert store.ring_size == 8


def test_save_and_load_keep_everything(tmp_path):
    replay = make_replay(online=2000, demonstrations=50)
    for episode in range(30):
        source = (np.arange(90) % 9 == 0).astype(np.uint8)
        replay.add(make_transitions(episode, range(90), source=source))
    replay.save(tmp_path / "a")
    restored = make_replay(online=2000, demonstrations=50, seed=5)
    restored.load(tmp_path / "a")
    restored.set_random_state(replay.random_state())
    for _ in range(2):
        a, b = replay.sample(64, 2), restored.sample(64, 2)
        assert all(np.array_equal(a["obs"][k], b["obs"][k]) for k in a["obs"])
        assert np.array_equal(a["new_obs"]["state"], b["new_obs"]["state"])
        more = make_transitions(29, range(90, 95))  # the open episode goes on in both
        replay.add(more)
        restored.add(more)
    assert np.array_equal(replay.online.ids(), restored.online.ids())
    assert replay.online._frames.count == restored.online._frames.count
    assert_consistent(drawn(restored.online))


def test_a_later_checkpoint_links_the_frames_it_shares(tmp_path):
    replay = make_replay(online=5000)
    replay.add(make_transitions(0, range(2500)))
    replay.save(tmp_path / "a")
    replay.add(make_transitions(0, range(2500, 3000)))
    replay.save(tmp_path / "b", [tmp_path / "a"])
    first = {f.name: f.stat().st_ino for f in (tmp_path / "a/online/frames").glob("*.npy")}
    second = {f.name: f.stat().st_ino for f in (tmp_path / "b/online/frames").glob("*.npy")}
    shared = first.keys() & second.keys()
    assert len(shared) == 2  # the two full blocks; the third was still growing
    assert all(first[name] == second[name] for name in shared)
    for name, count in (("a", 2500), ("b", 3000)):
        loaded = make_replay(online=5000)
        loaded.load(tmp_path / name)
        assert len(loaded.online) == count
        assert_consistent(drawn(loaded.online))


def test_two_runs_from_one_checkpoint_do_not_mix_their_frames(tmp_path):
    def grow(replay, episode):
        replay.add(make_transitions(episode, range(1500)))

    base = make_replay(online=5000)
    grow(base, 0)
    base.save(tmp_path / "base")
    for episode in (1, 2):
        fork = make_replay(online=5000)
        fork.load(tmp_path / "base")
        grow(fork, episode)
        others = [path for path in tmp_path.iterdir() if path.is_dir()]
        fork.save(tmp_path / f"fork{episode}", others)
    for episode in (1, 2):
        loaded = make_replay(online=5000)
        loaded.load(tmp_path / f"fork{episode}")
        batch = drawn(loaded.online)
        assert_consistent(batch)
        assert set(batch["obs"]["state"][:, 1]) == {0, episode}


def test_what_does_not_fit_is_refused(tmp_path):
    replay = make_replay(online=20)
    replay.add(make_transitions(0, range(30)))
    replay.save(tmp_path / "a")
    with pytest.raises(ValueError, match="another capacity than 10"):
        make_replay(online=10).load(tmp_path / "a")
    with pytest.raises(ValueError, match=r"holds observations \['state'\]"):
        make_buffer(20, images=True).load(tmp_path / "a" / "online")
    with pytest.raises(ValueError, match="empty replay buffer"):
        drawn(make_buffer(5))
    with pytest.raises(ValueError, match="capacity=0"):
        make_buffer(0)
