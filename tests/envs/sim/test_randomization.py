"""Domain randomisation: worlds that differ from start to start."""

import dataclasses

import gymnasium
import mujoco
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from envs.sim import randomization
from envs.sim import scene as scene_module
from envs.sim.randomization import Randomization
from envs.sim.scene import CUBE_HALF, Scene
from envs.workspace import Workspace

KINDS = [field.name for field in dataclasses.fields(Randomization)]
EVERYTHING = dict.fromkeys(KINDS, 1.0)
CHANGED_BY = {
    "light": {"light_diffuse", "light_dir", "headlight"},
    "colours": {"geom_rgba"},
    "camera_pose": {"cam_pos", "cam_quat"},
    "cube_size": {"geom_size", "geom_rbound", "geom_aabb", "body_mass", "body_inertia"},
    "friction": {"geom_friction"},
}
INPUTS = set().union(*CHANGED_BY.values())


def make_scene(num_cubes=2, **strengths):
    return Scene(num_cubes, 0.1, Workspace(), True, Randomization(**strengths))


def begun(scene, seed):
    scene.begin(np.random.default_rng(seed))
    return parts(scene.model)


def parts(model):
    """Return copies of all arrays of a model."""
    arrays = {
        name: getattr(model, name).copy()
        for name in dir(model)
        if isinstance(getattr(model, name, None), np.ndarray)
    }
    headlight, statistic = model.vis.headlight, model.stat
    arrays["headlight"] = np.concatenate([headlight.ambient, headlight.diffuse])
    arrays["statistic"] = np.array(
        [statistic.extent, statistic.meaninertia, statistic.meanmass, *statistic.center]
    )
    return arrays


def differing(first, second):
    assert first.keys() == second.keys()
    return {name for name in first if not np.array_equal(first[name], second[name])}


def test_without_strength_the_world_is_the_nominal_one():
    nominal = parts(Scene(2, 0.1, Workspace(), True).model)
    assert not differing(begun(make_scene(), 3), nominal)


def test_every_draw_starts_from_the_nominal_world():
    used, fresh = make_scene(**EVERYTHING), make_scene(**EVERYTHING)
    nominal = parts(fresh.model)
    for seed in range(50):
        worlds_apart = begun(used, seed)
    assert differing(worlds_apart, nominal) >= INPUTS
    assert not differing(begun(used, 7), begun(fresh, 7))
    used._randomizer._strengths = Randomization()
    assert not differing(begun(used, 8), nominal)


@pytest.mark.parametrize("kind", KINDS)
def test_a_strength_changes_only_its_own_kind_independently_of_others(kind):
    alone_of = dict.fromkeys(KINDS, 0.0) | {kind: 1.0}
    scene = make_scene(**alone_of)
    nominal = parts(scene.model)
    alone = begun(scene, 5)
    assert differing(alone, nominal) & INPUTS == CHANGED_BY[kind]
    # Colours bring a wall, which is one geom more.
    others = EVERYTHING | {"colours": alone_of["colours"]}
    together = begun(make_scene(**others), 5)
    for name in CHANGED_BY[kind]:
        np.testing.assert_array_equal(together[name], alone[name])


@given(st.integers(0, 2**32), st.sampled_from([0.25, 1.0]))
def test_draws_stay_within_their_strength(seed, strength):
    scene = SCENES[strength]
    nominal, drawn = NOMINAL[strength], begun(scene, seed)
    head = drawn["headlight"] / nominal["headlight"]
    brightest = (1 + 0.4 * strength) * (1 + 0.15 * strength)
    darkest = (1 - 0.4 * strength) * (1 - 0.15 * strength)
    lamp = drawn["light_diffuse"] / nominal["light_diffuse"]
    for factor in (head, lamp):
        assert (factor < brightest + 1e-6).all() and (factor > darkest - 1e-6).all()
    np.testing.assert_allclose(np.ptp(lamp / head[:3]), 0, atol=1e-5)  # one tint for all light
    lamps = np.sum(drawn["light_dir"] * nominal["light_dir"], axis=1)
    assert (lamps > np.cos(np.radians(45 * strength)) - 1e-6).all()
    shift = np.abs(drawn["geom_rgba"] - nominal["geom_rgba"]).max(axis=1)
    background = [scene.model.geom(name).id for name in ("table", "wall")]
    assert shift[background].max() <= 0.5 * strength + 1e-6
    assert np.delete(shift, background).max() <= 0.2 * strength + 1e-6
    assert (drawn["geom_rgba"][:, 3] == nominal["geom_rgba"][:, 3]).all()
    assert np.abs(drawn["cam_pos"] - nominal["cam_pos"]).max() <= 0.02 * strength + 1e-9
    turned = np.abs(np.sum(drawn["cam_quat"] * nominal["cam_quat"], axis=1))
    assert (turned >= np.cos(np.radians(5 * strength) / 2) - 1e-9).all()
    halves = np.array([scene.cube_half(0), scene.cube_half(1)])
    assert np.abs(halves / CUBE_HALF - 1).max() <= 0.2 * strength + 1e-9
    friction = np.log2(drawn["geom_friction"] / nominal["geom_friction"])
    assert np.abs(friction).max() <= strength + 1e-9


SCENES = {strength: make_scene(**dict.fromkeys(KINDS, strength)) for strength in (0.25, 1.0)}
NOMINAL = {strength: parts(scene.model) for strength, scene in SCENES.items()}


def test_draws_use_their_whole_range():
    scene = make_scene(**EVERYTHING)
    halves, frictions = [], []
    for seed in range(200):
        frictions.append(begun(scene, seed)["geom_friction"][scene.model.geom("table").id, 0])
        halves.append(scene.cube_half(0) / CUBE_HALF)
    assert min(halves) < 0.82 and max(halves) > 1.18
    assert min(frictions) < 0.55 and max(frictions) > 1.8


def test_parts_of_one_material_keep_a_common_colour_and_cubes_differ():
    scene = make_scene(**EVERYTHING)
    nominal, drawn = parts(scene.model)["geom_rgba"], begun(scene, 1)["geom_rgba"]
    materials = {tuple(colour) for colour in nominal}
    for colour in materials:
        same = (nominal == colour).all(axis=1)
        assert len({tuple(other) for other in drawn[same]}) == 1
    assert len({tuple(colour) for colour in drawn}) == len(materials)


def test_a_scaled_cube_equals_one_compiled_at_that_size(monkeypatch):
    scene = make_scene(1, cube_size=1.0)
    begun(scene, 4)
    half = scene.cube_half(0)
    assert abs(half - CUBE_HALF) > 5e-4
    monkeypatch.setattr(scene_module, "CUBE_HALF", half)
    monkeypatch.setattr(scene_module, "_CUBE_MASS", 0.015 * (half / 0.0125) ** 3)
    compiled = Scene(1, 0.1, Workspace(), True).model
    geom, body = compiled.geom("cube_0").id, compiled.body("cube_0").id
    dofs = slice(6, 12)
    for name, index in (
        *(("geom_size", geom), ("geom_rbound", geom), ("geom_aabb", geom)),
        *(("body_mass", body), ("body_inertia", body), ("body_invweight0", body)),
        *(("body_subtreemass", body), ("dof_invweight0", dofs), ("dof_M0", dofs)),
    ):
        np.testing.assert_allclose(
            getattr(scene.model, name)[index], getattr(compiled, name)[index], rtol=1e-9
        )


def test_a_scaled_cube_rests_on_the_table_at_half_its_edge():
    scene = make_scene(**EVERYTHING)
    begun(scene, 4)
    half = scene.cube_half(0)
    scene.place_cube(0, 0.2, 0.1, 0.3)
    scene.refresh()
    assert scene.cube_position(0)[2] == half
    for _ in range(100):
        mujoco.mj_step(scene.model, scene.data)
    scene.refresh()
    assert scene.cube_position(0)[2] == pytest.approx(half, abs=3e-4)
    above = scene.cube_position(0) + np.array([0, 0, half + 0.03])
    scene.tcp = lambda: above
    assert scene.distance_to_cube(0) == pytest.approx(0.03, abs=1e-6)


@pytest.mark.parametrize(
    "task", ["TouchCube", "PickCube", "PickPlaceCube", "PushCube", "StackBlocks"]
)
def test_the_expert_succeeds_in_any_world(task):
    env = gymnasium.make(
        f"envs:SO101{task}-v0",
        randomize=EVERYTHING,
        operator={"mode": "demonstrate", "skill": 1.0},
    )
    done = 0
    for seed in range(12):
        env.reset(seed=seed)
        over = False
        while not over:
            *_, terminated, truncated, info = env.step(np.zeros(4))
            over = terminated or truncated
        done += info["succeed"]
    assert done >= 11


@pytest.mark.parametrize("task", ["TouchCube", "StackBlocks"])
def test_episodes_start_as_in_the_nominal_world(task):
    nominal = gymnasium.make(f"envs:SO101{task}-v0")
    varied = gymnasium.make(f"envs:SO101{task}-v0", randomize=EVERYTHING)
    for seed in (3, None, None):
        one, other = nominal.reset(seed=seed)[0], varied.reset(seed=seed)[0]
        np.testing.assert_array_equal(one["state"][:6], other["state"][:6])
        np.testing.assert_array_equal(one["objects"][:2], other["objects"][:2])


def test_frames_follow_the_seed():
    env = gymnasium.make("envs:SO101TouchCube-v0", cameras=["front", "wrist"], randomize=EVERYTHING)
    try:
        first = env.reset(seed=1)[0]
    except RuntimeError as error:
        assert "OpenGL" in str(error)
        pytest.skip("no off-screen OpenGL on this machine")
    second = env.reset()[0]
    again = env.reset(seed=1)[0]
    second_again = env.reset()[0]
    env.close()
    for name in ("front", "wrist"):
        assert (first[name] == again[name]).all()
        assert (second[name] == second_again[name]).all()
        assert (np.abs(first[name].astype(int) - second[name]) > 8).mean() > 0.5


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"colors": 1}, TypeError, "randomize has no option 'colors': did you mean 'colours'"),
        ({"light": 1.5}, ValueError, "randomize.light must be a number from 0 to 1, got 1.5"),
        ({"friction": "much"}, ValueError, "randomize.friction must be a number"),
        (True, TypeError, "randomize must be a mapping"),
    ],
)
def test_bad_strengths_are_refused_by_name(given, error, message):
    with pytest.raises(error, match=message):
        gymnasium.make("envs:SO101TouchCube-v0", randomize=given)


def test_the_documented_figures_are_those_of_the_draws():
    described = Randomization.__doc__
    for figure in (
        f"±{randomization.BRIGHTNESS:.0%}".replace("%", " %"),
        f"±{randomization.TINT:.0%}".replace("%", " %"),
        f"{np.degrees(randomization.LAMP_TILT):.0f}°",
        f"±{randomization.COLOUR_SHIFT}",
        f"±{randomization.GREY_SHIFT}",
        f"±{1000 * randomization.CAMERA_OFFSET:.0f} mm",
        f"{np.degrees(randomization.CAMERA_TILT):.0f}°",
        f"±{randomization.EDGE_CHANGE:.0%}".replace("%", " %"),
    ):
        assert figure in described
