"""Checkpoints: tensors in safetensors, everything else in the same file's JSON metadata; one atomic file, no pickle.

`state.safetensors` is what training resumes from. `generator.safetensors` is what samples are drawn from: the
averaged generator's snapshots with their configuration, readable without the rest.
"""

import copy
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from data.base.errors import CorruptFileError
from data.base.files import write_atomically
from gan.architecture import new_generator
from gan.codes import ImageCodes
from gan.config import GanConfig
from gan.networks import GeneratorEnsemble
from gan.state import EpochRecord, TrainState

FORMAT_VERSION = 5
GENERATOR_FILE, HISTORY_FILE = "generator.safetensors", "history.json"


def _write(path: Path, tensors: dict[str, Tensor], facts: dict[str, object]) -> None:
    contiguous = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    facts = {"format_version": FORMAT_VERSION, "tensors": _digest(contiguous), **facts}
    metadata = {"facts": json.dumps(facts, sort_keys=True)}
    write_atomically(path, lambda temporary: save_file(contiguous, temporary, metadata=metadata))


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, object]]:
    try:
        with safe_open(path, framework="pt") as stream:
            facts = json.loads(stream.metadata()["facts"])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a mapping
        version, digest = facts["format_version"], facts.get("tensors")
    except FileNotFoundError as error:
        raise CorruptFileError(f"checkpoint {path} is missing") from error
    except (SafetensorError, OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CorruptFileError(f"checkpoint {path} is corrupt ({error}); delete it to train again") from error
    if version != FORMAT_VERSION:
        raise CorruptFileError(
            f"checkpoint {path} has format {version}, this version reads {FORMAT_VERSION}; delete it to train again"
        )
    if digest != _digest(tensors):
        raise CorruptFileError(f"checkpoint {path} is corrupt (its tensors were altered); delete it to train again")
    return tensors, facts


def _digest(tensors: dict[str, Tensor]) -> str:
    """Return the SHA-256 of names, types and values: safetensors itself notices a cut file, not an altered one."""
    sha = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        sha.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\0".encode())
        sha.update(tensor.numpy().tobytes())
    return sha.hexdigest()


def _networks(state: TrainState) -> dict[str, torch.nn.Module]:
    networks: dict[str, torch.nn.Module] = {
        "generator": state.generator,
        "discriminator": state.discriminator,
        "ema_generator": state.ema_generator,
    }
    if state.code_optimizer is not None:
        networks["code_optimizer"] = state.code_optimizer
    if state.encoder is not None:
        networks["encoder"] = state.encoder
    return networks


def _optimizers(state: TrainState) -> dict[str, torch.optim.Adam]:
    return {"generator_optimizer": state.generator_optimizer, "discriminator_optimizer": state.discriminator_optimizer}


def save_checkpoint(path: Path, state: TrainState, *, identity: str) -> None:
    """Write everything that training needs to continue as if it had never stopped.

    Args:
        identity: digest of configuration, subset and seed; `load_checkpoint` accepts no other.
    """
    tensors = {"rng": state.rng.get_state()}
    for place, snapshot in enumerate(state.snapshots):
        tensors |= {f"snapshot{place}.{key}": value for key, value in snapshot.state_dict().items()}
    for name, network in _networks(state).items():
        tensors |= {f"{name}.{key}": value for key, value in network.state_dict().items()}
    for name, optimizer in _optimizers(state).items():
        for index, slots in optimizer.state_dict()["state"].items():
            tensors |= {f"{name}.{index}.{slot}": value for slot, value in slots.items()}
    history = [asdict(record) for record in state.history]
    facts = {"identity": identity, "step": state.step, "history": history, "snapshots": len(state.snapshots)}
    _write(path, tensors, facts)


def load_checkpoint(path: Path, state: TrainState, *, identity: str) -> bool:
    """Restore `state` in place from `path`; return False, with `state` untouched, where it is another training's.

    Raises:
        CorruptFileError: the file is truncated, altered, or its tensors do not fit the networks; `state` may then
            be half restored and must not be trained.
    """
    tensors, facts = _read(path)
    if facts.get("identity") != identity:
        return False

    def under(prefix: str) -> dict[str, Tensor]:
        return {key[len(prefix) + 1 :]: value for key, value in tensors.items() if key.startswith(prefix + ".")}

    try:
        for name, network in _networks(state).items():
            network.load_state_dict(under(name))
        for name, optimizer in _optimizers(state).items():
            _restore_optimizer(optimizer, under(name))
        state.snapshots = [copy.deepcopy(state.ema_generator) for _ in range(int(str(facts["snapshots"])))]
        for place, snapshot in enumerate(state.snapshots):
            kept = under(f"snapshot{place}")
            if state.encoder is not None:
                codes = ImageCodes(kept["codes.labels"], latent_dim=snapshot.latent_dim)
                snapshot.codes = codes.to(snapshot.class_embedding.weight.device)
            snapshot.load_state_dict(kept)
        state.rng.set_state(tensors["rng"])
        state.step = int(str(facts["step"]))
        state.history = [EpochRecord(**record) for record in facts["history"]]  # type: ignore[attr-defined]
    except (RuntimeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise CorruptFileError(f"checkpoint {path} does not fit its networks; delete it to train again") from error
    return True


def _restore_optimizer(optimizer: torch.optim.Adam, tensors: dict[str, Tensor]) -> None:
    """Put Adam's moments back, laid out in memory like their parameters, as they were when they were saved.

    Raises:
        RuntimeError, IndexError, ValueError: they are not those of the optimiser's parameters.
    """
    parameters = optimizer.param_groups[0]["params"]
    slots: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, slot = key.split(".", 1)
        like = value if value.ndim == 0 else torch.empty_like(parameters[int(index)]).copy_(value)
        slots.setdefault(int(index), {})[slot] = like
    if slots and len(slots) != len(parameters):
        raise ValueError(f"moments of {len(slots)} parameters for {len(parameters)}")
    optimizer.load_state_dict({"state": slots, "param_groups": optimizer.state_dict()["param_groups"]})


def save_generator(
    path: Path,
    generator: GeneratorEnsemble,
    *,
    config: GanConfig,
    image_shape: tuple[int, int, int],
    class_names: tuple[str, ...],
) -> None:
    """Write a generator that `load_generator` can draw samples from, on any machine."""
    facts: dict[str, object] = {
        "config": config.model_dump(mode="json"),
        "image_shape": image_shape,
        "class_names": class_names,
    }
    _write(path, dict(generator.state_dict()), facts)


def load_generator(path: Path) -> tuple[GeneratorEnsemble, tuple[str, ...]]:
    """Read a generator and its class names; the generator is on the CPU, in evaluation mode.

    Raises:
        CorruptFileError: missing, truncated, of another format, or not a generator.
    """
    tensors, facts = _read(path)
    try:
        names = tuple(str(name) for name in facts["class_names"])  # type: ignore[attr-defined]
        channels, height, width = (int(side) for side in facts["image_shape"])  # type: ignore[attr-defined]
        config = GanConfig.model_validate(facts["config"])
        shape = (channels, height, width)
        num_members = len({name.split(".")[1] for name in tensors})
        labels = tensors.get("members.0.codes.labels")
        if labels is not None and not (labels.numel() and 0 <= int(labels.min()) <= int(labels.max()) < len(names)):
            raise ValueError("its codes belong to no class")
        generator = GeneratorEnsemble(
            [
                new_generator(config, image_shape=shape, num_classes=len(names), labels=labels)
                for _ in range(num_members)
            ]
        )
        generator.load_state_dict(tensors)
    except (RuntimeError, KeyError, IndexError, TypeError, ValueError) as error:
        raise CorruptFileError(f"{path} is not a generator that this version can read ({error})") from error
    return generator.eval(), names
