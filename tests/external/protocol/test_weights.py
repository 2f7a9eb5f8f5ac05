"""A policy arrives bit for bit, and nothing that is none is taken for one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from e2hil_rllib.external.protocol.codec import MessageError, decode, encode
from e2hil_rllib.external.protocol.weights import Weights
from tests.external.decoded import WHATEVER, maps_like

TENSORS = {"actor.weight": np.ones((2, 3), np.float32), "actor.bias": np.zeros(2, np.float32)}
SOUND = Weights(4, 120, 0.5, TENSORS).to_message()


@given(
    st.integers(1, 2**63),
    st.integers(0, 2**63),
    st.floats(0, 1e9),
    st.dictionaries(
        st.text(),
        st.sampled_from([np.float32, np.float64, np.float16]).flatmap(
            lambda dtype: hnp.arrays(
                dtype,
                hnp.array_shapes(min_dims=0, min_side=0, max_dims=3, max_side=4),
                elements={"allow_nan": False, "allow_infinity": False},
            )
        )
        | hnp.arrays(np.int64, (2,)),
        min_size=1,
        max_size=4,
    ),
)
@settings(max_examples=60, deadline=None)
def test_what_is_sent_arrives(
    version: int, updates: int, age: float, tensors: dict[str, np.ndarray]
) -> None:
    message = decode(encode(Weights(version, updates, age, tensors).to_message()))
    assert message["type"] == "WEIGHTS"
    arrived = Weights.from_message(message)
    assert (arrived.version, arrived.updates, arrived.age) == (version, updates, age)
    assert arrived.tensors.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert arrived.tensors[name].dtype == tensor.dtype
        np.testing.assert_array_equal(arrived.tensors[name], tensor, strict=True)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"version": 1.0}, "weights of version 1.0, expected whole numbers"),
        ({"version": True}, "expected whole numbers"),
        ({"version": None}, "weights of version None"),
        ({"updates": "7"}, "expected whole numbers"),
        ({"age": 1}, "weights of age 1, expected seconds"),
        ({"age": -0.1}, "weights of age -0.1"),
        ({"age": float("inf")}, "weights of age inf"),
        ({"age": float("nan")}, "weights of age nan"),
        ({"tensors": {}}, "expected arrays by name"),
        ({"tensors": [1]}, r"weights are \[1\], expected arrays by name"),
        ({"tensors": {"actor.weight": [1.0]}}, "the weight 'actor.weight' is no array"),
        ({"tensors": {b"w": np.ones(1)}}, "the weight b'w' is no array"),
        (
            {"tensors": TENSORS | {"w": np.array([1, np.nan], np.float32)}},
            "the weight 'w' is not finite",
        ),
        ({"tensors": {"w": np.array(-np.inf)}}, "the weight 'w' is not finite"),
    ],
)
def test_what_is_no_policy_is_refused_by_name(change: dict[str, Any], fault: str) -> None:
    with pytest.raises(MessageError, match=fault):
        Weights.from_message(SOUND | change)


@given(
    maps_like(SOUND)
    | st.fixed_dictionaries({"tensors": maps_like(TENSORS) | WHATEVER}).map(lambda it: SOUND | it)
)
@settings(max_examples=300, deadline=None)
def test_whatever_comes_is_a_policy_of_finite_numbers_or_malformed(message: dict[str, Any]) -> None:
    try:
        weights = Weights.from_message(message)
    except MessageError:
        return
    assert type(weights.version) is int and type(weights.updates) is int
    assert 0 <= weights.age < float("inf")
    assert weights.tensors and all(isinstance(name, str) for name in weights.tensors)
    assert all(np.isfinite(tensor).all() for tensor in weights.tensors.values())
