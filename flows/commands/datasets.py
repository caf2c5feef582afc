"""`augment datasets` and `augment inspect`: what data there is, and what it holds."""

from pathlib import Path
from typing import Annotated

import numpy as np
import numpy.typing as npt
import typer
from PIL import Image
from rich.console import Console
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from data.base.errors import UsageError
from data.base.files import write_atomically, write_text
from data.config import DataConfig
from data.inspection import Inspection, example_grid, inspect_source
from data.sources.registry import KINDS, cache_directory, known_datasets, load_source
from data.sources.source import Source
from data.unlabelled import REST_OF_POOL
from flows.commands.console import output_console
from flows.commands.paths import path_option
from flows.study.config import resolve_config

TERMINAL_CLASSES, TERMINAL_SIDE = 10, 16
PNG_COLUMNS, PNG_ZOOM = 12, 3
SHOWN_CLASSES, SHOWN_LEFT_OUT = 60, 20
_SHADES = " .:-=+*#%@"


def datasets() -> None:
    """List the data sets that have names, and which of them are on this machine."""
    console = output_console()
    table = Table("data set", "here", "what it is", box=None, pad_edge=False)
    for known in known_datasets():
        here = "[green]yes[/]" if known.is_present else "[dim]fetched on first use[/]"
        table.add_row(f"[bold]{known.name}[/]", here, known.description)
    for name, kind in KINDS.items():
        table.add_row(f"[bold]{name}:PATH[/]", "", f"your own: {kind.description}")
    console.print(table)
    console.print(f"\nfiles are kept in {escape(str(cache_directory()))} (AUGMENT_DATA names another place)")


def inspect(
    dataset: Annotated[
        str | None, typer.Argument(help="a name that `augment datasets` lists, or KIND:PATH", show_default=False)
    ] = None,
    named: Annotated[str | None, typer.Option("--dataset", help="the same, as `augment run` takes it")] = None,
    output: Annotated[
        Path | None,
        path_option("write the picture grid as PNG instead of showing it"),
    ] = None,
    image_column: Annotated[str | None, typer.Option(help="tables: column of the images")] = None,
    label_column: Annotated[str | None, typer.Option(help="tables: column of the labels")] = None,
    resize: Annotated[int | None, typer.Option(help="side in pixels that all images get; 0 keeps it")] = None,
    assignments: Annotated[
        list[str] | None,
        typer.Option(
            "--set",
            help="any key of data as of `augment run`: data.bits=12; repeatable, last one counts",
        ),
    ] = None,
    left_out: Annotated[
        Path | None,
        path_option("write the list of bad images that were left out"),
    ] = None,
) -> None:
    """Show what a data set holds and how it was read: splits, what was left out, classes, copies, examples, regimes."""
    if (dataset is None) == (named is None):
        raise UsageError("name one data set: a name that `augment datasets` lists, or KIND:PATH")
    console = output_console()
    options = {
        "dataset": dataset or named,
        "image_column": image_column,
        "label_column": label_column,
        "resize": resize,
    }
    config = resolve_config(
        preset_name="quick",
        file=None,
        options={f"data.{key}": value for key, value in options.items()},
        assignments=assignments or [],
    )
    source = load_source(config.data)
    facts = inspect_source(source)
    _print_summary(console, source, facts)
    _print_unlabelled(console, source, config.data)
    _print_left_out(console, source, left_out)
    console.print(_class_table(source, facts))
    _print_findings(console, facts)
    if output is not None:
        picture = example_grid(source.train, columns=PNG_COLUMNS, max_classes=100, max_side=64)
        enlarged = picture.repeat(PNG_ZOOM, 0).repeat(PNG_ZOOM, 1)
        write_atomically(output, lambda temporary: Image.fromarray(enlarged).save(temporary, "PNG"))
        console.print(f"examples: {escape(str(output))}")
        return
    side = min(max(source.train.shape[1:]), TERMINAL_SIDE)
    columns = max(1, (console.width + 1) // (side + 1))
    picture = example_grid(
        source.train, columns=min(columns, PNG_COLUMNS), max_classes=TERMINAL_CLASSES, max_side=TERMINAL_SIDE
    )
    console.print(half_blocks(picture) if console.color_system else shades(picture))


def half_blocks(picture: npt.NDArray[np.uint8]) -> Text:
    """Draw a picture (height, width, 3) with two pixels a character: the upper one before the lower one."""
    if len(picture) % 2:
        picture = np.concatenate([picture, np.zeros_like(picture[:1])])
    text = Text(no_wrap=True)
    for upper, lower in zip(picture[::2].tolist(), picture[1::2].tolist(), strict=True):
        for (r, g, b), (r2, g2, b2) in zip(upper, lower, strict=True):
            text.append("▀", style=f"rgb({r},{g},{b}) on rgb({r2},{g2},{b2})")
        text.append("\n")
    return text


def shades(picture: npt.NDArray[np.uint8]) -> Text:
    """Draw a picture (height, width, 3) without colours: a character for two pixels, the brighter the denser."""
    brightness = picture.mean(2)
    if len(brightness) % 2:
        brightness = np.concatenate([brightness, np.zeros_like(brightness[:1])])
    levels = (brightness.reshape(-1, 2, brightness.shape[1]).mean(1) * len(_SHADES) / 256).astype(int)
    return Text("".join("".join(_SHADES[level] for level in line) + "\n" for line in levels.tolist()), no_wrap=True)


def _print_summary(console: Console, source: Source, facts: Inspection) -> None:
    channels, height, width = source.train.shape
    colour = "grayscale" if channels == 1 else "RGB"
    verified = ", files verified by their published digests" if source.verified else ""
    console.print(
        f"[bold]{escape(source.name)}[/]: {len(source.train):,} images to train on, {len(source.test):,} to test on, "
        f"{height}x{width} {colour}, values {facts.values[0]} to {facts.values[1]}, "
        f"{source.train.num_classes:,} classes{verified}",
        highlight=False,
    )
    for line in source.layout:
        console.print(f"  {escape(line)}", highlight=False)
    if facts.blankness and not any(facts.blankness in note for note in source.notes):
        console.print(f"[bold black on yellow] WARNING [/] [yellow]{escape(facts.blankness)}[/]", highlight=False)
    for note in source.notes or filter(None, [source.warning]):
        console.print(f"[yellow]note:[/] {escape(note)}", highlight=False)
    console.print(f"SHA-256 of the train split: {source.train.digest()}", highlight=False)


def _print_unlabelled(console: Console, source: Source, config: DataConfig) -> None:
    """Print which images a cell has without labels, what was left out of them, and how they were read."""
    if config.unlabelled == REST_OF_POOL:
        console.print(
            f"without labels: up to {config.max_unlabelled:,} images that a subset leaves of the {len(source.train):,} "
            "to train on; copies of test images are left out",
            highlight=False,
        )
    given = source.unlabelled
    if given is None:
        return
    console.print(
        f"without labels: {len(given.images):,} images of {escape(given.name)}, up to {config.max_unlabelled:,} for a "
        f"cell; copies were left out, {given.copies_of_test:,} of test images and {given.copies_of_train:,} of "
        "labelled ones",
        highlight=False,
    )
    for note in given.notes:
        console.print(f"[yellow]note:[/] without labels: {escape(note)}", highlight=False)


def _print_left_out(console: Console, source: Source, file: Path | None) -> None:
    """Print the first bad images that were left out, or write all of them to `file`."""
    if file is not None:
        write_text(file, "".join(f"{line}\n" for line in source.left_out))
        console.print(f"{len(source.left_out):,} bad images are listed in {escape(str(file))}", highlight=False)
        return
    for line in source.left_out[:SHOWN_LEFT_OUT]:
        console.print(f"  left out: {escape(line)}", highlight=False)
    if len(source.left_out) > SHOWN_LEFT_OUT:
        rest = len(source.left_out) - SHOWN_LEFT_OUT
        console.print(f"  and {rest:,} more (--left-out FILE lists all)", highlight=False)


def _class_table(source: Source, facts: Inspection) -> Table:
    table = Table("class", box=None, pad_edge=False)
    for title in ("train", "test"):
        table.add_column(title, justify="right")
    rows = list(zip(source.train.class_names, facts.train_counts, facts.test_counts, strict=True))
    for name, train, test in rows[:SHOWN_CLASSES]:
        table.add_row(escape(name), f"{train:,}", f"{test:,}")
    if len(rows) > SHOWN_CLASSES:
        more_train, more_test = sum(facts.train_counts[SHOWN_CLASSES:]), sum(facts.test_counts[SHOWN_CLASSES:])
        table.add_row(f"… {len(rows) - SHOWN_CLASSES:,} more classes", f"{more_train:,}", f"{more_test:,}")
    return table


def _print_findings(console: Console, facts: Inspection) -> None:
    console.print(
        f"duplicates: {facts.duplicates_in_train:,} within train, {facts.duplicates_in_test:,} within test, "
        f"{facts.duplicates_across:,} test images that are in train too",
        highlight=False,
    )
    near = facts.near_copies
    example = f", such as test row {near.example[0]} and train row {near.example[1]}" if near.example else ""
    console.print(
        f"near copies: {near.count:,} of {near.looked_at:,} test images looked at are nearly a train image{example} "
        "(saved anew, brighter or darker; crops and mirrored images are not looked for)",
        highlight=False,
    )
    console.print(f"images without contrast: {facts.num_flat:,}", highlight=False)
    if facts.groups is not None:
        train, test, both = facts.groups
        console.print(f"groups: {train:,} in train, {test:,} in test, {both:,} in both", highlight=False)
    if facts.contradictions:
        console.print(f"[yellow]note:[/] {facts.contradictions:,} images occur with different labels", highlight=False)
    regimes = ", ".join(str(value) for value, _ in facts.regimes)
    console.print(
        f"regimes: {regimes}; at most {facts.largest_balanced:,} images per class when balanced", highlight=False
    )
    console.print(
        f"classical augmentation: each cell chooses from {', '.join(facts.policies)} (evaluation.policy), and takes "
        f"{facts.usual_policy} where it cannot tell\n",
        highlight=False,
    )
