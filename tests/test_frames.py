"""The ring of frames."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from e2hil_rllib.frames import FrameStore


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 40)), min_size=1, max_size=30))
def test_needed_frames_survive_whatever_comes(additions):
    store = FrameStore({"x": (1,)}, {"x": np.dtype(np.float32)}, 10)
    for number, needed in additions:
        oldest = max(0, store.count - needed)
        oldest = max(oldest, store.count - store.ring_size)
        ids = store.add({"x": np.arange(store.count, store.count + number)[:, None]}, oldest)
        alive = np.arange(oldest, store.count)
        out = store.empty(len(alive))
        store.gather(alive, out)
        assert np.array_equal(out["x"][:, 0], alive)
        assert ids[-1] == store.count - 1
        assert store.holds(oldest)
        assert not store.holds(store.count)
