"""The ring of frames."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from e2hil_rllib.data.observation_store import FrameStore

additions = st.lists(st.tuples(st.integers(1, 12), st.integers(0, 40)), min_size=1, max_size=30)


def held(store: FrameStore) -> np.ndarray:
    """Numbers of the frames that the store says it holds, after a look at each of them."""
    numbers = np.array([i for i in range(store.count + 1) if store.holds(i)], np.int64)
    out = store.empty(len(numbers))
    store.gather(numbers, out)
    assert np.array_equal(out["x"][:, 0], numbers)
    return numbers


@given(additions)
def test_what_is_needed_survives_and_what_is_held_is_true(additions):
    store = FrameStore({"x": (1,)}, {"x": np.dtype(np.float32)}, 10)
    for number, wanted in additions:
        here = held(store)[-wanted:] if wanted else ()
        oldest = here[0] if len(here) else store.count
        ids = store.add({"x": np.arange(store.count, store.count + number)[:, None]}, oldest)
        assert ids.tolist() == list(range(store.count - number, store.count))
        assert set(range(oldest, store.count)) <= set(held(store))


@given(additions)
def test_what_is_held_after_loading_is_true(tmp_path_factory, additions):
    store = FrameStore({"x": (1,)}, {"x": np.dtype(np.float32)}, 10)
    oldest = 0
    for number, wanted in additions:
        scaled = 150 * number  # several blocks of a checkpoint
        oldest = max(oldest, store.count - 150 * wanted)
        store.add({"x": np.arange(store.count, store.count + scaled)[:, None]}, oldest)
    folder = tmp_path_factory.mktemp("frames") / "saved"
    store.save(folder, oldest)
    loaded = FrameStore({"x": (1,)}, {"x": np.dtype(np.float32)}, 10)
    loaded.load(folder)
    assert set(range(oldest, store.count)) <= set(held(loaded))
