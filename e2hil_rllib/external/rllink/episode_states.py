"""Episodes from what `SingleAgentEpisode.get_state()` looks like after its way over the wire.

RLlib's own `from_state` unpickles what stands in place of the spaces. Here the episode is built by
the constructor from checked numbers. The spaces that were sent are ignored: the receiver has its
own, and holds the episode to them.
"""

from __future__ import annotations

import math
from reprlib import repr as short
from typing import Any

import gymnasium as gym
import numpy as np
from ray.rllib.env.single_agent_episode import SingleAgentEpisode
from ray.rllib.env.utils.infinite_lookback_buffer import InfiniteLookbackBuffer

from e2hil_rllib.external.protocol.codec import MessageError

_REWARD_SPACE = gym.spaces.Box(-math.inf, math.inf, (), np.float32)  # as the constructor sets it
_LARGEST = np.finfo(np.float32).max  # learners compute in float32
_MAX_ID = 200  # [characters]; RLlib's ids have 32
_MAX_COUNT = 1 << 53


def episode_from_state(
    state: Any,
    *,
    observation_space: gym.Space | None = None,
    action_space: gym.Space | None = None,
) -> SingleAgentEpisode:
    """Builds an episode, or a chunk of one, equal to the one whose state was sent.

    T steps have T + 1 observations and infos, and T actions, rewards and values of each extra model
    output. In front of these, each may have a lookback of its own.

    Args:
        state: `SingleAgentEpisode.get_state()`, encoded and decoded; see `codec`.
        observation_space: The space that every observation must fit in structure, shape and kind of
            number; discrete values also in their range, but not the bounds of a Box, which
            environments overstep in practice. The episode gets it. None: not checked.
        action_space: The same for the actions.

    Returns:
        The episode. Infos and custom data hold lists where the sender had tuples.

    Raises:
        MessageError: Something is missing, or of another type, or of another length than the
            number of steps, or does not fit its space or the items beside it; or an observation, an
            action or a reward is not finite in float32. The text names it.
    """
    t_started, t = (_count(_field(state, key, "the episode"), key) for key in ("t_started", "t"))
    steps = t - t_started
    extras = _field(state, "extra_model_outputs", "the episode")
    episode = SingleAgentEpisode(
        id_=_episode_id(_field(state, "id_", "the episode")),
        observations=_buffer(state, "observations", steps + 1, observation_space),
        observation_space=observation_space,
        infos=_infos(state, steps + 1),
        actions=_buffer(state, "actions", steps, action_space),
        action_space=action_space,
        rewards=_buffer(state, "rewards", steps, _REWARD_SPACE),
        terminated=_flag(_field(state, "is_terminated", "the episode"), "is_terminated"),
        truncated=_flag(_field(state, "is_truncated", "the episode"), "is_truncated"),
        extra_model_outputs=_extra_buffers({} if extras is None else extras, steps),
        t_started=t_started,
        **{
            key: _label(_field(state, key, "the episode"), key)
            for key in ("agent_id", "module_id", "multi_agent_episode_id")
        },
    )
    episode.custom_data.update(_mapping(state.get("custom_data", {}), "custom_data"))
    # Nothing public sets the two times from which the public `get_duration_s` is computed.
    episode._start_time, episode._last_step_time = _times(state)
    return episode


def _mapping(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
        raise MessageError(f"{where} is {short(value)}, expected a map with text as keys")
    return value


def _field(value: Any, key: str, where: str) -> Any:
    fields = _mapping(value, where)
    if key not in fields:
        raise MessageError(f"{where} has no {key!r}")
    return fields[key]


def _count(value: Any, where: str) -> int:
    is_integer = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not is_integer or not 0 <= value <= _MAX_COUNT:
        raise MessageError(f"{where} is {short(value)}, expected a count from 0")
    return int(value)


def _flag(value: Any, where: str) -> bool:
    if not isinstance(value, (bool, np.bool_)):
        raise MessageError(f"{where} is {short(value)}, expected a bool")
    return bool(value)


def _label(value: Any, where: str) -> str | int | None:
    if value is not None and type(value) not in (str, int):
        raise MessageError(f"{where} is {short(value)}, expected text, a number or none")
    return value


def _episode_id(value: Any) -> str:
    # It goes into logs and reports, so no line breaks and no control codes of terminals.
    if not isinstance(value, str) or not 0 < len(value) <= _MAX_ID or not value.isprintable():
        raise MessageError(f"id_ is {short(value)}, expected 1 to {_MAX_ID} printable signs")
    return value


def _times(state: dict[str, Any]) -> tuple[float | None, float | None]:
    """When the episode started and last stepped, [s] of the sender's clock."""
    start, last = (_field(state, key, "the episode") for key in ("_start_time", "_last_step_time"))
    for time in (start, last):
        if time is not None and not (isinstance(time, float) and math.isfinite(time)):
            raise MessageError(f"a time of {short(time)}, expected finite seconds or none")
    if last is not None and (start is None or last < start):
        raise MessageError(f"the last step was at {last} s, but the start at {start} s")
    return start, last


def _extra_buffers(states: Any, steps: int) -> dict[str, InfiniteLookbackBuffer]:
    return {
        key: _buffer(states, key, steps, None, finite=False)  # the log of a probability may be -inf
        for key in _mapping(states, "extra_model_outputs")
    }


def _infos(state: dict[str, Any], length: int) -> InfiniteLookbackBuffer:
    fields = _field(state, "infos", "the episode")
    infos = _field(fields, "data", "infos")
    if not isinstance(infos, list):
        raise MessageError(f"infos are {short(infos)}, expected a list")
    lookback = _lookback(fields, "infos", len(infos), length)
    return InfiniteLookbackBuffer([_mapping(info, "an info") for info in infos], lookback)


def _buffer(
    states: Any, name: str, length: int, space: gym.Space | None, *, finite: bool = True
) -> InfiniteLookbackBuffer:
    """The buffer of one kind of data, from the map that its own `get_state()` gives.

    Its data are a list of items, or, where the episode was converted to numpy, one item whose
    arrays have an additional first axis of time.
    """
    fields = _field(states, name, "the episode")
    data = _field(fields, "data", name)
    if finalized := _flag(_field(fields, "finalized", name), f"{name}.finalized"):
        data = _numbers(data, name, finite)
        count, items = _common_length(data, name), [data]
    elif isinstance(data, list):
        items = data = [_numbers(item, name, finite) for item in data]
        count = len(data)
    else:
        raise MessageError(f"{name} are {short(data)}, expected a list")
    lookback = _lookback(fields, name, count, length)
    layouts = [_layout(item) for item in items]
    for index, layout in enumerate(layouts):
        if layout != layouts[0]:
            raise MessageError(
                f"{name} {index} has the layout {short(layout)}, the first {short(layouts[0])}"
            )
        if space is not None:
            _check_fit(items[index], space, f"{name} {index}", time_axes=int(finalized))
    buffer = InfiniteLookbackBuffer(data, space=space)
    # The constructor limits it by `len(data)`, which for a dict is the number of its keys.
    buffer.lookback = lookback
    return buffer


def _lookback(fields: dict[str, Any], name: str, there: int, length: int) -> int:
    lookback = _count(_field(fields, "lookback", name), f"{name}.lookback")
    if there != lookback + length or length < 0:
        raise MessageError(
            f"{there} {name}, expected {length} (as 't' says) behind a lookback of {lookback}"
        )
    return lookback


def _numbers(value: Any, where: str, finite: bool) -> Any:
    """Nested dicts and tuples of numbers; msgpack made lists of the tuples."""
    if isinstance(value, dict) and value:
        entries = _mapping(value, where).items()
        return {key: _numbers(entry, where, finite) for key, entry in entries}
    if isinstance(value, list) and value:
        return tuple(_numbers(entry, where, finite) for entry in value)
    if not isinstance(value, (np.ndarray, np.generic, bool, int, float)):
        raise MessageError(f"{where} hold {short(value)}, expected numbers")
    if finite and np.asarray(value).dtype.kind == "f" and not (np.abs(value) <= _LARGEST).all():
        raise MessageError(f"{where} hold a value that is not finite in float32")
    return value


def _leaves(value: Any) -> list[Any]:
    if not isinstance(value, (dict, tuple)):
        return [value]
    entries = value.values() if isinstance(value, dict) else value
    return [leaf for entry in entries for leaf in _leaves(entry)]


def _common_length(value: Any, name: str) -> int:
    """Size of the first axis that all arrays of a numpy-converted buffer share."""
    lengths = {np.shape(leaf)[:1] for leaf in _leaves(value)}
    if len(lengths) != 1 or () in lengths:
        raise MessageError(f"{name} have arrays of {sorted(lengths)} items, expected one length")
    return lengths.pop()[0]


def _layout(value: Any) -> Any:
    """The nesting of an item, with a list of number type and sizes in place of each array.

    RLlib stacks arrays into the type of the first, so others of another type would overflow or lose
    their fractions. Python's and numpy's scalars it promotes.
    """
    if isinstance(value, dict):
        return {key: _layout(entry) for key, entry in value.items()}
    if isinstance(value, tuple):
        return tuple(_layout(entry) for entry in value)
    if not isinstance(value, np.ndarray):
        return []
    return ["float" if value.dtype.kind == "f" else value.dtype.name, *value.shape]


def _check_fit(value: Any, space: gym.Space, where: str, *, time_axes: int) -> None:
    """Refuses what a space does not hold, apart from the bounds of a Box."""
    if isinstance(space, gym.spaces.Dict):
        fits = isinstance(value, dict) and value.keys() == space.spaces.keys()
        entries = {key: (value[key], space[key]) for key in space.spaces} if fits else {}
    elif isinstance(space, gym.spaces.Tuple):
        fits = isinstance(value, tuple) and len(value) == len(space)
        entries = dict(enumerate(zip(value, space, strict=True))) if fits else {}
    else:
        fits = not isinstance(value, (dict, tuple)) and _leaf_fits(value, space, time_axes)
        entries = {}
    if not fits:
        raise MessageError(f"{where} is {short(value)}, expected {space}")
    for key, (entry, inner) in entries.items():
        _check_fit(entry, inner, f"{where}[{key!r}]", time_axes=time_axes)


def _leaf_fits(value: Any, space: gym.Space, time_axes: int) -> bool:
    array = np.asarray(value)
    if array.shape[time_axes:] != space.shape:
        return False
    if not np.can_cast(array.dtype, space.dtype, "same_kind"):
        return False
    if isinstance(space, gym.spaces.MultiBinary):
        first, count = 0, 2
    elif isinstance(space, gym.spaces.Discrete):
        first, count = space.start, space.n
    elif isinstance(space, gym.spaces.MultiDiscrete):
        first, count = space.start, space.nvec
    else:
        return isinstance(space, gym.spaces.Box)
    return bool(np.all((array >= first) & (array < first + count)))
