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

from data.base.files import write_atomically
from data.inspection import Inspection, example_grid, inspect_source
from data.sources.registry import cache_directory, known_datasets, load_source
from data.sources.source import Source
from flows.commands.console import output_console
from flows.study.config import validate_config

TERMINAL_CLASSES, TERMINAL_SIDE = 10, 16
PNG_COLUMNS, PNG_ZOOM = 12, 3
_SHADES = " .:-=+*#%@"


def datasets() -> None:
    """List the data sets that have names, and which of them are on this machine."""
    console = output_console()
    table = Table("data set", "here", "what it is", box=None, pad_edge=False)
    for known in known_datasets():
        here = "[green]yes[/]" if known.is_present else "[dim]fetched on first use[/]"
        table.add_row(f"[bold]{known.name}[/]", here, known.description)
    table.add_row("[bold]parquet:PATH[/]", "", "your own: a Parquet file, or a folder in Hugging Face's layout")
    table.add_row("[bold]folder:PATH[/]", "", "your own: one folder a class, PNG, JPEG, BMP or WEBP files inside")
    console.print(table)
    console.print(f"\nfiles are kept in {escape(str(cache_directory()))} (AUGMENT_DATA names another place)")


def inspect(
    dataset: Annotated[str, typer.Argument(help="a name that `augment datasets` lists, parquet:PATH or folder:PATH")],
    output: Annotated[Path | None, typer.Option(help="write the picture grid as PNG instead of showing it")] = None,
    image_column: Annotated[str, typer.Option(help="parquet: column of the images")] = "image",
    label_column: Annotated[str, typer.Option(help="parquet: column of the labels")] = "label",
    resize: Annotated[int, typer.Option(help="parquet, folder: side in pixels that all images get; 0 keeps it")] = 0,
) -> None:
    """Show what a data set holds: classes, sizes, duplicates, examples, and the regimes that it supports."""
    console = output_console()
    options = {"dataset": dataset, "image_column": image_column, "label_column": label_column, "resize": resize}
    source = load_source(validate_config({"data": options}).data)
    facts = inspect_source(source)
    _print_summary(console, source)
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


def _print_summary(console: Console, source: Source) -> None:
    channels, height, width = source.train.shape
    colour = "grayscale" if channels == 1 else "RGB"
    verified = ", files verified by their published digests" if source.verified else ""
    console.print(
        f"[bold]{escape(source.name)}[/]: {len(source.train):,} images to train on, {len(source.test):,} to test on, "
        f"{height}x{width} {colour}, {source.train.num_classes} classes{verified}",
        highlight=False,
    )
    console.print(f"SHA-256 of the train split: {source.train.digest()}", highlight=False)
    if source.warning:
        console.print(f"[yellow]note:[/] {escape(source.warning)}", highlight=False)


def _class_table(source: Source, facts: Inspection) -> Table:
    table = Table("class", box=None, pad_edge=False)
    for title in ("train", "test"):
        table.add_column(title, justify="right")
    for name, train, test in zip(source.train.class_names, facts.train_counts, facts.test_counts, strict=True):
        table.add_row(escape(name), f"{train:,}", f"{test:,}")
    return table


def _print_findings(console: Console, facts: Inspection) -> None:
    console.print(
        f"duplicates: {facts.duplicates_in_train:,} within train, {facts.duplicates_in_test:,} within test, "
        f"{facts.duplicates_across:,} test images that are in train too",
        highlight=False,
    )
    if facts.contradictions:
        console.print(f"[yellow]note:[/] {facts.contradictions:,} images occur with different labels", highlight=False)
    regimes = ", ".join(str(value) for value, _ in facts.regimes)
    console.print(
        f"regimes: {regimes}; at most {facts.largest_balanced:,} images per class when balanced\n", highlight=False
    )
