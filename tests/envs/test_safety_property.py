"""Safety layer: its guarantees for arbitrary readings and commands."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from envs.kinematics import HOME
from envs.safety import SafetyLayer, SafetyLimits, Verdict
from tests.envs.safety_cases import HIGH, KINEMATICS, LOW, REST, excess, reading


def vectors(low, high):
    return st.lists(st.floats(low, high), min_size=6, max_size=6).map(np.array)


anything = st.floats(allow_nan=True, allow_infinity=True)
events = st.fixed_dictionaries(
    {
        "do": st.sampled_from(["decide"] * 8 + ["watch", "handover", "acknowledge"]),
        "wanted": st.one_of(
            st.lists(anything, min_size=6, max_size=6).map(np.array),
            vectors(-3.0, 3.0),
            st.tuples(st.floats(0.1, 0.35), st.floats(-0.2, 0.2), st.floats(-0.02, 0.2)).map(
                lambda tcp: KINEMATICS.inverse(tcp, 0.2)
            ),
        ),
        "after": st.one_of(st.floats(0.0, 0.12), st.floats(-0.1, 3.0)),
        "age": st.one_of(st.just(0.0), st.floats(-1.0, 1.0)),
        "error": st.one_of(st.just(np.zeros(6)), vectors(-0.5, 0.5), vectors(-np.inf, np.inf)),
        "currents": vectors(-3.0, 3.0),
        "temperature": st.floats(20.0, 65.0),
    }
)


@settings(max_examples=150, deadline=None)
@given(
    st.one_of(vectors(-2.0, 2.0), st.just(HOME), st.just(REST)),
    st.lists(events, min_size=1, max_size=40),
    st.sampled_from(["hold", "release"]),
)
def test_no_target_ever_leaves_its_limits(positions, steps, reaction):
    limits = SafetyLimits(on_temperature=reaction, grip_time=0.2)
    layer = SafetyLayer(limits)
    box, tolerance = limits.workspace, limits.workspace_tolerance
    last, last_time, now = None, 0.0, 50.0
    for event in steps:
        now += event["after"]
        clock = max(now, last_time)
        if event["do"] in ("handover", "acknowledge"):
            getattr(layer, event["do"])()
            continue
        telemetry = reading(
            now - event["age"],
            positions + event["error"],
            currents=event["currents"],
            temperatures=np.full(6, event["temperature"]),
        )
        if event["do"] == "decide":
            decision = layer.decide(event["wanted"], telemetry, now)
        else:
            decision = layer.watch(telemetry, now)
        targets = decision.targets
        assert (decision.verdict == "send") == (decision.reason == "")
        if targets is None:
            assert decision.verdict is not Verdict.SEND
            last = None
            continue
        assert np.isfinite(targets).all()
        if last is None:
            np.testing.assert_array_equal(targets, telemetry.positions)
        else:
            change = np.abs(targets - last)
            assert change.max() <= limits.max_step + 1e-9
            assert change.max() <= limits.max_speed * (clock - last_time) + 1e-9
            beyond, was = (
                np.maximum(LOW - targets, targets - HIGH),
                np.maximum(LOW - last, last - HIGH),
            )
            assert (beyond <= np.maximum(was, 0.0) + 1e-9).all()
            way = [last + s * (targets - last) for s in np.linspace(0, 1, 9)]
            if excess(last, box) <= tolerance:
                assert max(excess(joints, box) for joints in way) <= tolerance + 4e-4
                assert excess(targets, box) <= tolerance + 1e-9
            elif change[:5].max() > 0:
                assert change[:5].max() <= limits.first_speed * (clock - last_time) + 1e-9
                floor = min(box.low[2] - tolerance, KINEMATICS.forward(last)[2])
                assert KINEMATICS.forward(targets)[2] >= floor - 4e-4
        if last is None or event["do"] == "decide" or (targets != last).any():
            last_time = clock
        last = positions = targets
