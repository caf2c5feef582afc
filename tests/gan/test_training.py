import dataclasses
import gc
import json
import math
import weakref
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from pydantic import ValidationError

import gan.training
from data.base.device import Compute
from data.base.errors import CorruptFileError, UsageError
from data.images import LabelledImages
from data.policies import MEDICAL, NATURAL, SHIFTED_AND_TONED, Views
from data.tensors import to_unit_range
from gan.checkpoint import load_generator
from gan.config import GanConfig, chapter_dcgan
from gan.game import RealBatch, StepMetrics, draws_of_step, seen_through, train_step, update_average
from gan.losses import same_class_distance
from gan.state import TrainState
from gan.training import (
    Losses,
    NonFiniteLossError,
    Training,
    TrainingProgress,
    look_at_samples,
    new_state,
    settle_batch_norm,
    snapshot_steps,
    train,
)

CPU = Compute(device="cpu", precision="float32")
ROWS = torch.arange(8)
LABELS = ROWS % 3
SUBSET = LabelledImages(
    images=np.zeros((8, 1, 8, 8), np.uint8), labels=LABELS.numpy(), rows=ROWS.numpy(), class_names=("a", "b", "c")
)
CONFIG = GanConfig(
    steps=12, batch_size=8, generator_width=4, discriminator_width=4, latent_dim=8, grid_every=5, checkpoint_every=4
).for_subset(60)


class TrainingStoppedError(Exception):
    pass


def take_step(
    state: TrainState,
    *,
    images: torch.Tensor | None = None,
    rows: torch.Tensor = ROWS,
    config: GanConfig = CONFIG,
) -> StepMetrics:
    """Train both players on images of the classes that SUBSET has, random ones unless they are given."""
    images = torch.rand(8, 1, 8, 8) if images is None else images
    draws = draws_of_step(config, size=(8, 8), rng=state.rng)
    return train_step(state, RealBatch(images, LABELS[rows], rows), draws, config=config, compute=CPU)


def run(
    subset: LabelledImages,
    directory: Path,
    config: GanConfig = CONFIG,
    *,
    seed: int = 0,
    stop_at: int | None = None,
    compute: Compute = CPU,
    code: str = "",
) -> list[TrainingProgress]:
    """Train, and stop as if killed when progress reaches `stop_at`."""
    seen = []

    def on_progress(progress: TrainingProgress) -> None:
        seen.append(progress)
        if progress.step == stop_at:
            raise TrainingStoppedError

    train(subset, directory, config=config, seed=seed, compute=compute, on_progress=on_progress, code=code)
    return seen


def files(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def changed(**values: object) -> GanConfig:
    return GanConfig.model_validate(CONFIG.model_dump() | values)


def weights(directory: Path) -> dict[str, torch.Tensor]:
    """Return those of the last snapshot."""
    return load_generator(directory / "generator.safetensors")[0].members[-1].state_dict()


def test_same_seed_same_bytes(striped, tmp_path):
    for name in ("a", "b"):
        run(striped, tmp_path / name)
    assert files(tmp_path / "a") == files(tmp_path / "b")


def test_another_seed_gives_another_generator(striped, tmp_path):
    for seed in (0, 1):
        run(striped, tmp_path / str(seed), seed=seed)
    assert not torch.equal(weights(tmp_path / "0")["up2.weight"], weights(tmp_path / "1")["up2.weight"])


def test_the_global_random_state_is_neither_read_nor_needed(striped, tmp_path):
    config = changed(discriminator_norm="spectral")
    for seed in (0, 1):
        torch.manual_seed(seed)
        run(striped, tmp_path / str(seed), config)
    assert files(tmp_path / "0") == files(tmp_path / "1")


@pytest.mark.parametrize(
    "config",
    [
        CONFIG,
        changed(discriminator_norm="spectral", loss="hinge"),
        changed(loss="relativistic", r1_gamma=1, r2_gamma=1, discriminator_norm="none"),
        changed(differentiable_augmentation=False, loss="minimax"),
        changed(class_balanced_batches=True),
        changed(architecture="residual", loss="relativistic", r1_gamma=0.5, r2_gamma=0.5),
        changed(encoder=True, sample_reach=0.5, sample_spread=0),
    ],
    ids=["default", "spectral hinge", "relativistic", "minimax", "class-balanced", "residual", "encoder"],
)
@pytest.mark.parametrize("stop_at", [8, 12])
def test_resumed_training_ends_with_the_bytes_of_an_uninterrupted_one(striped, tmp_path, config, stop_at):
    run(striped, tmp_path / "whole", config)
    with pytest.raises(TrainingStoppedError):
        run(striped, tmp_path / "parts", config, stop_at=stop_at)
    assert (tmp_path / "parts" / "state.safetensors").exists()
    run(striped, tmp_path / "parts", config)
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


@pytest.mark.parametrize("architecture", ["dcgan", "residual"])
def test_resume_is_exact_in_bfloat16_and_channels_last(tmp_path, architecture):
    rng = np.random.default_rng(0)
    subset = LabelledImages(
        images=rng.integers(0, 256, (30, 3, 16, 16), dtype=np.uint8),
        labels=np.arange(30) % 3,
        rows=np.arange(30),
        class_names=("a", "b", "c"),
    )
    half = Compute(device="cpu", precision="bfloat16")
    config = changed(generator_width=8, discriminator_width=8, architecture=architecture)
    run(subset, tmp_path / "whole", config, compute=half)
    with pytest.raises(TrainingStoppedError):
        run(subset, tmp_path / "parts", config, compute=half, stop_at=12)
    assert run(subset, tmp_path / "parts", config, compute=half)[0].step == 10  # from the checkpoint of step 8
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_a_training_interrupted_again_and_again_still_ends_the_same(striped, tmp_path):
    run(striped, tmp_path / "whole")
    for stop_at in (4, 8, 12):
        with pytest.raises(TrainingStoppedError):
            run(striped, tmp_path / "parts", stop_at=stop_at)
    run(striped, tmp_path / "parts")
    assert files(tmp_path / "parts") == files(tmp_path / "whole")


def test_how_often_checkpoints_are_written_does_not_change_the_weights(striped, tmp_path):
    for every in (3, 100):
        run(striped, tmp_path / str(every), changed(checkpoint_every=every))
    often, never = weights(tmp_path / "3"), weights(tmp_path / "100")
    assert all(torch.equal(often[name], never[name]) for name in often)


def test_how_often_samples_are_looked_at_does_not_change_the_weights(striped, tmp_path):
    for every in (8, 100):
        run(striped, tmp_path / str(every), changed(grid_every=every))
    often, never = weights(tmp_path / "8"), weights(tmp_path / "100")
    assert all(torch.equal(often[name], never[name]) for name in often)


def test_another_trainings_checkpoint_and_pictures_are_replaced(striped, tmp_path):
    with pytest.raises(TrainingStoppedError):
        run(striped, tmp_path / "used", changed(learning_rate=1e-3, grid_every=7, steps=20), stop_at=16)
    run(striped, tmp_path / "used")
    run(striped, tmp_path / "new")
    assert files(tmp_path / "used") == files(tmp_path / "new")


@pytest.mark.parametrize("code", ["as before", "changed"])
def test_a_training_that_other_code_began_is_begun_anew_and_that_is_told(striped, tmp_path, code):
    with pytest.raises(TrainingStoppedError):
        run(striped, tmp_path, stop_at=8, code="as before")
    options = {"config": CONFIG, "seed": 0, "compute": CPU, "code": code}
    assert train(striped, tmp_path, on_progress=lambda _: None, **options) == (code == "changed")


def test_a_cut_checkpoint_is_refused_with_what_to_do(striped, tmp_path):
    with pytest.raises(TrainingStoppedError):
        run(striped, tmp_path, stop_at=8)
    checkpoint = tmp_path / "state.safetensors"
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    with pytest.raises(CorruptFileError, match=r"state.safetensors is corrupt .* delete it to train again"):
        run(striped, tmp_path)


def test_only_the_results_are_left(striped, tmp_path):
    run(striped, tmp_path)
    expected = ["epochs/step-000008.png", "epochs/step-000012.png", "generator.safetensors", "history.json"]
    assert sorted(files(tmp_path)) == expected


def test_images_that_the_networks_cannot_make_are_refused(striped, tmp_path):
    odd = dataclasses.replace(striped, images=striped.images[:, :, :7])
    with pytest.raises(UsageError, match="multiples of 4, not 7x8"):
        run(odd, tmp_path)
    assert files(tmp_path) == {}


# What happens when training diverges.


def poison(monkeypatch, *, step: int, discriminator: float = 0.5, generator: float = 0.5) -> None:
    """From `step` on, let `train_step` report these losses."""
    real_step = gan.training.train_step

    def poisoned(state, *inputs, **options):
        metrics = real_step(state, *inputs, **options)
        if state.step + 1 < step:
            return metrics
        return StepMetrics(torch.tensor(discriminator), torch.tensor(generator))

    monkeypatch.setattr(gan.training, "train_step", poisoned)


@pytest.mark.parametrize(
    ("losses", "named"),
    [
        ({"discriminator": math.nan}, "discriminator loss is nan at step 6"),
        ({"generator": math.inf}, "generator loss is inf at step 6"),
    ],
)
def test_a_non_finite_loss_is_named_with_its_first_step(striped, tmp_path, monkeypatch, losses, named):
    poison(monkeypatch, step=6, **losses)
    with pytest.raises(NonFiniteLossError, match=named):
        run(striped, tmp_path)


def test_the_last_good_checkpoint_is_kept_when_training_diverges(striped, tmp_path, monkeypatch):
    with pytest.raises(TrainingStoppedError):
        run(striped, tmp_path / "good", stop_at=8)
    poison(monkeypatch, step=6, generator=math.nan)
    with pytest.raises(NonFiniteLossError, match="last good checkpoint is kept in"):
        run(striped, tmp_path / "bad")
    kept = "state.safetensors"
    assert (tmp_path / "bad" / kept).read_bytes() == (tmp_path / "good" / kept).read_bytes()
    assert not (tmp_path / "bad" / "generator.safetensors").exists()


def test_without_a_checkpoint_the_message_does_not_promise_one(striped, tmp_path, monkeypatch):
    poison(monkeypatch, step=1, generator=math.nan)
    with pytest.raises(NonFiniteLossError, match="no checkpoint was due yet"):
        run(striped, tmp_path, changed(checkpoint_every=3))
    assert files(tmp_path) == {}


def test_weights_broken_by_an_update_are_not_kept(striped, tmp_path, monkeypatch):
    # The loss of step 8 is finite, its update is not: only the loss of step 9 would show it.
    real_step = gan.training.train_step

    def breaking(state, *inputs, **options):
        metrics = real_step(state, *inputs, **options)
        if state.step + 1 == 8:
            with torch.no_grad():
                state.generator.up2.weight[0, 0, 0, 0] = math.nan
        return metrics

    monkeypatch.setattr(gan.training, "train_step", breaking)
    with pytest.raises(NonFiniteLossError, match="generator loss left weights that are not finite at step 8"):
        run(striped, tmp_path)
    monkeypatch.undo()
    assert run(striped, tmp_path)[0].step == 8  # from the checkpoint of step 4


def test_a_learning_rate_beyond_reason_diverges_with_the_clear_error(striped, tmp_path):
    config = changed(learning_rate=1e30, discriminator_learning_rate=1e30, discriminator_norm="none")
    with pytest.raises(NonFiniteLossError, match=r"at step \d+; .*lower gan.learning_rate"):
        run(striped, tmp_path, config)


# The picture after every epoch, and the number with it.


def history(directory: Path) -> list[dict[str, float]]:
    return json.loads((directory / "history.json").read_text())


def test_a_grid_is_written_after_every_epoch_and_at_the_end(striped, tmp_path):
    run(striped, tmp_path, changed(steps=18, grid_every=1))  # 60 images, batches of 8: an epoch is 8 steps
    assert [(record["step"], record["epochs"]) for record in history(tmp_path)] == [
        (8, pytest.approx(8 * 8 / 60)),
        (16, pytest.approx(16 * 8 / 60)),
        (18, pytest.approx(18 * 8 / 60)),
    ]


def test_where_epochs_are_short_a_grid_is_written_every_so_many_steps(striped, tmp_path):
    run(striped, tmp_path, changed(steps=18, grid_every=12))
    assert [record["step"] for record in history(tmp_path)] == [12, 18]


def test_every_record_has_its_picture_and_its_closeness(striped, tmp_path):
    run(striped, tmp_path)
    records = history(tmp_path)
    assert [record["grid"] for record in records] == ["epochs/step-000008.png", "epochs/step-000012.png"]
    assert all((tmp_path / record["grid"]).is_file() for record in records)
    assert all(math.isfinite(record["kernel_distance"]) for record in records)


def test_the_grid_shows_real_images_of_each_class_on_the_left(striped, tmp_path):
    training = Training(striped, config=CONFIG, seed=0, compute=CPU)
    losses = Losses(discriminator=0, generator=0)
    record = look_at_samples(training, training.settled(), tmp_path, losses=losses)
    with Image.open(tmp_path / record.grid) as image:
        picture = np.asarray(image)[::2, ::2]  # without zoom
    for label in range(3):
        of_class = {image.tobytes() for image in striped.images[striped.labels == label, 0]}
        for column in range(8):
            tile = picture[8 * label : 8 * label + 8, 8 * column : 8 * column + 8]
            assert tile.tobytes() in of_class


def test_training_brings_the_samples_closer_to_real(striped, tmp_path):
    run(striped, tmp_path, changed(steps=150, grid_every=10, batch_size=32, generator_width=8, ema_decay=0.9))
    records = history(tmp_path)
    assert records[-1]["kernel_distance"] < 0.5 * records[0]["kernel_distance"]


@pytest.mark.parametrize(
    ("codes", "steps"), [({"reconstruction_weight": 0.0}, 150), ({"encoder": False}, 250), ({"encoder": True}, 250)]
)
def test_samples_have_the_class_they_were_asked_for(striped, tmp_path, codes, steps):
    # Without augmentation, which blurs stripes as fine as these; the discriminator then needs a slower pace.
    options = {"differentiable_augmentation": False, "diversity_weight": 0, "discriminator_learning_rate": 2e-4}
    options |= {**codes, "steps": steps}
    config = changed(batch_size=32, generator_width=8, ema_decay=0.9, snapshots=1, **options)
    run(striped, tmp_path, config)
    generator, _ = load_generator(tmp_path / "generator.safetensors")
    labels = torch.arange(60) % 3
    images = generator(torch.randn(60, 8, generator=torch.Generator().manual_seed(0)), labels)[:, 0]
    rows = (images[:, ::2] - images[:, 1::2]).mean((1, 2))  # bright where even rows are
    columns = (images[:, :, ::2] - images[:, :, 1::2]).mean((1, 2))
    kind = torch.where(rows > 0.5, 0, torch.where(columns > 0.5, 1, 2))
    assert float((kind == labels).float().mean()) > 0.9


def test_the_price_on_lost_diversity_keeps_samples_of_a_class_apart(striped, tmp_path):
    distances = {}
    for weight in (0.0, 5.0):
        options = {"diversity_weight": weight, "learning_rate": 5e-4, "discriminator_learning_rate": 2e-4}
        options |= {"reconstruction_weight": 0}
        config = changed(steps=60, batch_size=32, generator_width=8, ema_decay=0.9, **options)
        run(striped, tmp_path / str(weight), config)
        generator, _ = load_generator(tmp_path / str(weight) / "generator.safetensors")
        labels = torch.arange(60) % 3
        images = generator(torch.randn(60, 8, generator=torch.Generator().manual_seed(0)), labels)
        distances[weight] = float(same_class_distance(images, labels))
    assert distances[5.0] > 1.5 * distances[0.0]


def test_the_generator_learns_to_make_each_training_image_from_its_code(striped, tmp_path):
    blocks = np.random.default_rng(0).integers(0, 256, (12, 1, 2, 2), dtype=np.uint8)  # no two images alike
    few = dataclasses.replace(striped.take(np.arange(12)), images=blocks.repeat(4, 2).repeat(4, 3))
    options = {"differentiable_augmentation": False, "diversity_weight": 0}
    run(few, tmp_path, changed(steps=300, batch_size=24, generator_width=8, ema_decay=0.9, snapshots=1, **options))
    ensemble, _ = load_generator(tmp_path / "generator.safetensors")
    generator = ensemble.members[0]
    made = generator(generator.codes.vectors, generator.codes.labels)
    real = to_unit_range(few.images)
    distances = (made[:, None] - real[None]).square().flatten(2).mean(2)  # (made, real)
    assert torch.equal(generator.codes.labels, torch.from_numpy(few.labels))
    assert float((distances.argmin(1) == torch.arange(12)).float().mean()) > 0.8


def test_without_a_weight_on_reconstruction_there_are_no_codes(striped, tmp_path):
    run(striped, tmp_path, changed(reconstruction_weight=0))
    generator, _ = load_generator(tmp_path / "generator.safetensors")
    assert generator.members[0].codes is None


def test_samples_come_from_snapshots_of_the_second_half(striped, tmp_path):
    config = changed(steps=13, snapshots=3)
    assert snapshot_steps(config) == {13, 11, 9}
    run(striped, tmp_path / "three", config)
    run(striped, tmp_path / "one", changed(steps=13, snapshots=1))
    three, one = (load_generator(tmp_path / name / "generator.safetensors")[0] for name in ("three", "one"))
    assert len(three.members) == 3
    first, *_, last = (member.up2.weight for member in three.members)
    assert not torch.equal(first, last)
    assert torch.equal(last, one.members[0].up2.weight)


def test_every_snapshot_has_batch_statistics_of_its_own_weights(striped, tmp_path):
    run(striped, tmp_path, changed(steps=13, snapshots=3))
    for member in load_generator(tmp_path / "generator.safetensors")[0].members:
        kept = member.norm1.running_mean.clone()
        settle_batch_norm(member, config=CONFIG, num_classes=3, seed=0, compute=CPU)
        assert torch.equal(member.norm1.running_mean, kept)


@given(st.integers(1, 500), st.integers(1, 20))
def test_snapshots_lie_in_the_second_half_and_end_it(steps, snapshots):
    due = snapshot_steps(changed(steps=steps, snapshots=snapshots))
    assert steps in due
    assert min(due) > steps // 2
    assert len(due) == min(snapshots, steps - steps // 2)


def test_many_images_are_seen_undistorted_and_few_are_not():
    few, many = GanConfig().for_subset(9_999), GanConfig().for_subset(10_000)
    assert few.differentiable_augmentation is True
    assert many.differentiable_augmentation is False


def test_diversity_has_its_price_where_images_are_few_and_no_encoder_keeps_it():
    assert GanConfig().for_subset(1_999).diversity_weight == 1
    assert GanConfig().for_subset(2_000).diversity_weight == 0
    assert GanConfig(encoder=False).for_subset(9_999).diversity_weight == 1
    assert GanConfig(encoder=False).for_subset(10_000).diversity_weight == 0


def test_few_images_have_codes_of_their_own_and_many_an_encoder():
    few, many = GanConfig().for_subset(1_999), GanConfig().for_subset(2_000)
    assert (few.encoder, few.reconstruction_weight, few.sample_reach, few.sample_spread) == (False, 3, 0, 2)
    assert (many.encoder, many.reconstruction_weight, many.sample_reach, many.sample_spread) == (True, 5, 0.25, 0.5)
    most = GanConfig().for_subset(10_000)
    assert (most.encoder, most.sample_reach, most.sample_spread) == (True, 0.5, 0.3)
    uneven = GanConfig().for_subset(2_000, imbalance=100)
    assert (uneven.encoder, uneven.reconstruction_weight) == (False, 0)
    assert GanConfig(encoder=True).for_subset(100, imbalance=100).reconstruction_weight == 5
    assert GanConfig(reconstruction_weight=0).for_subset(2_000).encoder is False
    assert GanConfig(encoder=False).for_subset(9_999).reconstruction_weight == 3
    assert GanConfig(encoder=False).for_subset(10_000).reconstruction_weight == 0


def test_an_encoder_without_reconstruction_is_refused():
    with pytest.raises(ValidationError, match="set reconstruction_weight above 0"):
        GanConfig(encoder=True, reconstruction_weight=0)


def test_there_are_codes_where_classes_are_even_and_none_for_a_long_tail(striped, tmp_path):
    even, tail = striped.take(np.arange(36)), striped.take(np.flatnonzero((striped.labels < 2) | (np.arange(60) == 2)))
    for name, subset in (("even", even), ("tail", tail)):  # 20 images of two classes and 1 of the third
        run(subset, tmp_path / name, changed(reconstruction_weight="auto"))
        generator, _ = load_generator(tmp_path / name / "generator.safetensors")
        assert (generator.members[0].codes is not None) == (name == "even")


def test_what_was_asked_for_stays_whatever_the_subset():
    asked = GanConfig(
        architecture="dcgan",
        loss="hinge",
        r1_gamma=0.1,
        r2_gamma=0.2,
        differentiable_augmentation=True,
        diversity_weight=2,
        reconstruction_weight=1.5,
        encoder=False,
        adversarial_weight=0.5,
        sample_reach=0.1,
        sample_spread=0.2,
        policy="natural",
    )
    assert asked.for_subset(60_000, image_shape=(3, 64, 64)) == asked.for_subset(60, imbalance=100) == asked


@pytest.mark.parametrize(("policy", "seen"), [("natural", NATURAL), ("none", None), ("medical", MEDICAL)])
def test_the_discriminator_sees_its_images_as_the_classifiers_do(policy, seen):
    assert seen_through(GanConfig().for_subset(60, policy=policy)) == seen


def test_a_policy_whose_steps_have_no_gradients_is_stood_in_for_by_published_diffaugment():
    assert seen_through(GanConfig().for_subset(60, policy="trivial-augment")) == SHIFTED_AND_TONED
    assert seen_through(GanConfig().for_subset(60, policy="own_views:strong")) == SHIFTED_AND_TONED


def test_changed_images_that_were_asked_for_are_seen_where_classifiers_see_none():
    asked = GanConfig(differentiable_augmentation=True).for_subset(60, policy="none")
    assert seen_through(asked) == Views(deformation=asked.deformation)


def test_training_decides_by_its_own_subset(striped, tmp_path):
    run(striped, tmp_path / "auto", changed(differentiable_augmentation="auto"))
    run(striped, tmp_path / "always", changed(differentiable_augmentation=True))
    assert files(tmp_path / "auto") == files(tmp_path / "always")


# Parts of a step.


def test_class_balanced_batches_are_asked_for(tmp_path, striped):
    rare = striped.take(np.concatenate([np.flatnonzero(striped.labels == 0), np.flatnonzero(striped.labels == 1)[:2]]))
    for asked in (False, True):
        run(rare, tmp_path / str(asked), changed(class_balanced_batches=asked, steps=2))
    assert not torch.equal(weights(tmp_path / "False")["up2.weight"], weights(tmp_path / "True")["up2.weight"])


def test_average_moves_by_one_minus_decay():
    average, network = torch.nn.Linear(2, 2), torch.nn.Linear(2, 2)
    expected = 0.9 * average.weight.detach() + 0.1 * network.weight.detach()
    update_average(average, network, decay=0.9)
    torch.testing.assert_close(average.weight.detach(), expected)


def test_average_without_decay_is_the_network_itself():
    average, network = torch.nn.BatchNorm1d(2), torch.nn.BatchNorm1d(2)
    network(torch.randn(5, 2))
    torch.nn.init.normal_(network.weight)
    update_average(average, network, decay=0.0)
    assert all(torch.equal(average.state_dict()[name], network.state_dict()[name]) for name in network.state_dict())


def test_averaged_generator_follows_the_exponential_average_of_the_generators(striped):
    state = new_state(SUBSET, config=CONFIG, seed=0, compute=CPU)
    images = torch.rand(8, 1, 8, 8)
    expected = state.generator.up2.weight.detach().clone()
    for _ in range(3):
        take_step(state, images=images)
        expected = CONFIG.ema_decay * expected + (1 - CONFIG.ema_decay) * state.generator.up2.weight.detach()
    torch.testing.assert_close(state.ema_generator.up2.weight.detach(), expected)


@pytest.mark.parametrize("frozen", ["generator_optimizer", "discriminator_optimizer"])
def test_each_player_is_moved_by_its_own_optimiser_only(frozen):
    state = new_state(SUBSET, config=CONFIG, seed=0, compute=CPU)
    getattr(state, frozen).param_groups[0]["lr"] = 0.0
    players = {"generator_optimizer": state.generator, "discriminator_optimizer": state.discriminator}
    before = {name: [p.detach().clone() for p in player.parameters()] for name, player in players.items()}
    take_step(state)
    for name, player in players.items():
        stayed = all(torch.equal(a, b) for a, b in zip(before[name], player.parameters(), strict=True))
        assert stayed == (name == frozen)


def test_a_step_trains_the_codes_of_half_of_its_images():
    state = new_state(SUBSET, config=CONFIG, seed=0, compute=CPU)
    before, rows = state.generator.codes.vectors.clone(), torch.tensor([6, 1, 4, 3, 0, 2, 5, 7])
    take_step(state, rows=rows)
    moved = (state.generator.codes.vectors != before).any(1)
    assert moved.nonzero().squeeze(1).tolist() == [1, 3, 4, 6]
    assert torch.equal(state.ema_generator.codes.vectors, state.generator.codes.vectors)


def test_samples_are_made_as_far_from_the_codes_as_was_asked_for():
    near, far = (
        new_state(SUBSET, config=changed(sample_spread=spread), seed=0, compute=CPU).generator for spread in (0.0, 3.0)
    )
    noise = torch.randn(8, 8, generator=torch.Generator().manual_seed(2))
    assert float(torch.corrcoef(torch.stack([near.latent_of(noise, LABELS).flatten(), noise.flatten()]))[0, 1]) < 0.5
    assert float(torch.corrcoef(torch.stack([far.latent_of(noise, LABELS).flatten(), noise.flatten()]))[0, 1]) > 0.8


def test_gradient_penalties_enter_the_discriminators_loss():
    losses = []
    for gamma in (0.0, 10.0):
        config = changed(r1_gamma=gamma, discriminator_norm="none", initialisation="default")
        state = new_state(SUBSET, config=config, seed=0, compute=CPU)
        images = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(1))
        losses.append(float(take_step(state, images=images, config=config).discriminator_loss))
    assert losses[1] > losses[0]


def test_a_settled_generators_image_does_not_depend_on_its_batch():
    state = new_state(SUBSET, config=CONFIG, seed=0, compute=CPU)
    generator = state.ema_generator
    settle_batch_norm(generator, config=CONFIG, num_classes=3, seed=0, compute=CPU)
    latent, labels = torch.randn(9, 8), torch.arange(9) % 3
    together = generator(latent, labels)
    alone = torch.cat([generator(latent[i : i + 1], labels[i : i + 1]) for i in range(9)])
    torch.testing.assert_close(together, alone)


def test_settled_statistics_are_those_of_the_generators_own_activations():
    state = new_state(SUBSET, config=CONFIG, seed=0, compute=CPU)
    generator = state.ema_generator
    torch.nn.init.constant_(generator.norm1.running_mean, 100.0)
    settle_batch_norm(generator, config=CONFIG, num_classes=3, seed=0, compute=CPU)
    latent, labels = torch.randn(2000, 8), torch.arange(2000) % 3
    conditioned = torch.cat([latent, generator.class_embedding(labels)], dim=1)
    features = generator.project(conditioned).view(-1, *generator.coarse_shape)
    torch.testing.assert_close(generator.norm1.running_mean, features.mean((0, 1, 2)), atol=0.02, rtol=0)
    assert generator.norm1.momentum == 0.1


def test_progress_reports_every_20_steps_and_the_last(striped, tmp_path):
    seen = run(striped, tmp_path, changed(steps=45, grid_every=1000, checkpoint_every=1000))
    assert [progress.step for progress in seen] == [20, 40, 45]
    assert seen[-1].remaining_seconds == 0
    assert all(progress.images_per_second > 0 and progress.num_steps == 45 for progress in seen)


def test_the_chapters_dcgan_trains(striped, tmp_path):
    config = chapter_dcgan(steps=2).model_copy(update={"generator_width": 4, "discriminator_width": 4})
    seen = run(striped, tmp_path, config)
    assert seen[-1].generator_loss < 0  # minimax: log(1 - D(G(z)))


@pytest.mark.parametrize("compiled", [False, True])
def test_both_networks_are_compiled_where_that_is_asked_for(striped, monkeypatch, compiled):
    seen = []
    monkeypatch.setattr(torch.nn.Module, "compile", lambda network: seen.append(type(network).__name__))
    Training(striped, config=changed(compiled=compiled), seed=0, compute=CPU).step()
    assert seen == (["Generator", "Discriminator"] if compiled else [])


def test_compiled_networks_cannot_have_penalties():
    with pytest.raises(ValidationError, match="second derivatives"):
        GanConfig(compiled=True, r1_gamma=1.0)


def test_nothing_of_a_training_outlives_it(striped):
    training = Training(striped, config=CONFIG, seed=0, compute=CPU)
    training.step()
    generator = weakref.ref(training.state.generator)
    gc.disable()  # else it may happen to look for cycles
    try:
        del training
        assert generator() is None
    finally:
        gc.enable()
