"""The measuring instrument: a small ConvNet ensemble trained on real images, whose features fidelity is measured in.

Its first member maps an image to 4w features (64 by default); all of them together judge labels. It is the ConvNet
of `evaluation.networks`, trained once per data set with a fixed seed on real *train* images, so figures repeat
anywhere without a download, and its digest is stored beside them.

It may see real train images outside a cell's subset, because it is an instrument like a ruler: nothing of it flows into
a GAN or into a downstream classifier, and no choice of a study rests on it. Half of the train images are held out from
it, and it knows which: a network spreads out what it was trained on, so that a floor made of such images would be no
fair one (`FeatureNetwork.unseen`).
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from data.base.device import Compute
from data.base.errors import CorruptFileError, first_line
from data.base.files import digest_file, digest_json, write_atomically
from data.base.randomness import child_seed, numpy_stream
from data.images import LabelledImages, identities
from data.sources.source import hold_out
from data.tensors import to_unit_range
from evaluation.config import ClassifierConfig, FeaturesConfig
from evaluation.fitting import ClassifierProgress, FitOptions
from evaluation.networks import PREDICTION_BATCH, ConvNet, fit_convnet
from evaluation.training_set import TrainingSet

FORMAT_VERSION = 3
HELD_OUT = 0.5  # of the train images


def instrument_directory() -> Path:
    """Return where instruments are kept between runs: the user's cache (`AUGMENT_DATA` may be read-only)."""
    return Path(platformdirs.user_cache_dir("augmentation-gain"))


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What the instrument says about N images.

    Attributes:
        features: (N, num_features) float32, penultimate layer of the first member.
        probabilities: (N, num_classes) float32, mean over members.
    """

    features: npt.NDArray[np.float32]
    probabilities: npt.NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class FeatureNetwork:
    """A trained instrument.

    Attributes:
        members: ConvNets in evaluation mode, on the device of `compute`.
        digest: SHA-256 of the file that holds it.
        seen: identities of the images that it was trained on.
    """

    members: tuple[ConvNet, ...]
    compute: Compute
    digest: str
    seen: frozenset[bytes]

    def unseen(self, images: LabelledImages) -> LabelledImages:
        """Return the images that it was not trained on; all of them where there are no others."""
        new = [row for row, identity in enumerate(identities(images)) if identity not in self.seen]
        return images.take(np.array(new, np.int64)) if new else images

    @torch.no_grad()
    def measure(self, images: npt.NDArray[np.uint8]) -> Measurement:
        """Map (N, C, H, W) uint8 images to features and class probabilities, in float32 whatever the precision."""
        features = [np.zeros((0, self.members[0].head.in_features), np.float32)]
        probabilities = [np.zeros((0, self.members[0].head.out_features), np.float32)]
        for batch in self._batches(images):
            hidden = [member.layers(batch) for member in self.members]  # each (B, F)
            judged = [member.head(values).softmax(1) for member, values in zip(self.members, hidden, strict=True)]
            features.append(hidden[0].cpu().numpy())
            probabilities.append(torch.stack(judged).mean(0).cpu().numpy())
        return Measurement(features=np.concatenate(features), probabilities=np.concatenate(probabilities))

    @torch.no_grad()
    def features(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Map (N, C, H, W) uint8 images to features (N, num_features) float32 alone, which is quicker."""
        parts = [np.zeros((0, self.members[0].head.in_features), np.float32)]
        parts += [self.members[0].layers(batch).cpu().numpy() for batch in self._batches(images)]
        return np.concatenate(parts)

    def _batches(self, images: npt.NDArray[np.uint8]) -> Iterator[Tensor]:
        for start in range(0, len(images), PREDICTION_BATCH):
            batch = to_unit_range(images[start : start + PREDICTION_BATCH]).to(self.compute.device)
            yield batch.contiguous(memory_format=torch.channels_last)


def feature_network(
    train: LabelledImages,
    cache: Path,
    *,
    config: FeaturesConfig,
    compute: Compute,
    on_progress: Callable[[ClassifierProgress], None],
) -> FeatureNetwork:
    """Return the instrument for `train`, from `cache` where one of the same data, configuration and format lies there.

    Raises:
        AugmentError: training diverged, or `cache` cannot be written.
    """
    identity = digest_json(
        {"format": FORMAT_VERSION, "train": train.digest(), "config": config.model_dump(mode="json")}
    )
    path = cache / "features" / f"{identity[:16]}.safetensors"
    if path.exists():
        try:
            return load_feature_network(path, compute=compute)
        except CorruptFileError:
            path.unlink()  # a cache: what cannot be read is made again
    shown = train.take(_shown_rows(train, config))
    members = tuple(
        _train_member(shown, index, config=config, compute=compute, on_progress=on_progress)
        for index in range(config.members)
    )
    seen = sorted(set(identities(shown)))
    _save(path, members, seen=seen, train=train, config=config, identity=identity)
    return FeatureNetwork(members=members, compute=compute, digest=digest_file(path), seen=frozenset(seen))


def _shown_rows(train: LabelledImages, config: FeaturesConfig) -> npt.NDArray[np.int64]:
    """Return the rows of the half that the instrument sees, every class in its share; a group is not divided."""
    units = None
    if train.groups is not None:
        units = np.where(train.groups >= 0, train.groups, train.groups.max() + 1 + np.arange(len(train)))
    return hold_out(train.labels, share=HELD_OUT, seed=child_seed(config.seed, "features"), units=units)[0]


def load_feature_network(path: Path, *, compute: Compute) -> FeatureNetwork:
    """Read an instrument that `feature_network` saved.

    Raises:
        CorruptFileError: missing, truncated, of another format, or not an instrument.
    """
    try:
        with safe_open(path, framework="pt") as stream:
            facts = json.loads(stream.metadata()["facts"])
            tensors = {name: stream.get_tensor(name) for name in stream.keys()}  # noqa: SIM118 - not a mapping
        seen = frozenset(row.tobytes() for row in tensors.pop("seen").numpy())
        if facts["format_version"] != FORMAT_VERSION:
            raise ValueError(f"format {facts['format_version']}, this version reads {FORMAT_VERSION}")
        config = FeaturesConfig.model_validate(facts["config"])
        members = []
        for index in range(config.members):
            member = ConvNet(_classifier(config), channels=facts["channels"], num_classes=facts["num_classes"])
            prefix = f"{index}."
            member.load_state_dict(
                {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
            )
            members.append(member.to(compute.device).to(memory_format=torch.channels_last).eval())
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise CorruptFileError(f"{path} does not hold a feature network ({first_line(error)}); delete it") from error
    return FeatureNetwork(members=tuple(members), compute=compute, digest=digest_file(path), seen=seen)


def _classifier(config: FeaturesConfig) -> ClassifierConfig:
    return ClassifierConfig(steps=config.steps, batch_size=config.batch_size, width=config.width)


def _train_member(
    shown: LabelledImages,
    index: int,
    *,
    config: FeaturesConfig,
    compute: Compute,
    on_progress: Callable[[ClassifierProgress], None],
) -> ConvNet:
    rng = numpy_stream(config.seed, "features", index)
    rows = np.sort(rng.permutation(len(shown))[: config.images]).astype(np.int64)
    training = TrainingSet(base=shown.take(rows), added=None, policy=None)
    options = FitOptions(
        config=_classifier(config),
        added_shares=(0.5, 0.5),
        seed=child_seed(config.seed, "features", index),
        compute=Compute(device=compute.device, precision="float32"),  # the ruler does not depend on the precision
        on_progress=on_progress,
    )
    return fit_convnet(training, options).network


def _save(
    path: Path,
    members: tuple[ConvNet, ...],
    *,
    seen: list[bytes],
    train: LabelledImages,
    config: FeaturesConfig,
    identity: str,
) -> None:
    tensors = {"seen": torch.frombuffer(bytearray(b"".join(seen)), dtype=torch.uint8).view(len(seen), -1)}
    tensors |= {
        f"{index}.{name}": value.detach().cpu().contiguous()
        for index, member in enumerate(members)
        for name, value in member.state_dict().items()
    }
    facts = {
        "format_version": FORMAT_VERSION,
        "identity": identity,
        "config": config.model_dump(mode="json"),
        "channels": train.shape[0],
        "num_classes": train.num_classes,
    }
    metadata = {"facts": json.dumps(facts, sort_keys=True)}
    write_atomically(path, lambda temporary: save_file(tensors, temporary, metadata=metadata))
