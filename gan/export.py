"""From a generator to a published Parquet data set: shards, card and provenance."""

import secrets
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa

from data.card import CardFacts, dataset_card
from data.device import Compute
from data.errors import AugmentError, UsageError
from data.files import digest_file, read_json, write_json, write_text
from data.parquet import published_shards, write_published_shard
from gan.checkpoint import load_generator
from gan.sampling import sample_shards

GENERATOR_FILE = "generator.safetensors"
PROVENANCE_FILE = "provenance.json"


@dataclass(frozen=True, kw_only=True)
class ExportProgress:
    """How many of the images are written."""

    done: int
    total: int


def export_dataset(
    generator_directory: Path,
    output: Path,
    *,
    num_images: int,
    shard_size: int,
    seed: int,
    compute: Compute,
    on_progress: Callable[[ExportProgress], None],
) -> None:
    """Draw `num_images` class-balanced samples and publish them in `output`, which appears when it is complete.

    Columns: `image` (PNG), `label`, and provenance: `index` in the whole set, `seed`, `generator` digest.

    Raises:
        UsageError: nothing to draw, or `output` is already there.
        CorruptFileError: the generator cannot be read.
        AugmentError: `output` cannot be written.
    """
    if num_images < 1:
        raise UsageError(f"cannot export {num_images} images; ask for 1 or more")
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UsageError(f"{output} is already there; choose another place or remove it first")
    generator_file = generator_directory / GENERATOR_FILE
    generator, class_names = load_generator(generator_file)
    generator_digest = digest_file(generator_file)
    beside = generator_directory / PROVENANCE_FILE
    trained_on = read_json(beside) if beside.exists() else {"source": "unknown: no provenance beside the generator"}

    try:
        output.parent.mkdir(parents=True, exist_ok=True)
        partial = output.with_name(f".{output.name}.{secrets.token_hex(4)}.partial")
        partial.mkdir()
    except OSError as error:
        raise AugmentError(f"cannot write {output}: {error.strerror}; choose another place") from error
    try:
        num_shards = -(-num_images // shard_size)
        shards = sample_shards(
            generator,
            num_images=num_images,
            shard_size=shard_size,
            num_classes=len(class_names),
            seed=seed,
            compute=compute,
        )
        for number, shard in enumerate(shards):
            count = len(shard.labels)
            indices = range(shard.first_index, shard.first_index + count)
            write_published_shard(
                partial / "data" / f"train-{number:05d}-of-{num_shards:05d}.parquet",
                images=shard.images,
                labels=shard.labels,
                names=[f"{index:08d}.png" for index in indices],
                class_names=class_names,
                extra={
                    "index": pa.array(indices, pa.int64()),
                    "seed": pa.array([seed] * count, pa.int64()),
                    "generator": pa.array([generator_digest] * count, pa.string()),
                },
            )
            on_progress(ExportProgress(done=shard.first_index + count, total=num_images))
        files = published_shards(partial)
        facts = CardFacts(
            title=f"Synthetic {trained_on['source']}",
            num_images=num_images,
            num_bytes=sum(path.stat().st_size for path in files),
            image_shape=generator.image_shape,
            class_names=class_names,
            source=str(trained_on["source"]),
            generator_digest=generator_digest,
            seed=seed,
            extra_columns=(("index", "int64"), ("seed", "int64"), ("generator", "string")),
        )
        write_text(partial / "README.md", dataset_card(facts))
        provenance = {
            "trained_on": trained_on,
            "generator": generator_digest,
            "seed": seed,
            "num_images": num_images,
            "shard_size": shard_size,
            "compute": compute.as_dict(),
            "files": {str(path.relative_to(partial)): digest_file(path) for path in files},
        }
        write_json(partial / PROVENANCE_FILE, provenance)
        if output.exists():
            output.rmdir()
        partial.rename(output)
    except OSError as error:
        raise AugmentError(f"cannot write {output}: {error.strerror or error}; nothing was left there") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
