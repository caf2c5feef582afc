"""`folder:PATH`: one folder a class, images inside or below; optionally in folders for splits above or below these."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from data.base.errors import AugmentError, CorruptFileError, UsageError
from data.base.files import given_path
from data.base.limits import MAX_IMAGES, check_limit
from data.base.names import natural_key
from data.config import UNSPLIT, DataConfig
from data.publishing.class_names import published_classes
from data.sources.advice import suggestion
from data.sources.reading import Found, Record, read_found, read_image_file, read_unlabelled
from data.sources.source import Source
from data.sources.splits import Split, assign_roles, split_named
from data.unlabelled import UnlabelledSource

IMAGE_SUFFIXES = frozenset({
    ".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".bmp", ".webp", ".tif", ".tiff", ".gif", ".pgm", ".ppm", ".pnm"
})  # fmt: skip
TAKES = "folder:PATH takes a folder with one folder a class"
_MAX_WRAPPERS = 3
_SHOWN = 5

Parts = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class _Tree:
    """What lies below a folder.

    Attributes:
        files: images, as parts of their paths below `root`, in order.
        left_out: other files, counted by reason.
        empty: folders directly below `root` that hold no image.
    """

    root: Path
    files: tuple[Parts, ...]
    left_out: Counter[str]
    empty: tuple[str, ...]

    @property
    def tops(self) -> tuple[str, ...]:
        """Return the folders directly below that hold images, in natural order."""
        return tuple(dict.fromkeys(parts[0] for parts in self.files if len(parts) > 1))


@dataclass(frozen=True, kw_only=True)
class _Image:
    """An image file: of its path's parts below `root` one names the class, those from `inner_at` on lie inside it."""

    root: Path
    parts: Parts
    class_at: int
    inner_at: int

    @property
    def file(self) -> Path:
        return self.root.joinpath(*self.parts)

    @property
    def folder(self) -> str:
        """Return the name of the class's folder."""
        return self.parts[self.class_at]

    def group(self, level: int) -> str | None:
        """Return the name of the folder `level` levels inside the class, where there is one."""
        position = self.inner_at + level - 1
        return self.parts[position] if level and position < len(self.parts) - 1 else None


Splits = dict[Split, list[_Image]]


@dataclass(frozen=True, kw_only=True)
class _Layout:
    """Images by split, and how they were found to be laid out."""

    root: Path
    splits: Splits
    lines: tuple[str, ...]
    facts: tuple[str, ...]


def load_folder(path: Path, config: DataConfig) -> Source:
    """Read a folder of class folders. Files that are no images are left out, and counted by reason in the warning.

    Raises:
        UsageError: no such folder.
        AugmentError: no class folders, or folders of which some look like splits and others do not.
        CorruptFileError: a folder cannot be listed.
        Further ones as `read_found`.
    """
    found = _layout(path, config)
    splits: Splits = dict(found.splits)
    named_test = None
    if config.test:
        other = _layout(given_path(config.test), config).splits
        named_test = other.get("test") or [one for of_split in other.values() for one in of_split]
        taken = {one.file.resolve() for one in named_test}
        splits = {split: [one for one in of if one.file.resolve() not in taken] for split, of in splits.items()}
    describe = partial(_described, root=found.root)
    roles = assign_roles(splits, config, where=str(path), describe=describe, named_test=named_test)
    published = published_classes(path) or published_classes(found.root)

    of_train = {image.folder for image in roles.train}
    if len(of_train) == 1 and config.test_share != UNSPLIT:
        raise AugmentError(
            f"{path}: the {len(roles.train):,} images to train on all lie in one class folder, {of_train.pop()!r}; "
            "give a folder that holds one folder for each class"
        )
    titles = dict(zip(published.folders, published.names, strict=True)) if published else {}

    def title(image: _Image) -> str:
        return titles.get(image.folder, image.folder)

    def records(images: Sequence[_Image]) -> Iterator[Record]:
        for image in images:
            file = image.file
            read = partial(read_image_file, file, ground=config.ground)
            yield Record(str(file), read, title(image), image.group(config.group_level))

    return read_found(
        Found(
            where=f"folder:{path}",
            base=path,
            train=records(roles.train),
            test=None if roles.test is None else records(roles.test),
            class_names=None if published is None else published.with_others(title(image) for image in roles.train),
            layout=(*found.lines, *roles.layout),
            facts=(*found.facts, *roles.facts),
        ),
        config,
    )


def folder_images(path: Path, config: DataConfig) -> UnlabelledSource:
    """Read all images in a folder and below, in whatever folders; their names mean nothing.

    Raises:
        UsageError: no such folder, or no image in it.
        CorruptFileError: a folder cannot be listed.
        Further ones as `read_unlabelled`.
    """
    if not path.is_dir():
        raise UsageError(f"{path} is not a folder; {suggestion(path, kind='folder') or 'folder:PATH takes a folder'}")
    tree = _listed(path)
    check_limit(len(tree.files), MAX_IMAGES, what=f"{path}: number of images")
    if not tree.files:
        raise UsageError(f"{path} holds no image; {suggestion(path, kind='folder') or 'give the folder of the images'}")

    def records() -> Iterator[Record]:
        for parts in tree.files:
            file = path.joinpath(*parts)
            yield Record(str(file), partial(read_image_file, file, ground=config.ground), None)

    return read_unlabelled(Found(where=f"folder:{path}", base=path, train=records(), test=None), config)


def _layout(path: Path, config: DataConfig) -> _Layout:
    """Find out where the classes are: in `path`, below folders for splits, or above them."""
    tree, wrappers = _unwrapped(path)
    check_limit(len(tree.files), MAX_IMAGES, what=f"{path}: number of images")
    tops = tree.tops
    if not tops:
        beside = " (its images lie in no folder)" if tree.files else ""
        advice = suggestion(path, kind="folder") or "put the images of each class into a folder of its own"
        if not tree.files and tree.left_out:
            (reason, count), *_ = tree.left_out.most_common(1)
            read = ", ".join(suffix[1:].upper() for suffix in sorted(IMAGE_SUFFIXES))
            beside = f" with images that can be read ({read}); it has {count:,} {reason}"
            advice = suggestion(path, kind="folder") or "convert images of other kinds to PNG"
        raise AugmentError(f"{tree.root} holds no class folders{beside}; {advice}")
    split_of = {top: split for top in tops if (split := split_named(top)) is not None}
    class_at = _class_levels(tree, split_of)
    with_folders = {parts[0] for parts in tree.files if len(parts) > class_at.get(parts[0], 1) + 1}
    above = {top: split for top, split in split_of.items() if top in with_folders}
    others = [top for top in tops if top not in above]
    flat = [top for top in others if split_of.get(top) not in (None, "train")]
    if "train" in above.values() and flat and len(flat) == len(others) and config.test_split == "use":
        raise UsageError(
            f"{tree.root}: {flat[0]}/ holds images in no class folder, so they have no labels; leave them out with "
            "--set data.test_split=ignore (a share of the train split is then held out)"
        )
    if above and len(others) > len(flat) and not ("train" in above.values() and len(set(above.values())) > 1):
        raise AugmentError(
            f"{tree.root}: {next(iter(above))!r} looks like a split with class folders, {others[0]!r} beside it does "
            "not; move one of them elsewhere"
        )
    if not above and len(split_of) == len(tops) and len(set(split_of.values())) > 1:
        other = suggestion(path, kind="folder")  # such as a table beside the images
        raise AugmentError(
            f"{tree.root}: {', '.join(tops)} hold images, but no class folders; "
            f"{other or 'put the images of each class into a folder of its own inside them'}"
        )
    left_out = tree.left_out.copy()
    facts: list[str] = []
    if above:
        line = "folders for splits, class folders below them"
        splits = _splits_above(tree, above, class_at, left_out)
    else:
        _refuse_splits_beside(tree)
        splits, line = _classes_above(tree, left_out, facts)
        facts += [
            f"FOLDER {name!r} WAS READ AS A CLASS, though it has a split's name and images that no class folder holds: "
            "move it elsewhere unless it is a class"
            for name in split_of
            if len(split_of) < len(tops)
        ]
        facts += [] if config.group_level else _doubts_about_classes(splits)
    empty = [name for name in tree.empty if not above or name in above]
    if empty:
        facts.append(f"folders without an image are no classes: {', '.join(empty[:_SHOWN])}")
    if left_out:
        total = sum(left_out.values())
        reasons = ", ".join(f"{count:,} {reason}" for reason, count in left_out.most_common())
        facts.append(f"{total:,} files were left out: {reasons}")
    return _Layout(root=tree.root, splits=splits, lines=(*wrappers, line), facts=tuple(facts))


def _class_levels(tree: _Tree, split_of: Mapping[str, Split]) -> dict[str, int]:
    """Return for each folder of a split which part of a path names the class: 1, or 2 where a folder wraps all.

    Archives unpack to `seg_train/seg_train/forest`. A folder wraps all where it is the only one and is named for the
    same split, or where training images would else all be of one class.
    """
    below: dict[str, set[str]] = {top: set() for top in split_of}
    direct: set[str] = set()
    for parts in tree.files:
        if parts[0] in split_of and len(parts) > 2:
            below[parts[0]].add(parts[1])
        elif parts[0] in split_of:
            direct.add(parts[0])
    deep = {parts[0] for parts in tree.files if len(parts) > 3}
    one_class = any(split_of[top] == "train" and len(below[top]) == 1 and top in deep for top in split_of)
    return {
        top: 2
        for top, inner in below.items()
        if len(inner) == 1 and top not in direct and (one_class or split_named(*inner) == split_of[top])
    }


def _splits_above(
    tree: _Tree, above: Mapping[str, Split], class_at: Mapping[str, int], left_out: Counter[str]
) -> Splits:
    splits: Splits = {}
    for parts in tree.files:
        level = class_at.get(parts[0], 1)
        if len(parts) == 1 or (parts[0] in above and len(parts) <= level + 1):
            left_out["images beside the class folders"] += 1
        elif parts[0] not in above:
            why = "names no split" if split_named(parts[0]) is None else "has no class folders"
            left_out[f"images in {parts[0]}/, which {why}"] += 1
        else:
            image = _Image(root=tree.root, parts=parts, class_at=level, inner_at=level + 1)
            splits.setdefault(above[parts[0]], []).append(image)
    return splits


def _refuse_splits_beside(tree: _Tree) -> None:
    """Make sure that no class is a folder of a whole data set, with splits and class folders inside.

    Raises:
        AugmentError: one is, and others beside it are not.
    """
    inside: dict[str, set[Split]] = {}
    for parts in tree.files:
        if len(parts) > 3 and (split := split_named(parts[1])) is not None:
            inside.setdefault(parts[0], set()).add(split)
    whole = [top for top, splits in inside.items() if "train" in splits and len(splits) > 1]
    others = [top for top in tree.tops if top not in whole]
    if whole and others:
        raise AugmentError(
            f"{tree.root}: {whole[0]}/ holds folders for splits with class folders inside, {others[0]}/ beside it does "
            f"not; write folder:{tree.root / whole[0]}"
        )


def _doubts_about_classes(splits: Splits) -> list[str]:
    """Return a note where the folders inside the classes look as if they were the classes."""
    inner: dict[str, set[str]] = {}
    for image in (one for of_split in splits.values() for one in of_split):
        is_inside = image.inner_at < len(image.parts) - 1
        inner.setdefault(image.folder, set()).add(image.parts[image.inner_at] if is_inside else "")
    shown = ", ".join(sorted(set().union(*inner.values()) - {""}, key=natural_key)[:_SHOWN])
    if len(inner) > 1 and "" not in next(iter(inner.values())) and len(set(map(frozenset, inner.values()))) == 1:
        if len(next(iter(inner.values()))) > 1:
            return [
                f"EVERY CLASS FOLDER HOLDS THE SAME FOLDERS ({shown}): if these are the classes, give the folders "
                "above them names with the words train and test, or put all images of a class into one; if some hold "
                "no images of the class (such as masks), take them out"
            ]
    elif any(found == {""} for found in inner.values()):
        nested = [name for name, found in inner.items() if "" not in found and len(found) > 1]
        if len(nested) == 1:
            return [
                f"ONLY {nested[0]!r} HOLDS ITS IMAGES IN FOLDERS INSIDE ({shown}): if these are the classes, give that "
                "folder itself"
            ]
    return []


def _classes_above(tree: _Tree, left_out: Counter[str], facts: list[str]) -> tuple[Splits, str]:
    images = [_Image(root=tree.root, parts=parts, class_at=0, inner_at=1) for parts in tree.files if len(parts) > 1]
    if len(images) < len(tree.files):
        left_out["images beside the class folders"] += len(tree.files) - len(images)
    again = _whole_again(images)
    if again:
        left_out[f"images in {again}/, which holds folders named as the classes beside it"] += sum(
            image.folder == again for image in images
        )
        images = [image for image in images if image.folder != again]
    inside = {image.parts[1] if len(image.parts) > 2 else "" for image in images}
    split_of = {name: split_named(name) for name in inside}
    if None not in split_of.values() and "train" in split_of.values() and len(set(split_of.values())) > 1:
        splits: Splits = {}
        for image in images:
            split = split_of[image.parts[1]]
            if split is not None:
                splits.setdefault(split, []).append(replace(image, inner_at=2))
        return splits, "class folders, folders for splits below them"
    named = sorted(name for name, split in split_of.items() if split is not None)
    if named:
        facts.append(f"folders named {', '.join(named[:_SHOWN])} inside classes were read as parts of their class")
    return {"train": images}, "class folders" + (", with folders inside" if inside != {""} else "")


def _whole_again(images: Sequence[_Image]) -> str:
    """Return the only class folder that holds the other class folders again, as some archives have it, or ""."""
    inner: dict[str, set[str]] = {}
    for image in images:
        inner.setdefault(image.folder, set()).add(image.parts[1] if len(image.parts) > 2 else "")
    found = [name for name, names in inner.items() if len(names) > 1 and names <= inner.keys() - {name}]
    return found[0] if len(found) == 1 else ""


def _unwrapped(path: Path) -> tuple[_Tree, list[str]]:
    """List a folder; where all it holds is one folder with folders inside, as archives unpack, list that one."""
    if not path.is_dir():
        advice = suggestion(path, kind="folder")
        raise UsageError(f"{path} is not a folder; {advice or TAKES}")
    tree = _listed(path)
    lines = []
    for _ in range(_MAX_WRAPPERS):
        depths = {len(parts) for parts in tree.files}
        if len(tree.tops) != 1 or max(depths) == 2 or split_named(tree.tops[0]) is not None:
            break
        top = tree.tops[0]
        lines.append(f"{top}/ is the only folder in {tree.root.resolve().name!r} that holds images: it was read")
        beside = sum(len(parts) == 1 for parts in tree.files)
        left_out = tree.left_out + (Counter({f"images beside {top}/": beside}) if beside else Counter())
        tree = replace(_listed(tree.root / top), left_out=left_out)
    return tree, lines


def _listed(root: Path) -> _Tree:
    """List what lies below a folder: folders, which are classes, in natural order, files inside them by name."""
    files: list[Parts] = []
    left_out: Counter[str] = Counter()
    tops: list[str] = []
    entered: set[Path] = set()
    pending: list[Parts] = [()]
    while pending:
        parts = pending.pop()
        folder = root.joinpath(*parts)
        try:
            resolved = folder.resolve()
            if resolved in entered:
                left_out["links to a folder that was read already"] += 1
                continue
            entered.add(resolved)
            with os.scandir(folder) as entries:
                ordered = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            raise CorruptFileError(f"cannot list {folder}: {error.strerror or error}") from error
        folders: list[str] = []
        for entry in ordered:
            if entry.name.startswith(".") or entry.name == "__MACOSX":
                continue
            is_folder, is_file = _looked_at(entry)
            if is_folder:
                folders.append(entry.name)
            elif not is_file:
                left_out["dangling links" if entry.is_symlink() else "special files"] += 1
            elif Path(entry.name).suffix.lower() in IMAGE_SUFFIXES:
                files.append((*parts, entry.name))
            else:
                left_out[f"{Path(entry.name).suffix.lower()} files" if "." in entry.name else "other files"] += 1
        folders.sort(key=natural_key)
        tops = tops if parts else folders
        pending += [(*parts, name) for name in reversed(folders)]
    with_images = {parts[0] for parts in files if len(parts) > 1}
    empty = tuple(top for top in tops if top not in with_images)
    return _Tree(root=root, files=tuple(files), left_out=left_out, empty=empty)


def _looked_at(entry: os.DirEntry[str]) -> tuple[bool, bool]:
    """Tell whether an entry is a folder and whether it is a file: neither, where it is a link that leads nowhere."""
    try:
        return entry.is_dir(), entry.is_file()
    except OSError:  # links in a circle, or into a folder that is closed to this user
        return False, False


def _described(images: Sequence[_Image], *, root: Path) -> str:
    """Return the folder of a split, where it is not `root` itself, and how many classes and images there are."""
    if not images:
        return "no images"
    folders = {image.parts[0] for image in images} if images[0].class_at else set()
    if images[0].root != root:  # named by data.test
        folders = {images[0].root.name}
    named = f"{', '.join(sorted(folders))}/, " if folders else ""
    return f"{named}{len({image.folder for image in images}):,} classes, {len(images):,} images"
