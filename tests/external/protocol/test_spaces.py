"""A robot finds every difference between its spaces and those that a learner describes."""

from __future__ import annotations

import itertools
from typing import Any

import gymnasium as gym
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from e2hil_rllib.external.protocol.codec import MessageError, decode, encode
from e2hil_rllib.external.protocol.spaces import describe, differences
from tests.external.decoded import WHATEVER, maps_like

Box, Dict = gym.spaces.Box, gym.spaces.Dict
STATE = Box(-2, 2, (3,), np.float32)
FRONT = Box(0, 255, (4, 4, 3), np.uint8)
SEEING = Dict(state=STATE, front=FRONT)


@st.composite
def boxes(draw: st.DrawFn) -> Box:
    """Boxes of any shape, whose bounds are the same everywhere or not, finite or not."""
    shape = draw(hnp.array_shapes(min_dims=0, max_dims=3, max_side=3))
    dtype = draw(st.sampled_from([np.float32, np.float64, np.uint8, np.int64]))
    finite = st.integers(0, 100) if dtype is np.uint8 else st.integers(-100, 100)
    low = draw(hnp.arrays(dtype, shape, elements=finite) | finite.map(lambda x: np.full(shape, x)))
    high = low.astype(dtype) + np.asarray(draw(st.integers(0, 100)), dtype)
    if dtype in (np.float32, np.float64) and draw(st.booleans()):
        high = np.full(shape, np.inf)
    return Box(low.astype(dtype), high.astype(dtype), shape, dtype)


SPACES = boxes() | st.dictionaries(st.text(max_size=5), boxes(), max_size=3).map(Dict)


def sent(space: gym.Space[Any]) -> Any:
    """A space as the robot gets it."""
    return decode(encode(describe(space)))


@given(SPACES)
@settings(max_examples=60, deadline=None)
def test_a_space_differs_in_nothing_from_itself_over_the_wire(space: gym.Space[Any]) -> None:
    assert differences(space, sent(space), "observations") == []


def test_two_spaces_differ_in_nothing_only_if_they_are_the_same() -> None:
    spaces = [
        *(STATE, FRONT, SEEING, Dict(state=STATE), Dict(front=FRONT), Dict()),
        *(Box(-2, 3, (3,), np.float32), Box(-2, 2, (3, 1), np.float32), Box(-2, 2, (), np.float32)),
        *(Box(-2, 2, (3,), np.float64), Box(-2, np.inf, (3,), np.float32), Dict(state=FRONT)),
    ]
    for own, told in itertools.product(spaces, spaces):
        assert (differences(own, sent(told), "actions") == []) is (own == told)


def test_the_same_bound_everywhere_is_sent_once() -> None:
    low = np.array([-1, 2, 3], np.float32)
    described = describe(Box(low, np.full(3, 9, np.float32)))
    assert (described["shape"], described["dtype"]) == ([3], "float32")
    assert described["low"].tolist() == [-1, 2, 3] and described["high"].tolist() == [9]
    assert len(encode(describe(Box(0, 255, (128, 128, 3), np.uint8)))) < 200


@pytest.mark.parametrize(
    ("own", "told", "expected"),
    [
        (STATE, Box(-2, 2, (4,), np.float32), ["x: shape [3] here, [4] at the learner"]),
        (
            STATE,
            Box(-2, 2, (1,), np.float64),
            [
                "x: shape [3] here, [1] at the learner",
                "x: dtype 'float32' here, 'float64' at the learner",
            ],
        ),
        (STATE, Box(-2, 3, (3,), np.float32), ["x: high [2.] here, [3.] at the learner"]),
        (
            Box(np.array([-1, 0], np.float32), np.ones(2, np.float32)),
            Box(-1, 2, (2,), np.float32),
            [
                "x: low [-1.,  0.] here, [-1.] at the learner",
                "x: high [1.] here, [2.] at the learner",
            ],
        ),
        (SEEING, STATE, ["x: a dict here, a box at the learner"]),
        (STATE, SEEING, ["x: a box here, a dict at the learner"]),
        (
            SEEING,
            Dict(state=STATE, wrist=FRONT),
            ["x: 'front' is here only", "x: 'wrist' is at the learner only"],
        ),
        (
            SEEING,
            Dict(state=STATE, front=Box(0, 255, (8, 4, 3), np.uint8)),
            ["x['front']: shape [4, 4, 3] here, [8, 4, 3] at the learner"],
        ),
    ],
)
def test_every_difference_is_named(
    own: gym.Space[Any], told: gym.Space[Any], expected: list[str]
) -> None:
    assert differences(own, sent(told), "x") == expected


def test_the_last_digit_of_a_bound_may_differ() -> None:
    low = np.array([-1.6580628, 0.3], np.float32)
    near = Box(np.nextafter(low, np.float32(-9)), np.full(2, np.inf, np.float32))
    far = Box(low - np.float32(1e-3), near.high)
    own = Box(low, near.high)
    assert differences(own, sent(near), "x") == []
    assert len(differences(own, sent(far), "x")) == 1


@pytest.mark.parametrize("space", [gym.spaces.Discrete(3), Dict(a=gym.spaces.Discrete(3))])
def test_other_spaces_cannot_be_described(space: gym.Space[Any]) -> None:
    with pytest.raises(TypeError, match=r"Discrete\(3\) is neither a Box nor a Dict of them"):
        describe(space)


@pytest.mark.parametrize(
    ("told", "message"),
    [
        (None, "x are described by None, expected a map"),
        ([1], r"x are described by \[1\], expected a map"),
        ({}, "x have the shape None, expected whole numbers"),
        ({"shape": np.zeros(2)}, r"x have the shape array\(\[0., 0.\]\), expected whole numbers"),
        ({"shape": [np.zeros(2)]}, r"x have the shape \[array.*, expected whole numbers"),
        ({"shape": [3], "dtype": 4}, "x have the dtype 4, expected a name"),
        ({"shape": [3], "dtype": "float32"}, "x have no bound 'low' of numbers"),
        (describe(STATE) | {"high": [2.0]}, "x have no bound 'high' of numbers"),
    ],
)
def test_what_describes_no_space_is_refused(told: Any, message: str) -> None:
    with pytest.raises(MessageError, match=message):
        differences(STATE, told, "x")


@given(
    st.sampled_from([STATE, SEEING]),
    WHATEVER
    | maps_like(describe(STATE))
    | st.fixed_dictionaries({"entries": maps_like(describe(SEEING)["entries"])})
    | st.fixed_dictionaries({"entries": st.just({"state": 1}) | WHATEVER}),
)
@settings(max_examples=300, deadline=None)
def test_whatever_comes_is_the_same_different_or_malformed(own: gym.Space[Any], told: Any) -> None:
    try:
        found = differences(own, told, "observations")
    except MessageError:
        return
    assert all(isinstance(text, str) and len(text) < 1000 for text in found)
