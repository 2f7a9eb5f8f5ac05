"""What a peer may have sent, as it is once it is decoded: hypothesis draws it."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tests.external.protocol.test_codec import ARRAYS, PLAIN, SCALARS

_NAMES = st.sampled_from(["entries", "shape", "dtype", "low", "high", "spaces"])

#: Any value: also nested ones, with the names in them that somebody looks for.
WHATEVER: st.SearchStrategy[Any] = st.recursive(
    PLAIN | ARRAYS | SCALARS,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(_NAMES | st.text(max_size=5) | st.binary(max_size=5), inner, max_size=4)
    ),
    max_leaves=10,
)


def maps_like(message: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    """Maps with the keys of a sound one, some of whose values are other ones, or missing."""
    # Not `st.just`, which puts whole arrays into its own description.
    sound = {key: st.builds(lambda value=value: value) for key, value in message.items()}
    fields = {key: value | ARRAYS | WHATEVER for key, value in sound.items()}
    return st.fixed_dictionaries({}, optional=fields)
