"""What only a machine with a GPU can tell: recorded steps train as steps run one by one do."""

import pytest
import torch

import data.base.cuda_graphs
from data.base.device import Compute
from data.images import LabelledImages
from gan.checkpoint import load_generator
from gan.config import GanConfig
from gan.training import Training, train

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")

FLOAT32 = Compute(device="cuda", precision="float32")
SMALL = GanConfig(batch_size=16, generator_width=8, discriminator_width=8, latent_dim=8, steps=12, grid_every=6)
CONFIGS = {
    "few images": SMALL.for_subset(60),
    "many images": SMALL.for_subset(10**6),
    "no codes": SMALL.model_copy(update={"reconstruction_weight": 0}).for_subset(60),
    "relativistic": SMALL.model_copy(
        update={"loss": "relativistic", "r1_gamma": 1.0, "r2_gamma": 1.0, "discriminator_norm": "none"}
    ).for_subset(60),
    "residual": SMALL.model_copy(update={"architecture": "residual"}).for_subset(60),
    "compiled": SMALL.model_copy(update={"compiled": True}).for_subset(60),
    "spectral": SMALL.model_copy(update={"discriminator_norm": "spectral"}).for_subset(60),
}


def weights_after(steps: int, subset: LabelledImages, config: GanConfig, compute: Compute) -> dict[str, torch.Tensor]:
    training = Training(subset, config=config, seed=0, compute=compute)
    for _ in range(steps):
        training.step()
    return {name: value.float() for name, value in training.state.generator.state_dict().items()}


@pytest.mark.parametrize("name", CONFIGS)
def test_recorded_steps_train_as_steps_run_one_by_one(striped, monkeypatch, name):
    recorded = weights_after(8, striped, CONFIGS[name], FLOAT32)
    monkeypatch.setattr(data.base.cuda_graphs, "WARM_UP", 10**9)
    one_by_one = weights_after(8, striped, CONFIGS[name], FLOAT32)
    at_first = weights_after(0, striped, CONFIGS[name], FLOAT32)
    for part, value in one_by_one.items():
        moved = float((value - at_first[part]).abs().max())
        assert float((value - recorded[part]).abs().max()) <= 0.2 * moved, part
    assert any(not torch.equal(value, at_first[part]) for part, value in one_by_one.items())


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
def test_an_interrupted_training_goes_on(striped, tmp_path, precision):
    compute = Compute(device="cuda", precision=precision)
    config = CONFIGS["few images"].model_copy(update={"checkpoint_every": 5})

    class StoppedError(Exception):
        pass

    def stop(progress):
        if progress.step == 6:
            raise StoppedError

    with pytest.raises(StoppedError):
        train(striped, tmp_path / "stopped", config=config, seed=0, compute=compute, on_progress=stop)
    for name in ("stopped", "whole"):
        train(striped, tmp_path / name, config=config, seed=0, compute=compute, on_progress=lambda _: None)
    stopped, whole = (
        load_generator(tmp_path / name / "generator.safetensors")[0].state_dict() for name in ("stopped", "whole")
    )
    fresh = Training(striped, config=config, seed=0, compute=compute).state.generator
    moved = (whole["members.0.up2.weight"] - fresh.up2.weight.detach().cpu()).abs().max()
    assert (whole["members.0.up2.weight"] - stopped["members.0.up2.weight"]).abs().max() <= 0.3 * moved
