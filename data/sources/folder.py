"""`folder:PATH`: one folder a class, images inside; optionally below `train/` and `test/`."""

from pathlib import Path

import numpy as np

from data.base.errors import AugmentError, CorruptFileError, UsageError
from data.base.limits import MAX_CLASSES, MAX_ENCODED_BYTES, MAX_IMAGES, check_limit
from data.base.names import check_class_name
from data.config import DataConfig
from data.decoding import decode_image
from data.images import LabelledImages
from data.sources.collecting import ImageCollector
from data.sources.source import Source, UserImages, split_source

IMAGE_SUFFIXES = frozenset({".png", ".jpg", ".jpeg", ".bmp", ".webp"})


def load_folder(path: Path, config: DataConfig) -> Source:
    """Read a folder of class folders. Files without an image's suffix are left out, and counted in the warning.

    Raises:
        UsageError: no such folder.
        AugmentError: no class folders, an empty one, mixed sizes, too much, or classes that differ between splits.
        CorruptFileError: an image cannot be read.
    """
    name = f"folder:{path}"
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder; folder:PATH takes a folder with one folder a class")
    has_splits = (path / "train").is_dir() and (path / "test").is_dir()
    roots = [path / "train", path / "test"] if has_splits else [path]
    class_names = _class_names(roots[0])
    if has_splits:
        unknown = sorted(set(_class_names(roots[1])) - set(class_names))
        if unknown:
            raise AugmentError(f"{roots[1] / unknown[0]}: class {unknown[0]!r} has no folder in {roots[0]}; add one")

    collector = ImageCollector(name=name, resize=config.resize or None)
    labels: list[list[int]] = []
    num_ignored = 0
    for root in roots:
        of_root: list[int] = []
        for label, class_name in enumerate(class_names):
            files, ignored = _image_files(root / class_name)
            num_ignored += ignored
            if not files and root == roots[0]:
                raise AugmentError(f"{root / class_name} holds no {', '.join(sorted(IMAGE_SUFFIXES))} file; remove it")
            check_limit(len(collector) + len(files), MAX_IMAGES, what=f"{name}: number of images")
            for file in files:
                collector.add(decode_image(_content(file), where=str(file)), where=str(file))
            of_root += [label] * len(files)
        labels.append(of_root)

    facts = collector.facts() + ((f"{num_ignored} files that are no images were left out",) if num_ignored else ())
    resized_from = collector.resized_from
    images = collector.finish()
    parts = [
        LabelledImages(
            images=part,
            labels=np.array(of_root, np.int64),
            rows=np.arange(len(of_root), dtype=np.int64),
            class_names=class_names,
        )
        for part, of_root in zip(np.split(images, [len(labels[0])]), labels, strict=False)
    ]
    user = UserImages(
        name=name, train=parts[0], test=parts[1] if has_splits else None, facts=facts, resized_from=resized_from
    )
    return split_source(user, share=config.test_share, seed=config.test_seed)


def _class_names(root: Path) -> tuple[str, ...]:
    try:
        folders = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise CorruptFileError(f"cannot list {root}: {error.strerror or error}") from error
    if not folders:
        raise AugmentError(f"{root} holds no class folders; put the images of each class into a folder of its own")
    check_limit(len(folders), MAX_CLASSES, what=f"{root}: number of class folders")
    return tuple(check_class_name(folder, where=str(root)) for folder in folders)


def _image_files(folder: Path) -> tuple[list[Path], int]:
    if not folder.is_dir():
        return [], 0
    try:
        entries = [entry for entry in folder.iterdir() if not entry.name.startswith(".")]
    except OSError as error:
        raise CorruptFileError(f"cannot list {folder}: {error.strerror or error}") from error
    files = sorted(entry for entry in entries if entry.suffix.lower() in IMAGE_SUFFIXES and entry.is_file())
    return files, len(entries) - len(files)


def _content(file: Path) -> bytes:
    try:
        check_limit(file.stat().st_size, MAX_ENCODED_BYTES, what=f"{file}: size in bytes")
        return file.read_bytes()
    except OSError as error:
        raise CorruptFileError(f"cannot read {file}: {error.strerror or error}") from error
