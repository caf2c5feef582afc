"""The data set card: README.md with the YAML head that Hugging Face's `datasets` reads."""

import json
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card says about a synthetic data set."""

    title: str
    num_images: int
    num_bytes: int
    image_shape: tuple[int, int, int]
    class_names: tuple[str, ...]
    source: str
    generator_digest: str
    seed: int
    extra_columns: tuple[tuple[str, str], ...]


def dataset_card(facts: CardFacts) -> str:
    """Return the card's text. Names from outside appear in it as JSON strings only, which YAML reads as strings."""
    labels = "\n".join(f"          '{index}': {json.dumps(name)}" for index, name in enumerate(facts.class_names))
    columns = "\n".join(f"  - name: {name}\n    dtype: {dtype}" for name, dtype in facts.extra_columns)
    channels, height, width = facts.image_shape
    return f"""---
pretty_name: {json.dumps(facts.title)}
task_categories:
- image-classification
tags:
- synthetic
- gan
configs:
- config_name: default
  data_files:
  - split: train
    path: data/train-*.parquet
dataset_info:
  features:
  - name: image
    dtype: image
  - name: label
    dtype:
      class_label:
        names:
{labels}
{columns}
  splits:
  - name: train
    num_examples: {facts.num_images}
    num_bytes: {facts.num_bytes}
---

# {facts.title}

{facts.num_images:,} synthetic {"grayscale" if channels == 1 else "RGB"} images of {height}x{width} pixels in
{len(facts.class_names)} classes, drawn from a class-conditional GAN (augmentation-gain).

- Trained on: {json.dumps(facts.source, ensure_ascii=False)}
- Generator (SHA-256): `{facts.generator_digest}`
- Seed of the samples: {facts.seed}

Every image was generated; none is a photograph or scan. `provenance.json` holds the digests from the source
images to these files. Whether such images help a classifier is what the study's report measures: read it before
you use them.
"""
