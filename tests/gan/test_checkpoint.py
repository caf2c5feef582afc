import copy
import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from data.base.device import Compute
from data.base.errors import AugmentError, CorruptFileError
from data.images import LabelledImages
from gan.checkpoint import load_checkpoint, load_generator, save_checkpoint, save_generator
from gan.config import GanConfig
from gan.game import RealBatch, draws_of_step, train_step
from gan.networks import GeneratorEnsemble
from gan.state import EpochRecord, TrainState
from gan.training import new_state

CPU = Compute(device="cpu", precision="float32")
LABELS = torch.arange(6) % 3
SUBSET = LabelledImages(
    images=np.zeros((6, 1, 8, 8), np.uint8), labels=LABELS.numpy(), rows=np.arange(6), class_names=("a", "b", "c")
)
CONFIG = GanConfig(generator_width=4, discriminator_width=4, latent_dim=8, batch_size=6).for_subset(60)


def fresh(seed: int = 0, config: GanConfig = CONFIG) -> TrainState:
    return new_state(SUBSET, config=config, seed=seed, compute=CPU)


def trained(steps: int = 2, config: GanConfig = CONFIG) -> TrainState:
    state = fresh(config=config)
    for _ in range(steps):
        images = torch.rand(6, 1, 8, 8, generator=state.rng) * 2 - 1
        draws = draws_of_step(config, size=(8, 8), rng=state.rng)
        train_step(state, RealBatch(images, LABELS, torch.arange(6)), draws, config=config, compute=CPU)
        state.step += 1
        state.snapshots.append(copy.deepcopy(state.ema_generator))
    state.history.append(
        EpochRecord(
            step=2,
            epochs=0.1 + 0.2,
            discriminator_loss=1 / 3,
            generator_loss=-1e-9,
            kernel_distance=0.5,
            grid="epochs/step-000002.png",
        )
    )
    return state


def everything(state: TrainState) -> dict[str, torch.Tensor]:
    tensors = {"rng": state.rng.get_state()}
    for name in ("generator", "discriminator", "ema_generator", "code_optimizer"):
        tensors |= {f"{name}.{key}": value for key, value in getattr(state, name).state_dict().items()}
    for place, snapshot in enumerate(state.snapshots):
        tensors |= {f"snapshot{place}.{key}": value for key, value in snapshot.state_dict().items()}
    for name in ("generator_optimizer", "discriminator_optimizer"):
        for index, slots in getattr(state, name).state_dict()["state"].items():
            tensors |= {f"{name}.{index}.{slot}": value for slot, value in slots.items()}
    return tensors


def same(first: TrainState, second: TrainState) -> bool:
    one, other = everything(first), everything(second)
    return (
        one.keys() == other.keys()
        and all(torch.equal(one[name], other[name]) for name in one)
        and (first.step, first.history) == (second.step, second.history)
    )


@pytest.mark.parametrize(
    "changes", [{"discriminator_norm": norm} for norm in ("batch", "spectral", "none")] + [{"architecture": "residual"}]
)
def test_round_trip_is_exact(tmp_path, changes):
    config = CONFIG.model_copy(update=changes)
    state, other = trained(config=config), fresh(seed=1, config=config)
    save_checkpoint(tmp_path / "state", state, identity="x")
    assert load_checkpoint(tmp_path / "state", other, identity="x")
    assert same(state, other)


def test_restored_moments_lie_in_memory_as_the_saved_ones(tmp_path):
    state, other = trained(), fresh(seed=1)
    save_checkpoint(tmp_path / "state", state, identity="x")
    load_checkpoint(tmp_path / "state", other, identity="x")
    for parameter, slots in state.generator_optimizer.state.items():
        assert slots["exp_avg"].stride() == parameter.stride()
    for parameter, slots in other.generator_optimizer.state.items():
        assert slots["exp_avg"].stride() == slots["exp_avg_sq"].stride() == parameter.stride()


def test_untrained_state_round_trips(tmp_path):
    state, other = fresh(), fresh(seed=1)
    save_checkpoint(tmp_path / "state", state, identity="x")
    assert load_checkpoint(tmp_path / "state", other, identity="x")
    assert same(state, other)


def test_same_state_gives_the_same_bytes(tmp_path):
    for name in ("a", "b"):
        save_checkpoint(tmp_path / name, trained(), identity="x")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_another_trainings_checkpoint_is_declined_and_changes_nothing(tmp_path):
    save_checkpoint(tmp_path / "state", trained(), identity="x")
    state = fresh(seed=1)
    assert not load_checkpoint(tmp_path / "state", state, identity="y")
    assert same(state, fresh(seed=1))


def test_missing_checkpoint_is_named(tmp_path):
    with pytest.raises(CorruptFileError, match="missing"):
        load_checkpoint(tmp_path / "state", fresh(), identity="x")


def test_checkpoint_of_other_networks_does_not_fit(tmp_path):
    save_checkpoint(tmp_path / "state", trained(), identity="x")
    wider = fresh(config=CONFIG.model_copy(update={"generator_width": 8}))
    with pytest.raises(CorruptFileError, match="does not fit its networks; delete it"):
        load_checkpoint(tmp_path / "state", wider, identity="x")


@pytest.fixture(scope="module")
def checkpoint_bytes(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("checkpoint") / "state"
    save_checkpoint(path, trained(), identity="x")
    return path.read_bytes()


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 0.999))
def test_a_cut_file_is_refused_wherever_it_was_cut(tmp_path_factory, checkpoint_bytes, share):
    path = tmp_path_factory.mktemp("cut") / "state"
    path.write_bytes(checkpoint_bytes[: int(len(checkpoint_bytes) * share)])
    with pytest.raises(CorruptFileError, match="delete it to train again"):
        load_checkpoint(path, fresh(), identity="x")


@settings(max_examples=40, deadline=None)
@given(share=st.floats(0, 0.999), change=st.integers(1, 255))
def test_an_altered_byte_is_refused_or_without_effect(tmp_path_factory, checkpoint_bytes, share, change):
    path = tmp_path_factory.mktemp("altered") / "state"
    altered = bytearray(checkpoint_bytes)
    altered[int(len(altered) * share)] ^= change
    path.write_bytes(altered)
    state = fresh(seed=1)
    try:
        loaded = load_checkpoint(path, state, identity="x")
    except CorruptFileError:
        return
    # The few bytes of the header that may change: the identity, step, history, white space.
    assert not loaded or all(
        torch.equal(value, everything(trained())[name]) for name, value in everything(state).items()
    )


@settings(max_examples=40, deadline=None)
@given(content=st.binary(max_size=300))
def test_foreign_bytes_are_refused(tmp_path_factory, content):
    path = tmp_path_factory.mktemp("foreign") / "state"
    path.write_bytes(content)
    with pytest.raises(CorruptFileError):
        load_checkpoint(path, fresh(), identity="x")
    with pytest.raises(CorruptFileError):
        load_generator(path)


@pytest.mark.parametrize("facts", [None, "[]", "3", "{}", '{"format_version": 1}', "not JSON"])
def test_safetensors_of_another_program_are_refused(tmp_path, facts):
    save_file({"a": torch.ones(2)}, tmp_path / "state", metadata=None if facts is None else {"facts": facts})
    with pytest.raises(CorruptFileError, match="delete it"):
        load_checkpoint(tmp_path / "state", fresh(), identity="x")
    with pytest.raises(CorruptFileError, match="delete it"):
        load_generator(tmp_path / "state")


@pytest.mark.parametrize("labels", [torch.full((6,), 3), torch.full((6,), -1), torch.zeros(0, dtype=torch.int64)])
def test_codes_of_no_class_are_refused(tmp_path, labels):
    generator = GeneratorEnsemble([trained().ema_generator])
    generator.members[0].codes.labels = labels
    generator.members[0].codes.vectors = torch.zeros(len(labels), 8)
    save_generator(tmp_path / "g", generator, config=CONFIG, image_shape=(1, 8, 8), class_names=("a", "b", "c"))
    with pytest.raises(CorruptFileError, match="codes belong to no class"):
        load_generator(tmp_path / "g")


def test_a_training_state_is_not_a_generator(tmp_path):
    save_checkpoint(tmp_path / "state", trained(), identity="x")
    with pytest.raises(CorruptFileError, match="not a generator"):
        load_generator(tmp_path / "state")


def test_a_write_that_fails_leaves_the_old_checkpoint_and_nothing_half_written(tmp_path, monkeypatch):
    path = tmp_path / "state"
    save_checkpoint(path, trained(), identity="old")
    before = path.read_bytes()

    def full_disk(tensors, file, metadata):
        file.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gan.checkpoint.save_file", full_disk)
    with pytest.raises(AugmentError, match="No space left on device"):
        save_checkpoint(path, trained(3), identity="new")
    assert [file.name for file in tmp_path.iterdir()] == ["state"]
    assert path.read_bytes() == before


def test_generator_round_trip_draws_the_same_images(tmp_path):
    generator = GeneratorEnsemble([trained().ema_generator, trained(3).ema_generator]).eval()
    save_generator(tmp_path / "g", generator, config=CONFIG, image_shape=(1, 8, 8), class_names=("a", "b", "é"))
    loaded, names = load_generator(tmp_path / "g")
    latent, labels = torch.randn(40, 8), torch.tensor([0, 1, 2, 0]).repeat(10)
    assert names == ("a", "b", "é")
    assert not loaded.training
    torch.testing.assert_close(loaded(latent, labels), generator(latent, labels))


def test_records_of_history_keep_their_digits(tmp_path):
    state, other = trained(), fresh()
    save_checkpoint(tmp_path / "state", state, identity="x")
    load_checkpoint(tmp_path / "state", other, identity="x")
    assert dataclasses.asdict(other.history[0]) == dataclasses.asdict(state.history[0])
