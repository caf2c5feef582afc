"""Images that somebody else's generator made: read in any form, and checked before they count as a cell's samples."""

import json
from functools import lru_cache
from pathlib import Path

import numpy as np
import numpy.typing as npt

from data.base.errors import UsageError
from data.base.files import digest_file, digest_json, given_path, is_there
from data.base.names import folder_names
from data.config import DataConfig
from data.decoding import encode_pngs
from data.images import LabelledImages
from data.parquet import write_published_shard
from data.sources.advice import likely_dataset
from data.sources.registry import load_whole

OUTPUT_SUFFIXES = ("", ".npz", ".parquet", ".csv")  # of what a command writes at {output}: np.savez adds its own


def write_parquet(folder: Path, images: LabelledImages) -> None:
    """Write images as a Parquet data set in Hugging Face's layout."""
    write_published_shard(
        folder / "data" / "train-00000-of-00001.parquet",
        encoded=encode_pngs(images.images),
        labels=images.labels,
        names=[f"{number:08d}.png" for number in range(len(images))],
        class_names=images.class_names,
        extra={},
    )


def write_folder(folder: Path, images: LabelledImages) -> None:
    """Write images as PNG files, one folder a class."""
    folders = [folder / name for name in folder_names(images.class_names)]
    for place in folders:
        place.mkdir(parents=True, exist_ok=True)
    for number, (label, content) in enumerate(zip(images.labels, encode_pngs(images.images), strict=True)):
        (folders[label] / f"{number:08d}.png").write_bytes(content)


def write_npz(file: Path, images: LabelledImages) -> None:
    """Write images (N, H, W) or (N, H, W, 3) uint8, labels (N,) int64 and class_names (K,) as a NumPy archive."""
    pixels = images.images.transpose(0, 2, 3, 1)
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        file,
        images=pixels[..., 0] if pixels.shape[-1] == 1 else pixels,
        labels=images.labels,
        class_names=np.array(images.class_names),
    )


def written_at(output: Path) -> Path | None:
    """Return what a command wrote at {output}, with a usual suffix or without; None where there is nothing."""
    for suffix in OUTPUT_SUFFIXES:
        place = output.with_name(output.name + suffix)
        if place.is_file() or (place.is_dir() and any(place.iterdir())):
            return place
    return None


def dataset_at(path: str) -> str:
    """Return a path as `KIND:PATH`: as it was given, or by what lies there.

    Raises:
        UsageError: there is nothing there, or nothing that is known.
    """
    if ":" in path and not is_there(path):
        return path
    place = given_path(path)
    if not place.exists():
        raise UsageError(f"there is nothing at {path}")
    found = likely_dataset(place)
    if not found:
        raise UsageError(
            f"what lies at {path} is no data set that is known by its looks; write KIND:{path}, with KIND folder, "
            "parquet, arrow, npz, csv, jsonl or idx"
        )
    return found


def read_made(dataset: str, *, real: LabelledImages, resize: int = 0) -> LabelledImages:
    """Read generated images, all of them whatever splits they lie in, with the labels of the real ones.

    Args:
        dataset: `KIND:PATH`.
        real: what gives shape and classes.
        resize: side in pixels that all images get; 0: they must have the real ones'.

    Raises:
        UsageError: other sizes, colour where the real images have none, or other classes.
        AugmentError: it cannot be read.
    """
    source = load_whole(DataConfig(dataset=dataset, resize=resize, validation="train"))
    if source.resized_from is not None and not resize:
        raise UsageError(f"{dataset}: its images are {_size(source.resized_from)} pixels, {_wanted_size(real)}")
    return like_real(source.train, real=real, what=dataset)


@lru_cache(maxsize=2)
def read_ready_made(
    dataset: str, shape: tuple[int, int, int], class_names: tuple[str, ...], resize: int
) -> LabelledImages:
    """Read images that are there already, once per process, for a study of images of this shape and these classes.

    Args:
        resize: side in pixels that all images get, as the real ones did; 0: none.
    """
    nothing = np.empty(0, np.int64)
    real = LabelledImages(images=np.empty((0, *shape), np.uint8), labels=nothing, rows=nothing, class_names=class_names)
    return read_made(dataset, real=real, resize=resize)


def digest_of_files(dataset: str) -> str:
    """Return a digest of the files at the path of `KIND:PATH`, whatever they hold; of nothing where they are gone."""
    path = given_path(dataset.partition(":")[2])
    files = [path] if path.is_file() else sorted(place for place in path.rglob("*") if place.is_file())
    return digest_json({file.relative_to(path).as_posix(): digest_file(file) for file in files})


def like_real(images: LabelledImages, *, real: LabelledImages, what: str) -> LabelledImages:
    """Return generated images with the channels and the labels of the real ones.

    Raises:
        UsageError: another size, colour where there is none, or other classes.
    """
    channels, *size = images.shape
    if tuple(size) != real.shape[1:]:
        raise UsageError(f"{what}: its images are {_size((size[0], size[1]))} pixels, {_wanted_size(real)}")
    pixels = images.images
    if channels != real.shape[0]:
        if real.shape[0] == 1:
            raise UsageError(f"{what}: its images have colour, the real ones are grayscale; write grayscale images")
        pixels = np.repeat(pixels, real.shape[0], axis=1)
    numbers = _numbers_of_classes(images.class_names, real.class_names, what=what)
    return LabelledImages(
        images=pixels,
        labels=numbers[images.labels],
        rows=np.arange(len(images), dtype=np.int64),
        class_names=real.class_names,
    )


def checked_arrays(images: object, labels: object, *, real: LabelledImages, what: str) -> LabelledImages:
    """Return the arrays that a function returned as labelled images.

    Raises:
        UsageError: no arrays, of another type, shape or length, or labels that no class has.
    """
    try:
        pixels, numbers = np.asarray(images), np.asarray(labels)
    except Exception as error:  # any array-like may refuse, in its own way
        raise UsageError(f"{what} returned something that is no array ({type(images).__name__})") from error
    if pixels.ndim == 3 and real.shape[0] == 1:
        pixels = pixels[:, None]
    if pixels.dtype != np.uint8:
        raise UsageError(f"{what} returned images of type {pixels.dtype}; return uint8 from 0 to 255")
    if pixels.ndim != 4 or pixels.shape[1:] != real.shape:
        raise UsageError(
            f"{what} returned images of shape {pixels.shape}; return (N, {', '.join(map(str, real.shape))})"
        )
    if numbers.ndim == 2 and numbers.shape[1] == 1:
        numbers = numbers[:, 0]
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        raise UsageError(
            f"{what} returned labels of shape {numbers.shape} and type {numbers.dtype}; return (N,) integers"
        )
    if len(numbers) != len(pixels):
        raise UsageError(f"{what} returned {len(pixels):,} images and {len(numbers):,} labels")
    if len(numbers) and not 0 <= numbers.min() <= numbers.max() < real.num_classes:
        wrong = numbers.min() if numbers.min() < 0 else numbers.max()
        raise UsageError(f"{what} returned the label {wrong}; there are 0 to {real.num_classes - 1}")
    return LabelledImages(
        images=np.ascontiguousarray(pixels),
        labels=numbers.astype(np.int64),
        rows=np.arange(len(numbers), dtype=np.int64),
        class_names=real.class_names,
    )


def first_of_each(images: LabelledImages, *, real: LabelledImages, most: int, least: int, what: str) -> LabelledImages:
    """Return the first `most` images of each class that the real ones have.

    Raises:
        UsageError: a class has fewer than `least`.
    """
    counts = images.class_counts()
    for label in np.flatnonzero(real.class_counts() > 0):
        if counts[label] < least:
            raise UsageError(
                f"{what}: {counts[label]:,} of the {least:,} images of class {real.class_names[label]!r} are there"
            )
    kept = [np.flatnonzero(images.labels == label)[:most] for label in range(images.num_classes)]
    return images.take(np.sort(np.concatenate(kept)).astype(np.int64))


def _numbers_of_classes(names: tuple[str, ...], real: tuple[str, ...], *, what: str) -> npt.NDArray[np.int64]:
    """Return the real label of each class: by name, by the name of its folder, or by its number."""
    by_name = {name: label for label, name in enumerate(folder_names(real))} | {
        name: label for label, name in enumerate(real)
    }
    if all(name in by_name for name in names):
        return np.array([by_name[name] for name in names], np.int64)
    if all(name.isdecimal() and int(name) < len(real) for name in names):
        return np.array([int(name) for name in names], np.int64)
    other = next(name for name in names if name not in by_name)
    shown = ", ".join(real[:10]) + (", …" if len(real) > 10 else "")
    raise UsageError(f"{what}: the class {json.dumps(other, ensure_ascii=False)} is none of the real ones: {shown}")


def _size(size: tuple[int, int]) -> str:
    return f"{size[0]}x{size[1]}"


def _wanted_size(real: LabelledImages) -> str:
    return (
        f"the real ones {_size((real.shape[1], real.shape[2]))}; make them of that size, or give images that are there "
        "already and the real ones one size: --set data.resize=N (augment judge: --resize N)"
    )
