"""The measuring instrument: a small ConvNet ensemble trained on real images, whose features fidelity is measured in.

Its first member maps an image to 4w features (64 by default); all of them together judge labels. It is the ConvNet
of `evaluation.networks`, trained once per data set with a fixed seed on real *train* images, so figures repeat
anywhere without a download, and its digest is stored beside them.

It may see real train images outside a cell's subset, because it is an instrument like a ruler: nothing of it flows into
a GAN or into a downstream classifier, and no choice of a study rests on it. Half of the train images are held out from
it, and it knows which: a network spreads out what it was trained on, so that a floor made of such images would be no
fair one (`FeatureNetwork.unseen`).
"""

import hashlib
import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import platformdirs
import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from data.base.device import Compute
from data.base.errors import AugmentError, CorruptFileError, first_line
from data.base.files import digest_file, digest_json, write_bytes
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
WAIT_SECONDS = 300.0  # for another process that trains the same instrument, at most


def instrument_directory() -> Path:
    """Return where instruments are kept between runs: the user's cache (`AUGMENT_DATA` may be read-only)."""
    return Path(platformdirs.user_cache_dir("augmentation-gain"))


@dataclass(frozen=True, kw_only=True)
class Outputs:
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
    def measure(self, images: npt.NDArray[np.uint8]) -> Outputs:
        """Map (N, C, H, W) uint8 images to features and class probabilities, in float32 whatever the precision."""
        features = [np.zeros((0, self.members[0].head.in_features), np.float32)]
        probabilities = [np.zeros((0, self.members[0].head.out_features), np.float32)]
        for batch in self._batches(images):
            hidden = [member.layers(batch) for member in self.members]  # each (B, F)
            judged = [member.head(values).softmax(1) for member, values in zip(self.members, hidden, strict=True)]
            features.append(hidden[0].cpu().numpy())
            probabilities.append(torch.stack(judged).mean(0).cpu().numpy())
        return Outputs(features=np.concatenate(features), probabilities=np.concatenate(probabilities))

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
    on_wait: Callable[[], None] = lambda: None,
) -> FeatureNetwork:
    """Return the instrument for `train`, from `cache` where one of the same data, configuration and format lies there.

    Processes that need the same one at once do not train it side by side: one does, the others wait for it. Where
    `cache` cannot be locked nobody waits, and where it cannot be written the instrument is made for this call alone.

    Args:
        on_wait: called once, before another process is waited for.

    Raises:
        AugmentError: training diverged.
    """
    identity = digest_json(
        {"format": FORMAT_VERSION, "train": train.digest(), "config": config.model_dump(mode="json")}
    )
    path = cache / "features" / f"{identity[:16]}.safetensors"
    kept = _kept_network(path, compute=compute)
    if kept is not None:
        return kept
    with _alone(lock_file(path), on_wait=on_wait):
        kept = _kept_network(path, compute=compute)  # the process that was waited for has made it
        if kept is not None:
            return kept
        shown = train.take(_shown_rows(train, config))
        members = tuple(
            _train_member(shown, index, config=config, compute=compute, on_progress=on_progress)
            for index in range(config.members)
        )
        seen = sorted(set(identities(shown)))
        content = _as_file(members, seen=seen, train=train, config=config, identity=identity)
        with suppress(AugmentError):
            write_bytes(path, content)
    digest = hashlib.sha256(content).hexdigest()
    return FeatureNetwork(members=members, compute=compute, digest=digest, seen=frozenset(seen))


def lock_file(path: Path) -> Path:
    """Return what is locked while the instrument at `path` is made."""
    return path.parent.with_name("locks") / path.with_suffix(".lock").name


def _kept_network(path: Path, *, compute: Compute) -> FeatureNetwork | None:
    try:
        return load_feature_network(path, compute=compute)
    except CorruptFileError:
        return None  # a cache: what cannot be read is made again


@contextmanager
def _alone(path: Path, *, on_wait: Callable[[], None]) -> Iterator[None]:
    """Let one process at a time into the block; the system frees the lock of one that died.

    Where there are no locks, as on some network file systems and in folders that cannot be written, nobody waits; and
    nobody waits for ever for a process that hangs.
    """
    lock = FileLock(path)
    with suppress(OSError, NotImplementedError):  # a timeout is an OSError, too
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            on_wait()
            lock.acquire(timeout=WAIT_SECONDS)
    try:
        yield
    finally:
        lock.release()


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


def _as_file(
    members: tuple[ConvNet, ...], *, seen: list[bytes], train: LabelledImages, config: FeaturesConfig, identity: str
) -> bytes:
    """Return the file that holds an instrument; the same one is the same bytes."""
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
    return save(tensors, metadata={"facts": json.dumps(facts, sort_keys=True)})
