"""Model of a person who takes over."""

import gymnasium
import numpy as np
import pytest

from envs.operators import Expert, Person, PersonSettings

TOUCH = "envs:SO101TouchCube-v0"


def watch(policy, episodes=20, task=TOUCH, **operator):
    """Return the share of human steps, the success rate, and each episode's human steps."""
    env = gymnasium.make(task, operator=operator)
    rng = np.random.default_rng(0)
    led, succeeded = [], 0
    for seed in range(episodes):
        env.reset(seed=seed)
        expert = Expert(env.unwrapped)
        led.append([])
        over = False
        while not over:
            _, _, terminated, truncated, info = env.step(policy(expert, rng))
            led[-1].append(info["is_intervention"])
            over = terminated or truncated
        succeeded += terminated
    return np.concatenate(led).mean(), succeeded / episodes, led


def frozen(expert, rng):
    return np.zeros(4)


def wild(expert, rng):
    return rng.uniform(-1, 1, 4)


def steady(expert, rng):
    return 0.4 * expert.act()


@pytest.mark.parametrize("policy", [frozen, wild])
def test_a_bad_policy_is_led_a_third_of_the_time_and_succeeds(policy):
    share, success, _ = watch(policy, episodes=40, patience=0.6)
    assert 0.25 < share < 0.5
    assert success >= 0.95


def first_alarm(task, stuck, patience):
    """Return the time for which the policy was stuck at each episode's takeover [s]."""
    env = gymnasium.make(f"envs:SO101{task}-v0", max_episode_steps=120)
    delays = []
    for seed in range(10):
        env.reset(seed=seed)
        rng = np.random.default_rng(seed)
        person = Person(PersonSettings(patience=patience, attention=1.0, reaction_delay=0.0))
        person.reset(env.unwrapped, seed)
        policy = stuck(env.unwrapped, rng)
        steps = 0
        while person.act() is None:
            action, is_stuck = next(policy)
            assert not env.step(action)[3]
            steps += is_stuck
        delays.append(steps / env.unwrapped.control_hz)
    return np.array(delays)


def random_actions(arm, rng):
    while True:
        yield rng.uniform(-1, 1, 4), True


def hover(arm, rng):
    """Go above the cube and tremble there."""
    yield from _stay(arm, np.array([0.0, 0.0, 0.05]), lambda: [*rng.normal(0, 0.3, 3), 0.0])


def close_on_air(arm, rng):
    """Go down next to the cube, close there and stay."""
    aside = arm.task.scene.cube_position(0)[:2] - [0.2, 0.0]
    aside *= -0.035 / np.linalg.norm(aside)
    yield from _stay(arm, np.array([*aside, 0.008]), lambda: [0.0, 0.0, 0.0, -1.0])


def _stay(arm, offset, there):
    goal = arm.task.scene.cube_position(0) + offset
    arrived = False
    while True:
        arrived = arrived or np.linalg.norm(goal - arm.tcp) < 0.012
        toward = np.append((goal - arm.tcp) / arm.step_size, 0.0)
        yield np.clip(toward + (there() if arrived else 0.0), -1, 1), arrived


@pytest.mark.parametrize("task", ["PickCube", "PickPlaceCube", "StackBlocks"])
@pytest.mark.parametrize("stuck", [random_actions, hover, close_on_air])
@pytest.mark.parametrize("patience", [0.6, 1.5])
def test_a_stuck_policy_is_taken_from_promptly(task, stuck, patience):
    delays = first_alarm(task, stuck, patience)
    assert np.median(delays) < patience + 0.7
    assert np.percentile(delays, 90) < patience + 2.0


# With hardly any patience, jaws that have not begun to turn yet may alarm.
@pytest.mark.parametrize(("patience", "most"), [(0.6, 0.03), (1.5, 0.0)])
@pytest.mark.parametrize("task", ["TouchCube", "PickCube", "PickPlaceCube", "StackBlocks"])
def test_a_policy_with_progress_is_left_alone_in_every_phase(task, patience, most):
    share, success, _ = watch(
        steady, 8, f"envs:SO101{task}-v0", patience=patience, attention=1.0, reaction_delay=0.0
    )
    assert share <= most
    assert success == 1.0


def test_a_push_is_mostly_left_alone():
    """A cube that slides past the tips needs another approach, which looks like a standstill."""
    task = "envs:SO101PushCube-v0"
    share, success, _ = watch(steady, 8, task, patience=1.5, attention=1.0, reaction_delay=0.0)
    assert share <= 0.1
    assert success == 1.0


def test_a_slow_grasp_is_left_alone():
    def slow_jaws(expert, rng):
        return expert.act() * [0.6, 0.6, 0.6, 0.25]

    task = "envs:SO101StackBlocks-v0"
    share, _, _ = watch(slow_jaws, task=task, patience=0.6, attention=1.0, reaction_delay=0.0)
    assert share < 0.01


def test_nobody_takes_over_before_patience_and_reaction_are_over():
    _, _, led = watch(frozen, reaction_delay=0.5)
    assert min(np.argmax(steps) for steps in led) >= 15


def test_control_is_given_back_after_a_burst():
    _, _, led = watch(frozen, burst=0.2, skill=0.5)
    changes = [np.diff(np.asarray(steps, int)) for steps in led]
    assert sum((change == -1).sum() for change in changes) >= len(led)


def test_without_attention_nobody_takes_over():
    share, _, _ = watch(frozen, episodes=3, attention=0.0)
    assert share == 0.0


def test_less_attention_means_later_takeovers():
    def first_takeover(attention):
        return np.mean([np.argmax(steps) for steps in watch(frozen, attention=attention)[2]])

    assert first_takeover(0.2) > first_takeover(1.0) + 2


def test_less_skill_means_longer_demonstrations():
    def length(skill):
        pick = "envs:SO101PickCube-v0"
        episodes = watch(frozen, episodes=8, task=pick, mode="demonstrate", skill=skill)[2]
        return np.mean([len(steps) for steps in episodes])

    assert length(1.0) + 3 < length(0.5)


def test_a_demonstration_is_led_from_the_first_to_the_last_step():
    share, success, _ = watch(wild, mode="demonstrate")
    assert share == 1.0
    assert success == 1.0


def test_an_arm_that_stays_at_a_side_is_taken_over_at_once():
    def outward(expert, rng):
        return np.array([-1.0, 0.0, 0.0, 0.0])

    # Patience alone would wait for five seconds.
    _, _, led = watch(outward, patience=5.0, reaction_delay=0.0, attention=1.0)
    assert max(np.argmax(steps) for steps in led) <= 12
    assert all(any(steps) for steps in led)


def test_an_arm_with_progress_at_a_side_is_left_alone(monkeypatch):
    env = gymnasium.make(TOUCH, operator={"attention": 1.0, "reaction_delay": 0.0})
    env.reset(seed=0)
    remaining = iter(np.linspace(0.3, 0.1, 20))
    monkeypatch.setattr(env.unwrapped.task, "remaining", lambda: next(remaining))
    led = [env.step([-1.0, 0.0, 0.0, 0.0])[-1]["is_intervention"] for _ in range(18)]
    assert env.unwrapped.tcp[0] < 0.146
    assert not any(led)


def test_undone_progress_causes_a_takeover_before_patience_is_over():
    def back_and_forth(expert, rng):
        back_and_forth.step += 1
        action = expert.act()
        action[:3] *= 0.6 if back_and_forth.step % 10 < 4 else -0.6
        return action

    back_and_forth.step = 0
    # Far sides, so that only the loss of progress can alarm.
    _, _, led = watch(back_and_forth, episodes=8, patience=20.0, attention=1.0)
    assert any(any(steps) for steps in led)


@pytest.mark.parametrize(("then", "alarms"), [(0.2, True), (0.18, False)])
def test_a_loss_that_is_being_regained_causes_no_takeover(monkeypatch, then, alarms):
    env = gymnasium.make(TOUCH, operator={"attention": 1.0, "reaction_delay": 0.0})
    env.reset(seed=0)
    remaining = iter([0.1, 0.2, then, then])
    monkeypatch.setattr(env.unwrapped.task, "remaining", lambda: next(remaining, 0.1))
    led = [env.step(np.zeros(4))[-1]["is_intervention"] for _ in range(3)]
    assert any(led) == alarms


def episode(env, seed):
    env.reset(seed=seed)
    actions = []
    for _ in range(15):
        *_, terminated, truncated, info = env.step(np.zeros(4))
        actions.append(info["teleop_action"].tolist())
        if terminated or truncated:
            break
    return actions


def test_the_person_is_seeded_by_the_reset():
    operator = {"mode": "demonstrate"}
    env = gymnasium.make(TOUCH, operator=operator)
    first = episode(env, 3)
    unseeded = episode(env, None)
    assert episode(env, 3) == first
    assert episode(env, None) == unseeded
    assert episode(gymnasium.make(TOUCH, operator=operator), 3) == first


def test_the_persons_draws_are_independent_of_the_physics():
    env = gymnasium.make(TOUCH).unwrapped
    env.reset(seed=0)
    person = Person()
    person.reset(env, seed=0)
    env.reset(seed=0)
    draws = np.random.default_rng(0).random(50)
    assert person._rng.random() not in draws


def test_the_hand_is_unsteady_in_a_correlated_way():
    env = gymnasium.make(TOUCH).unwrapped
    env.reset(seed=0)
    person = Person(PersonSettings(mode="demonstrate", skill=0.5))
    person.reset(env, seed=0)
    actions = np.array([person.act()[:3] for _ in range(400)])  # the arm stands still
    around = actions - actions.mean(axis=0)
    correlation = (around[1:] * around[:-1]).sum() / (around**2).sum()
    assert around.std() > 0.05
    assert 0.4 < correlation < 0.95


def test_a_perfect_hand_does_what_the_expert_would_but_slower():
    env = gymnasium.make(TOUCH).unwrapped
    env.reset(seed=0)
    person = Person(PersonSettings(mode="demonstrate", skill=1.0))
    person.reset(env, seed=0)
    action, wanted = person.act(), Expert(env).act()
    speed = np.linalg.norm(action[:3]) / np.linalg.norm(wanted[:3])
    assert 0.6 <= speed <= 1.0
    np.testing.assert_allclose(action[:3], speed * wanted[:3])


def test_nobody_takes_over_while_the_task_is_done():
    env = gymnasium.make(TOUCH, reward="external", operator={"attention": 1.0, "patience": 0.3})
    env.reset(seed=0)
    expert = Expert(env.unwrapped)
    while not env.step(expert.act())[-1]["task_succeed"]:
        pass
    steps = [env.step(np.zeros(4))[-1] for _ in range(40)]
    assert all(info["task_succeed"] and not info["is_intervention"] for info in steps)
