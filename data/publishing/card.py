"""The data set card: README.md with the YAML head that Hugging Face's `datasets` reads."""

import json
from dataclasses import dataclass, replace

from data.base.names import folder_names, markdown_text
from data.publishing.formats import FileFormat

NOT_MEASURED = "How far these images tell who was in the training set was not measured."
_FILES: dict[FileFormat, str] = {"parquet": "data/train-*.parquet", "imagefolder": "train/**"}


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card says about a data set.

    Attributes:
        num_images: all images, of which `num_real` are real.
        num_bytes: of the data files.
        extra_columns: names and Hugging Face types of the columns beside image and label.
        privacy: what the samples of this generator tell about who was in training; "" where not measured.
        made_by: name of the generator, where it is not this project's GAN; else "".
    """

    title: str
    file_format: FileFormat
    num_images: int
    num_real: int
    num_bytes: int
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    source: str
    generator_digest: str
    seed: int
    extra_columns: tuple[tuple[str, str], ...]
    privacy: str = ""
    made_by: str = ""

    def origin(self) -> str:
        """Return where the images come from, for a sentence: "drawn from a class-conditional GAN"."""
        return f"made by {self.made_by}" if self.made_by else "drawn from a class-conditional GAN"

    def contents(self) -> str:
        """Return one sentence on which images are real."""
        if self.num_real == 0:
            return "Every image was generated; none is a photograph or scan."
        return f"{self.num_real:,} images are real: those whose column `synthetic` is false."


def dataset_card(facts: CardFacts) -> str:
    """Return the card's text. Names from outside are JSON strings in its YAML and literal text below."""
    channels, height, width = facts.image_shape
    return f"""---
pretty_name: {_quoted(facts.title)}
task_categories:
- image-classification
tags:
- synthetic
{_gan_tag(facts)}{_configs(facts)}---

# {markdown_text(facts.title)}

{facts.num_images:,} {"grayscale" if channels == 1 else "RGB"} images of {height}x{width} pixels in
{len(facts.class_names)} classes, {_markdown_origin(facts)} (augmentation-gain).

- Trained on: {markdown_text(facts.source)}
- Generator (SHA-256): `{facts.generator_digest}`
- Seed of the samples: {facts.seed}
- Format: {facts.file_format}

{_classes(facts)}{facts.contents()} `provenance.json` holds the digests from the source
images to these files.

**Privacy.** {markdown_text(facts.privacy) or NOT_MEASURED} No figure here is a proof: such images may show what is
in the training images, and the generator's file can give them back.

Whether such images help a classifier is what the study's report measures: read it before
you use them.
"""


def _gan_tag(facts: CardFacts) -> str:
    return "" if facts.made_by else "- gan\n"


def _markdown_origin(facts: CardFacts) -> str:
    return replace(facts, made_by=markdown_text(facts.made_by)).origin()


def _classes(facts: CardFacts) -> str:
    """Return the list of classes where the files themselves do not name them."""
    if facts.file_format == "parquet":
        return ""
    folders = folder_names(facts.class_names)
    if facts.file_format == "imagefolder":
        renamed = [(folder, name) for folder, name in zip(folders, facts.class_names, strict=True) if folder != name]
        if not renamed:
            return ""
        lines = [f"- `{folder}/`: {markdown_text(name)}" for folder, name in renamed]
        return "Folders that could not have their class's name:\n\n" + "\n".join(lines) + "\n\n"
    lines = [f"- {label}: {markdown_text(name)}" for label, name in enumerate(facts.class_names)]
    return "Labels:\n\n" + "\n".join(lines) + "\n\n"


def _configs(facts: CardFacts) -> str:
    """Return the YAML that tells `datasets` where the data lies and what it is."""
    if facts.file_format == "idx":
        return ""
    files = f"""configs:
- config_name: default
  data_files:
  - split: train
    path: {_FILES[facts.file_format]}
"""
    is_parquet = facts.file_format == "parquet"
    names = facts.class_names if is_parquet else tuple(sorted(folder_names(facts.class_names)))
    labels = "".join(f"          '{index}': {_quoted(name)}\n" for index, name in enumerate(names))
    extra = facts.extra_columns if is_parquet else ()
    columns = "".join(f"  - name: {name}\n    dtype: {kind}\n" for name, kind in extra)
    return (
        files
        + f"""dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
{labels}{columns}  splits:
  - name: train
    num_examples: {facts.num_images}
    num_bytes: {facts.num_bytes}
"""
    )


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
