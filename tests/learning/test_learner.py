"""The learner: which parameters each minibatch moves, by what, and when it stops."""

import copy

import numpy as np
import pytest
import ray
import torch
from ray.rllib.policy.sample_batch import MultiAgentBatch, SampleBatch

from e2hil_rllib.config import E2HiLConfig
from e2hil_rllib.method.influence import influence_bounds, influence_values, selection_mask
from e2hil_rllib.method.losses import actor_loss
from tests.helpers import ReachEnv

B = 32


def build_group(
    *, seed=0, selection=None, num_learners=0, batch_size=B, preset="e2hil_paper", imitation=None,
    **training,
):  # fmt: skip
    config = (
        E2HiLConfig()
        .preset(preset)
        .environment("tests.helpers:E2HiLReach-v0")
        .entropy_selection(**(selection or {"enabled": False}))
        .imitation(**(imitation or {}))
        .training(
            hidden_sizes=(32, 32), encoder_size=16, train_batch_size_per_learner=batch_size,
            **training,
        )
        .learners(num_learners=num_learners)
        .debugging(seed=seed)
    )  # fmt: skip
    return config.build_learner_group(env=ReachEnv())


def make_batch(rows, seed=0, as_numpy=False):
    generator = np.random.default_rng(seed)

    def draw(*shape):
        return generator.uniform(-1, 1, shape).astype(np.float32)

    def observation():
        return {"state": draw(rows, 2), "objects": draw(rows, 1)}

    columns = {
        "obs": observation(), "new_obs": observation(), "actions": draw(rows, 2),
        "rewards": draw(rows), "discounts": 0.97 * (draw(rows) < 0.8).astype(np.float32),
        "floors": np.full(rows, -np.inf, np.float32),
        "source": generator.integers(0, 3, rows).astype(np.uint8),
        "episode": np.arange(rows) // 5, "step": np.arange(rows) % 5,
    }  # fmt: skip
    return columns if as_numpy else to_torch(columns)


def to_torch(columns):
    return {
        k: to_torch(v) if isinstance(v, dict) else torch.from_numpy(v) for k, v in columns.items()
    }


def update(group, columns, batch_size=B):
    batch = MultiAgentBatch({"default_policy": SampleBatch(columns)}, len(columns["rewards"]))
    group.update(batch=batch, minibatch_size=batch_size, timesteps={}, _no_metrics_reduce=True)


def parameters(group):
    state = group.get_state(components="learner/rl_module")["learner"]["rl_module"]
    return {name: torch.tensor(value) for name, value in state["default_policy"].items()}


def recorded_gradients(group, name):
    """Every gradient of one group of parameters as it is before clipping.

    One step of Adam shows only a gradient's sign, so tests look at the gradient itself.
    """
    flat, seen = group._learner._flat[name], []
    original = flat.clip_gradient

    def clip_gradient(limit):
        seen.append(flat.gradient.clone())
        return original(limit)

    flat.clip_gradient = clip_gradient
    return seen


def changed(before, after):
    """Which parts of the module moved."""
    return {name.split(".")[0] for name in before if not torch.equal(before[name], after[name])}


def test_only_the_last_of_utd_minibatches_moves_actor_and_temperature():
    group = build_group(utd_ratio=3)
    before = parameters(group)
    update(group, make_batch(2 * B))
    middle = parameters(group)
    assert changed(before, middle) == {"encoder", "critics", "target_encoder", "target_critics"}
    update(group, make_batch(3 * B))
    assert changed(middle, parameters(group)) >= {"actor", "log_temperature"}


@pytest.mark.parametrize("averaged", [False, True])
def test_the_target_moves_by_tau_after_every_minibatch_encoder_included(averaged):
    """Where the policy is averaged, the target's actor moves as well."""
    group = build_group(utd_ratio=2, tau=0.25, averaged_policy=averaged)
    for _ in range(3):
        before = parameters(group)
        update(group, make_batch(B))
        live = parameters(group)
        for part in ("encoder", "critics", "actor")[: 3 if averaged else 2]:
            for name in (name for name in live if name.startswith(f"{part}.")):
                target = f"target_{name}"
                expected = before[target] + 0.25 * (live[name] - before[target])
                assert torch.allclose(live[target], expected, atol=1e-6), name
    assert not torch.equal(live["encoder.parts.state.1.weight"],
                           live["target_encoder.parts.state.1.weight"])  # fmt: skip


def test_the_actor_step_does_not_reach_the_critics():
    """A full minibatch moves the critics exactly as a critic-only one does."""
    full, critic_only = build_group(utd_ratio=1), build_group(utd_ratio=2)
    gradients = [recorded_gradients(group, "critic") for group in (full, critic_only)]
    for group in (full, critic_only):
        update(group, make_batch(B))
    assert torch.equal(gradients[0][0], gradients[1][0])
    assert changed(parameters(full), parameters(critic_only)) == {"actor", "log_temperature"}


@pytest.mark.parametrize("percentiles", [(0, 100), (20, 60)])
def test_the_actors_gradient_equals_an_autograd_reference(percentiles):
    """Eq. 12 written down again: without sharing, and on the actor alone."""
    selection = dict(zip(("lower_percentile", "upper_percentile"), percentiles, strict=True))
    group = build_group(utd_ratio=1, selection={"enabled": True, "diagnostics_interval": 1,
                                                **selection})  # fmt: skip
    learner = group._learner
    reference = copy.deepcopy(learner.module["default_policy"])
    noise, influence_noise = (
        torch.Generator().set_state(stream.generator.get_state().clone())
        for stream in (learner._learning_noise, learner._selection_noise)
    )
    columns = make_batch(B)
    gradients = recorded_gradients(group, "actor")
    update(group, columns)

    latent = reference.encoder(columns["obs"]).detach()
    torch.randn(B, 2, generator=noise)  # of the target's actions
    policy = reference.policy(latent)
    action, log_prob = policy.sample(torch.randn(B, 2, generator=noise))
    q = reference.critics(latent, action).amin(0)
    drawn, drawn_log_prob = policy.sample(torch.randn(8, B, 2, generator=influence_noise))
    drawn_q = torch.stack([reference.critics(latent, a).amin(0) for a in drawn])
    c = influence_values(drawn_log_prob, drawn_q, reference.temperature)
    mask = selection_mask(c, *influence_bounds(c, *percentiles))
    loss = actor_loss(log_prob, q, reference.temperature, mask)
    expected = torch.autograd.grad(loss, list(reference.actor.parameters()))
    expected = torch.cat([g.reshape(-1) for g in expected])
    assert torch.allclose(gradients[0], expected, atol=1e-6)
    assert expected.abs().max() > 1e-3
    metrics = learner.flush_metrics()["default_policy"]
    assert float(metrics["kept_fraction"].peek()) == pytest.approx(mask.float().mean().item())


def test_selecting_everything_equals_selecting_nothing():
    everything = {"enabled": True, "lower_percentile": 0, "upper_percentile": 100}
    groups = [build_group(selection=s) for s in ({"enabled": False}, everything, {"enabled": True})]
    for group in groups:
        update(group, make_batch(2 * B))
    off, whole, some = map(parameters, groups)
    assert all(torch.allclose(off[name], whole[name], atol=1e-7) for name in off)
    assert changed(off, some) == {"actor"}


def test_diagnostics_do_not_change_what_is_learned():
    """The selection off: bit for bit the same with and without the influence estimate."""
    groups = [
        build_group(selection={"enabled": False, "diagnostics_interval": interval})
        for interval in (1, 10**6)
    ]
    for step in range(4):
        for group in groups:
            update(group, make_batch(2 * B, seed=step))
    often, once = map(parameters, groups)
    assert not changed(often, once)
    metrics = groups[0]._learner.flush_metrics()["default_policy"]
    assert {"influence_mean", "entropy_change", "kept_fraction_demonstration"} <= set(metrics)
    assert {"entropy_change_learned", "entropy_change_measured"} <= set(metrics)


@pytest.mark.parametrize(
    "selection",
    [{"enabled": False}, {"rule": "random", "lower_percentile": 20, "upper_percentile": 60}],
)
def test_the_newest_diagnosed_minibatch_is_handed_out_once(selection):
    group = build_group(utd_ratio=2, selection={"diagnostics_interval": 2, **selection})
    learner = group._learner
    assert learner.flush_samples() is None
    batches = [make_batch(2 * B, seed=step) for step in range(4)]
    for columns in batches:
        update(group, columns)
    learner.flush_metrics()
    judged = learner.flush_samples()
    assert learner.flush_samples() is None  # each is handed out once
    for name in ("source", "episode", "step"):  # the second minibatch of the third update
        assert np.array_equal(getattr(judged, name), batches[2][name][B:]), name
    magnitude = np.abs(judged.influence)
    within = (magnitude >= judged.lower) & (magnitude <= judged.upper)
    assert judged.kept.sum() == within.sum() < B
    assert np.array_equal(judged.kept, within) == (not selection.get("rule"))
    assert (judged.rule, judged.enabled) == (selection.get("rule", "entropy"), "rule" in selection)


def test_a_random_subset_of_the_critics_makes_the_target():
    groups = [
        build_group(utd_ratio=4, num_critics=4, num_subsampled_critics=subset)
        for subset in (None, 4, 1, 1)
    ]
    gradients = [recorded_gradients(group, "critic") for group in groups]
    for group in groups:
        update(group, make_batch(4 * B))  # four draws of the subset: not all hold the minimum
    whole, all_four, one, again = (torch.stack(seen) for seen in gradients)
    assert torch.allclose(whole[0], all_four[0], atol=1e-6)
    assert not torch.allclose(whole, one, atol=1e-3)
    assert torch.equal(one, again)


@pytest.mark.parametrize("column", ["rewards", "actions"])
def test_a_loss_that_is_not_finite_stops_before_it_reaches_the_parameters(column):
    group = build_group()
    before = parameters(group)
    columns = make_batch(B)
    columns[column].view(-1)[3] = torch.nan
    with pytest.raises(FloatingPointError, match="critic_loss is nan"):
        update(group, columns)
    assert not changed(before, parameters(group))


def test_state_restores_parameters_optimizers_and_random_streams():
    # At random, so that the second stream decides on the mask; diagnosed every third update.
    selection = {"enabled": True, "rule": "random", "diagnostics_interval": 3}
    group, restored = build_group(selection=selection), build_group(selection=selection, seed=7)
    update(group, make_batch(2 * B))
    restored.set_state(group.get_state())
    for number in range(1, 4):
        for g in (group, restored):
            g._learner._statistics.clear()
            update(g, make_batch(2 * B, seed=number))
            assert ("influence_mean" in g._learner._statistics) == (number == 3)
        assert not changed(parameters(group), parameters(restored))


def test_the_critics_target_holds_the_entropy_term_at_the_present_temperature():
    """Targets with α = 1, with α = 0.5 and without the term lie on one line (Eq. 1)."""
    gradients = []
    for settings in ({"initial_alpha": 1.0}, {"initial_alpha": 0.5}, {"backup_entropy": False}):
        group = build_group(**settings)
        seen = recorded_gradients(group, "critic")
        update(group, make_batch(B))
        gradients.append(seen[0])
    whole, half, without = gradients
    assert not torch.allclose(whole, without, atol=1e-3)
    assert torch.allclose(half, (whole + without) / 2, atol=1e-5)


def test_the_highest_return_bounds_the_critics_target():
    """One that no target reaches changes nothing; one below all of them does."""
    gradients = []
    for highest in (None, 1e6, -10.0):
        group = build_group(highest_return=highest)
        seen = recorded_gradients(group, "critic")
        update(group, make_batch(B))
        gradients.append(seen[0])
    without, far, near = gradients
    assert torch.equal(without, far)
    assert not torch.allclose(without, near, atol=1e-3)


def test_each_group_learns_at_its_own_rate():
    """The first step of Adam is as long as its learning rate, whatever the gradient."""
    rates = {"critic": 1e-3, "actor": 2e-3, "temperature": 4e-3}
    learning_rates = dict(zip(("critic_lr", "actor_lr", "alpha_lr"), rates.values(), strict=True))
    group = build_group(utd_ratio=1, **learning_rates)
    flat = group._learner._flat
    before = {name: flat[name].vector.detach().clone() for name in rates}
    update(group, make_batch(B))
    for name, rate in rates.items():
        step = (flat[name].vector.detach() - before[name]).abs().max().item()
        assert step == pytest.approx(rate, rel=0.02), name


def test_a_gradient_that_is_not_finite_stops_before_the_parameters():
    group = build_group()
    before = parameters(group)
    group._learner._flat["actor"].gradient[0] = np.nan
    with pytest.raises(FloatingPointError, match="the gradient of the actor is not finite"):
        group._learner._step("actor")
    assert not changed(before, parameters(group))


def test_the_gradient_is_the_mean_over_the_learners(monkeypatch):
    """Adam's step does not show the scale of a gradient, its clipping does."""
    group = build_group()
    learner, seen = group._learner, recorded_gradients(group, "critic")
    learner.config = learner.config.copy(copy_frozen=False)
    learner.config.num_learners = 2
    monkeypatch.setattr(torch.distributed, "all_reduce", lambda gradient: gradient.mul_(2))
    learner._flat["critic"].gradient.fill_(0.25)
    learner._step("critic")
    assert (seen[0] == 0.25).all()


@pytest.fixture
def ray_with_enough_cpus():
    """Remote learners hang pending on fewer logical CPUs than they ask for."""
    ray.shutdown()
    ray.init(num_cpus=8, include_dashboard=False, log_to_driver=False)
    yield
    ray.shutdown()


@pytest.mark.slow
def test_two_learners_on_the_same_total_batch_give_one_learners_parameters(ray_with_enough_cpus):
    """Selection off; gradients averaged by hand; also one remote learner works."""
    num_updates, utd = 3, 2
    one = build_group(batch_size=2 * B)
    two = build_group(num_learners=2, batch_size=B)
    remote = build_group(num_learners=1, batch_size=2 * B)
    for step in range(num_updates):
        whole = make_batch(2 * B * utd, seed=step, as_numpy=True)
        # Learner i holds the i-th half of every minibatch, its minibatches behind each other.
        rows = np.arange(2 * B * utd).reshape(utd, 2, B).transpose(1, 0, 2).reshape(-1)

        def take(columns, rows=rows):
            return {k: take(v) if isinstance(v, dict) else v[rows] for k, v in columns.items()}

        update(one, to_torch(whole), 2 * B)
        update(remote, whole, 2 * B)
        update(two, take(whole), B)
    expected = parameters(one)
    for group in (two, remote):
        for name, value in parameters(group).items():
            assert torch.allclose(value, expected[name], atol=1e-5), name
    states = two.foreach_learner(lambda l: l.module["default_policy"].get_state())  # noqa: E741
    a, b = (result.get() for result in states)
    assert all(np.array_equal(a[name], b[name]) for name in a)
    for group in (two, remote):
        group.shutdown()


def imitated(group, columns, *, starts, rows="all"):
    """The actor's gradient by plain autograd: reinforcement, plus what is imitated.

    Also returns the share of the human rows that passes the filter.
    """
    learner = group._learner
    reference = copy.deepcopy(learner.module["default_policy"])
    noise = torch.Generator().set_state(learner._learning_noise.generator.get_state().clone())
    latent = reference.encoder(columns["obs"]).detach()
    torch.randn(B, 2, generator=noise)  # of the target's actions
    policy = reference.policy(latent)
    action, log_prob = policy.sample(torch.randn(B, 2, generator=noise))
    q = reference.critics(latent, action).amin(0)
    human = columns["source"] > 0
    mean = policy.mode()
    better = reference.critics(latent, columns["actions"]).amin(0) >= reference.critics(
        latent, mean.detach()
    ).amin(0)
    chosen = better[human] if starts == 0 else torch.ones(int(human.sum()), dtype=torch.bool)
    error = ((mean - columns["actions"])[human] ** 2).sum(1)
    share = 0.99 + 0.01 * chosen.float().mean()
    loss = actor_loss(log_prob, q, reference.temperature)
    loss = loss + 2.0 * share * (chosen * error).mean()
    gradient = torch.autograd.grad(loss, list(reference.actor.parameters()))
    return torch.cat([g.reshape(-1) for g in gradient]), chosen.float().mean()


@pytest.mark.parametrize("starts", [0, None])
def test_the_imitation_gradient_equals_an_autograd_reference(starts):
    group = build_group(utd_ratio=1, imitation={"weight": 2.0, "q_filter_starts": starts})
    columns = make_batch(B)
    expected, share = imitated(group, columns, starts=starts)
    assert share == 1 if starts is None else 0 < share < 1
    gradients = recorded_gradients(group, "actor")
    update(group, columns)
    assert torch.allclose(gradients[0], expected, atol=1e-5)


def test_dropout_is_of_the_imitation_alone_and_right_in_the_mean():
    """Its gradient differs each time; over many draws it is near the one without dropout."""
    columns = make_batch(B)

    def gradient(seed, weight, dropout):
        group = build_group(
            utd_ratio=1,
            imitation={"weight": weight, "dropout": dropout, "q_filter_starts": None},
        )
        group._learner._learning_noise.generator.manual_seed(seed)
        recorded = recorded_gradients(group, "actor")
        update(group, columns)
        return recorded[0]

    assert torch.equal(gradient(0, 0.0, 0.5), gradient(0, 0.0, 0.0))
    draws = [gradient(s, 1.0, 0.1) - gradient(s, 0.0, 0.1) for s in range(8)]
    assert not torch.allclose(draws[0], draws[1], atol=1e-4)
    plain = gradient(0, 1.0, 0.0) - gradient(0, 0.0, 0.0)
    mean = torch.stack(draws).mean(0)
    assert torch.nn.functional.cosine_similarity(mean, plain, dim=0) > 0.9


def test_imitation_moves_neither_critics_nor_encoder():
    """Both follow the critic loss alone, whatever is imitated."""
    groups = [build_group(utd_ratio=1, imitation={"weight": w}) for w in (0.0, 5.0)]
    gradients = [recorded_gradients(group, "critic") for group in groups]
    for group in groups:
        update(group, make_batch(B))
    assert torch.equal(gradients[0][0], gradients[1][0])
    assert changed(*map(parameters, groups)) == {"actor"}


def test_a_batch_without_humans_is_learned_as_without_imitation():
    groups = [build_group(utd_ratio=1, imitation={"weight": w}) for w in (0.0, 5.0)]
    columns = make_batch(B)
    columns["source"][:] = 0
    for group in groups:
        update(group, columns)
    assert not changed(*map(parameters, groups))


def test_the_selection_can_choose_what_is_imitated():
    """With both bounds off it keeps everything; a narrow band leaves another gradient."""
    gradients = {}
    for rows, percentiles in (("all", (40, 60)), ("selected", (0, 100)), ("selected", (40, 60))):
        group = build_group(
            utd_ratio=1, imitation={"weight": 1e4, "rows": rows, "q_filter_starts": None},
            selection={"lower_percentile": percentiles[0], "upper_percentile": percentiles[1]},
        )  # fmt: skip
        recorded = recorded_gradients(group, "actor")
        update(group, make_batch(B))
        gradients[rows, percentiles] = recorded[0] / recorded[0].norm()
    whole, everything, narrow = gradients.values()
    assert torch.allclose(whole, everything, atol=1e-3)
    assert not torch.allclose(whole, narrow, atol=1e-2)


def test_the_warm_start_imitates_and_learns_known_returns_until_it_ends():
    group = build_group(
        preset="default", utd_ratio=1, actor_lr=3e-3, critic_lr=3e-3, imitation={"dropout": 0.0}
    )
    learner = group._learner
    learner.begin_warm_start()
    module = learner.module["default_policy"]
    assert torch.allclose(module.actor.head.bias[2:], torch.tensor(0.1).log())
    columns = make_batch(B)
    columns["source"][:] = 2
    columns["floors"] = torch.linspace(0, 1, B)
    columns["floors"][0] = -torch.inf  # a demonstration that did not end well

    def errors():
        latent = module.encoder(columns["obs"])
        imitation = (module.actor(latent).mode() - columns["actions"]).square().mean()
        q = module.critics(latent, columns["actions"])[:, 1:]
        return imitation.item(), (q - columns["floors"][1:]).square().mean().item()

    before, temperature = errors(), module.temperature.item()
    for _ in range(200):
        update(group, columns)
    after = errors()
    assert after[0] < 0.2 * before[0]
    assert after[1] < 0.2 * before[1]
    assert module.temperature.item() == temperature
    learner.end_warm_start()
    update(group, columns)
    assert module.temperature.item() != temperature


def test_without_reinforcement_actor_and_encoder_imitate_and_the_critics_stay():
    group = build_group(imitation={"weight": 1.0, "reinforcement": False})
    before = parameters(group)
    update(group, make_batch(B))
    moved = changed(before, parameters(group))
    assert moved == {"actor", "encoder", "target_encoder"}


def test_the_share_that_is_imitated_outlives_a_restart():
    group, other = (build_group(utd_ratio=1, preset="default", seed=s) for s in (0, 1))
    group._learner.config._is_frozen = False
    group._learner.config.q_filter_starts = 0
    update(group, make_batch(B))
    share = group._learner._imitated_share.value
    assert share < 1
    other.set_state(group.get_state())
    assert other._learner._imitated_share.value == share
