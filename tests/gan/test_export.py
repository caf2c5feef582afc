import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyarrow.dataset
import pyarrow.parquet as pq
import pytest
import torch

from data.base.device import Compute
from data.base.errors import AugmentError, CorruptFileError, UsageError
from data.base.files import digest_file, read_json, write_json
from data.config import DataConfig
from data.idx import read_idx
from data.images import LabelledImages
from data.parquet import read_published, write_subset
from data.sources.registry import load_source
from gan.checkpoint import GENERATOR_FILE, save_generator
from gan.config import GanConfig
from gan.export import PROVENANCE_FILE, SAMPLES_FILE, ExportRequest, export_dataset
from gan.networks import Generator, GeneratorEnsemble, initialise_dcgan
from gan.sampling import ConfidenceFilter, FilterTooStrictError

CPU = Compute(device="cpu", precision="float32")
HOSTILE = ("../up", "<script>alert('x')</script>", "猫: 'a' # b")


def write_generator(directory, *, class_names=("rows", "columns", "none"), image_shape=(1, 8, 8), source="stripes"):
    config = GanConfig(generator_width=4, latent_dim=8)
    generator = Generator(config, image_shape=image_shape, num_classes=len(class_names))
    initialise_dcgan(generator, config=config, rng=torch.Generator().manual_seed(0))
    with torch.no_grad():
        generator.up2.weight.mul_(30)  # contrast, so that images differ
    save_generator(
        directory / GENERATOR_FILE,
        GeneratorEnsemble([generator]),
        config=config,
        image_shape=image_shape,
        class_names=class_names,
    )
    write_json(directory / PROVENANCE_FILE, {"source": source, "subset": "0" * 64})
    return directory


@pytest.fixture
def generator(tmp_path):
    return write_generator(tmp_path / "generator")


def export(generator, output, **options):
    options = {"num_images": 25, "shard_size": 10} | options
    seen = []
    export_dataset(generator, output, ExportRequest(**options), compute=CPU, on_progress=seen.append)
    return seen


def digests(directory):
    """Digest of every file, but for the date in croissant.json."""
    files = sorted(path for path in directory.rglob("*") if path.is_file() and path.name != "croissant.json")
    return {path.relative_to(directory).as_posix(): digest_file(path) for path in files}


def table(directory):
    return pyarrow.dataset.dataset(directory / "data", format="parquet").to_table()


def bright(images):
    return np.repeat(images.mean((1, 2, 3), dtype=np.float32)[:, None] / 255, 3, axis=1)


# --- what is written


def test_layout(generator, tmp_path):
    export(generator, tmp_path / "out")
    assert sorted(digests(tmp_path / "out")) == [
        "README.md",
        "data/train-00000-of-00003.parquet",
        "data/train-00001-of-00003.parquet",
        "data/train-00002-of-00003.parquet",
        "provenance.json",
    ]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["generator", "out"]


def test_columns_say_where_each_image_comes_from(generator, tmp_path):
    export(generator, tmp_path / "out", seed=7)
    rows = table(tmp_path / "out")
    assert rows.column_names == ["image", "label", "generator", "seed", "index", "confidence", "synthetic"]
    assert rows["index"].to_pylist() == list(range(25))
    assert set(rows["generator"].to_pylist()) == {digest_file(generator / GENERATOR_FILE)}
    assert set(rows["seed"].to_pylist()) == {7}
    assert rows["confidence"].null_count == 25
    assert set(rows["synthetic"].to_pylist()) == {True}


def test_provenance_chains_digests_to_every_file(generator, tmp_path):
    export(generator, tmp_path / "out")
    provenance = read_json(tmp_path / "out" / "provenance.json")
    assert provenance["trained_on"]["subset"] == "0" * 64
    assert provenance["generator"] == digest_file(generator / GENERATOR_FILE)
    assert len(provenance["files"]) == 3
    assert all(digest_file(tmp_path / "out" / name) == digest for name, digest in provenance["files"].items())


@pytest.mark.parametrize("file_format", ["parquet", "imagefolder", "idx"])
def test_any_number_of_workers_gives_the_same_bytes(generator, tmp_path, file_format):
    for workers in (1, 3):
        export(generator, tmp_path / str(workers), workers=workers, file_format=file_format)
    assert digests(tmp_path / "1") == digests(tmp_path / "3")


def test_another_seed_gives_other_images(generator, tmp_path):
    for seed in (0, 1):
        export(generator, tmp_path / str(seed), seed=seed)
    first, second = (read_published(tmp_path / str(seed)) for seed in (0, 1))
    assert not np.array_equal(first.images, second.images)


def test_threads_of_the_caller_are_left_as_they_were(generator, tmp_path):
    before = torch.get_num_threads()
    export(generator, tmp_path / "out", workers=2)
    assert torch.get_num_threads() == before


def test_progress_ends_with_everything_done_and_the_time_of_each_stage(generator, tmp_path):
    seen = export(generator, tmp_path / "out")
    assert [progress.done for progress in seen] == [0, 10, 20, 25]
    assert min(seen[-1].seconds.network, seen[-1].seconds.encoding, seen[-1].seconds.writing) > 0


# --- which classes


def test_classes_are_balanced_by_default(generator, tmp_path):
    export(generator, tmp_path / "out", num_images=27)
    assert read_published(tmp_path / "out").class_counts().tolist() == [9, 9, 9]


def test_counts_per_class(generator, tmp_path):
    export(generator, tmp_path / "out", class_counts=(20, 0, 5))
    assert read_published(tmp_path / "out").class_counts().tolist() == [20, 0, 5]


@pytest.mark.parametrize("counts", [(25,), (20, 5, 1), (30, -5, 0)])
def test_counts_that_do_not_fit_are_refused(generator, tmp_path, counts):
    with pytest.raises(UsageError, match="do not fit 3 classes and 25 images"):
        export(generator, tmp_path / "out", class_counts=counts)


# --- filter and real rows


def test_the_confidence_of_filtered_samples_is_recorded(generator, tmp_path):
    keep = ConfidenceFilter(predict_probabilities=bright, minimum=0.45, identity="abc")
    export(generator, tmp_path / "out", confidence=keep)
    confidence = table(tmp_path / "out")["confidence"].to_numpy()
    assert confidence.min() >= 0.45
    images = read_published(tmp_path / "out").images
    assert np.allclose(confidence, bright(images)[:, 0])
    assert read_json(tmp_path / "out" / "provenance.json")["confidence"]["classifier"] == "abc"


def test_a_filter_that_accepts_nothing_leaves_nothing(generator, tmp_path):
    keep = ConfidenceFilter(predict_probabilities=bright, minimum=1.1, identity="abc")
    with pytest.raises(FilterTooStrictError):
        export(generator, tmp_path / "out", confidence=keep)
    assert [path.name for path in tmp_path.iterdir()] == ["generator"]


def test_real_rows_are_mixed_in_and_marked(generator, tmp_path, striped):
    export(generator, tmp_path / "out", real=striped)
    rows, images = table(tmp_path / "out"), read_published(tmp_path / "out")
    is_real = ~rows["synthetic"].to_numpy()
    assert is_real.sum() == 60
    source_rows = rows["index"].to_numpy()[is_real]
    assert sorted(source_rows) == list(range(60))
    assert np.array_equal(images.images[is_real], striped.images[source_rows])
    assert np.array_equal(images.labels[is_real], striped.labels[source_rows])
    assert rows["generator"].null_count == rows["seed"].null_count == 60
    assert 0 < is_real[:30].sum() < 30


def test_the_card_says_how_many_images_are_real(generator, tmp_path, striped):
    export(generator, tmp_path / "out", real=striped)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "60 images are real" in card
    assert "none is a photograph" not in card


def test_real_images_of_another_shape_are_refused(tmp_path, striped):
    colour = write_generator(tmp_path / "colour", image_shape=(3, 8, 8))
    with pytest.raises(UsageError, match="differ from the generator's"):
        export(colour, tmp_path / "out", real=striped)


# --- resuming


def interrupt(generator, output, *, after):
    """Export as `export` does, and stop once so many images are written."""

    def stop(progress):
        if progress.done == after:
            raise KeyboardInterrupt

    request = ExportRequest(num_images=25, shard_size=10)
    with pytest.raises(KeyboardInterrupt):
        export_dataset(generator, output, request, compute=CPU, on_progress=stop)


def test_a_failure_keeps_finished_shards_and_the_same_call_goes_on(generator, tmp_path):
    export(generator, tmp_path / "whole")
    interrupt(generator, tmp_path / "out", after=10)
    assert not (tmp_path / "out").exists()
    seen = export(generator, tmp_path / "out")
    assert seen[0].resumed == 10
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_a_shard_that_was_altered_meanwhile_is_made_again(generator, tmp_path):
    export(generator, tmp_path / "whole")
    interrupt(generator, tmp_path / "out", after=20)
    (shard,) = tmp_path.glob(".out.*.partial/data/train-00000-*")
    shard.write_bytes(b"altered")
    assert export(generator, tmp_path / "out")[0].resumed == 10
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


@pytest.mark.parametrize("file_format", ["parquet", "idx"])
@pytest.mark.slow
def test_a_killed_export_goes_on_to_the_same_bytes(generator, tmp_path, file_format):
    script = f"""
        import time
        from pathlib import Path
        from data.base.device import Compute
        from gan.export import ExportRequest, export_dataset

        def on_progress(progress):
            print(progress.done, flush=True)
            while progress.done >= 100:  # until it is killed
                time.sleep(1)

        request = ExportRequest(num_images=1000, shard_size=50, file_format={file_format!r}, workers=2)
        compute = Compute(device="cpu", precision="float32")
        export_dataset(Path({str(generator)!r}), Path({str(tmp_path / "out")!r}), request, compute=compute,
                       on_progress=on_progress)
    """
    root = Path(__file__).parents[2]
    process = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    while int(process.stdout.readline()) < 100:
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert not (tmp_path / "out").exists()
    options = {"num_images": 1000, "shard_size": 50, "file_format": file_format}
    seen = export(generator, tmp_path / "out", **options)
    assert 100 <= seen[0].resumed < 1000
    export(generator, tmp_path / "whole", **options)
    assert digests(tmp_path / "out") == digests(tmp_path / "whole")


def test_two_processes_cannot_write_the_same_export(generator, tmp_path):
    messages = []

    def second(progress):
        if progress.done == 10:
            with pytest.raises(AugmentError, match="another process is writing") as caught:
                export(generator, tmp_path / "out")
            messages.append(str(caught.value))

    request = ExportRequest(num_images=25, shard_size=10)
    export_dataset(generator, tmp_path / "out", request, compute=CPU, on_progress=second)
    assert len(messages) == 1
    assert len(read_published(tmp_path / "out")) == 25


# --- refusals


@pytest.mark.parametrize("option", [{"num_images": 0}, {"shard_size": 0}, {"workers": 0}, {"num_images": -1}])
def test_nothing_to_draw(generator, tmp_path, option):
    with pytest.raises(UsageError, match="each must be 1 or more"):
        export(generator, tmp_path / "out", **option)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ({"seed": 2**63}, "seed is 9223372036854775808; give one from 0 to 9223372036854775807"),
        ({"seed": -1}, "seed is -1; give one from 0 to"),
        ({"num_images": 10**12}, "the limit is 100,000,000"),
    ],
)
def test_what_is_too_much_is_told_before_anything_is_drawn(generator, tmp_path, option, message):
    with pytest.raises(AugmentError, match=message):
        export(generator, tmp_path / "out", **({"num_images": 3} | option))
    assert not list(tmp_path.glob("*out*"))


@pytest.mark.parametrize("file_format", ["parquet", "imagefolder", "idx"])
def test_a_url_is_no_place_for_an_export(generator, tmp_path, monkeypatch, file_format):
    monkeypatch.chdir(tmp_path)
    for place in ("s3://bucket/set", "gs:/bucket/set"):
        with pytest.raises(UsageError, match="is a URL; export to a folder"):
            export(generator, Path(place), num_images=3, file_format=file_format)


def test_a_folder_may_be_named_as_a_url_begins(generator, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    export(generator, Path("file:x"), num_images=3)
    assert len(read_published(Path("file:x"))) == 3


def test_an_output_that_is_there_is_kept(generator, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(UsageError, match="already there"):
        export(generator, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["mine"]


def test_no_generator(tmp_path):
    with pytest.raises(CorruptFileError, match="is missing"):
        export(tmp_path, tmp_path / "out")


def test_a_place_that_cannot_be_written(generator, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(AugmentError, match="cannot write"):
        export(generator, tmp_path / "file" / "out")


def test_a_class_name_with_a_newline_is_refused(tmp_path):
    generator = write_generator(tmp_path / "generator", class_names=("a\n---", "b"))
    with pytest.raises(AugmentError, match="control character"):
        export(generator, tmp_path / "out")


# --- it opens in the tools that people use


@pytest.fixture
def offline(monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_DATASETS_OFFLINE", "1")
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    datasets.disable_progress_bars()
    return datasets


def test_datasets_opens_the_folder_as_images_and_class_labels(generator, tmp_path, offline):
    export(generator, tmp_path / "out")
    rows = offline.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == 25
    assert rows.features["label"].names == ["rows", "columns", "none"]
    assert rows[3]["image"].size == (8, 8)
    expected = read_published(tmp_path / "out").images
    assert np.array_equal(np.stack([np.asarray(image) for image in rows["image"]]), expected[:, 0])


def test_datasets_keeps_hostile_class_names_as_text(tmp_path, offline):
    generator = write_generator(tmp_path / "generator", class_names=HOSTILE, source="parquet:/x\n<b>y</b>")
    export(generator, tmp_path / "out")
    rows = offline.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert tuple(rows.features["label"].names) == HOSTILE
    body = (tmp_path / "out" / "README.md").read_text().split("---\n", 2)[2]
    assert "<b>" not in body


def test_datasets_opens_the_image_folder(generator, tmp_path, offline):
    export(generator, tmp_path / "out", file_format="imagefolder", num_images=27)
    rows = offline.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert sorted(rows.features["label"].names) == ["columns", "none", "rows"]
    assert [rows["label"].count(label) for label in range(3)] == [9, 9, 9]


def test_pandas(generator, tmp_path):
    import pandas

    export(generator, tmp_path / "out")
    frame = pandas.read_parquet(tmp_path / "out" / "data")
    assert frame["label"].value_counts().to_dict() == {0: 9, 1: 8, 2: 8}


def test_polars(generator, tmp_path):
    import polars

    export(generator, tmp_path / "out")
    frame = polars.read_parquet(tmp_path / "out" / "data" / "*.parquet")
    assert frame.shape == (25, 7)
    assert frame["image"].struct.field("bytes")[0].startswith(b"\x89PNG")


def test_duckdb(generator, tmp_path):
    import duckdb

    export(generator, tmp_path / "out")
    query = f"select label, count(*) from '{tmp_path}/out/data/*.parquet' group by label order by label"
    assert duckdb.sql(query).fetchall() == [(0, 9), (1, 8), (2, 8)]


def test_pyarrow_reads_the_schema(generator, tmp_path):
    export(generator, tmp_path / "out")
    schema = pq.read_schema(tmp_path / "out" / "data" / "train-00000-of-00003.parquet")
    assert json.loads(schema.metadata[b"huggingface"])["info"]["features"]["synthetic"]["dtype"] == "bool"


def test_mlcroissant_accepts_the_metadata_and_reads_the_rows(generator, tmp_path):
    import mlcroissant

    export(generator, tmp_path / "out", num_images=5)
    dataset = mlcroissant.Dataset(jsonld=tmp_path / "out" / "croissant.json")
    assert not dataset.metadata.ctx.issues.errors
    rows = list(dataset.records("images"))
    assert sorted(row["images/label"] for row in rows) == [0, 0, 1, 1, 2]
    assert rows[0]["images/image"].size == (8, 8)


def test_torchvision_opens_the_idx_files(generator, tmp_path):
    from torchvision.datasets.mnist import read_image_file, read_label_file

    export(generator, tmp_path / "out", file_format="idx")
    export(generator, tmp_path / "parquet")
    expected = read_published(tmp_path / "parquet")
    assert np.array_equal(read_image_file(tmp_path / "out" / "train-images-idx3-ubyte"), expected.images[:, 0])
    assert np.array_equal(read_label_file(tmp_path / "out" / "train-labels-idx1-ubyte"), expected.labels)
    assert not (tmp_path / "out" / ".shards").exists()


def test_colour_idx_files_have_four_dimensions(tmp_path):
    generator = write_generator(tmp_path / "generator", image_shape=(3, 8, 8))
    export(generator, tmp_path / "out", file_format="idx")
    assert read_idx(tmp_path / "out" / "train-images-idx3-ubyte").shape == (25, 8, 8, 3)


# --- out and back in


def scenario(num_classes, counts, shape, seed=0):
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(num_classes), counts)
    return LabelledImages(
        images=rng.integers(0, 256, (len(labels), *shape), dtype=np.uint8),
        labels=labels,
        rows=np.arange(len(labels), dtype=np.int64),
        class_names=tuple(f"class {label}" for label in range(num_classes)),
    )


@pytest.mark.parametrize(
    ("num_classes", "counts", "shape"),
    [(3, (20, 20, 20), (3, 16, 16)), (2, (50, 5), (1, 28, 28)), (2, (30, 1), (1, 8, 8)), (10, (4,) * 10, (1, 8, 8))],
    ids=["colour", "imbalanced", "single image", "digits"],
)
def test_an_export_comes_back_in_through_parquet(tmp_path, num_classes, counts, shape):
    real = scenario(num_classes, counts, shape)
    generator = write_generator(tmp_path / "generator", class_names=real.class_names, image_shape=shape)
    export(generator, tmp_path / "out", class_counts=counts, num_images=sum(counts), real=real)
    source = load_source(DataConfig(dataset=f"parquet:{tmp_path / 'out'}"))
    published = read_published(tmp_path / "out")
    assert source.train.class_names == real.class_names
    assert source.train.shape == shape
    total = source.train.class_counts() + source.test.class_counts()
    assert total.tolist() == [2 * count for count in counts]
    assert np.array_equal(source.train.images, published.images[source.train.rows])


NAMES = ("女", "男", "a, b [c]", "T-shirt/top", "Cat", "cat", "10", "9")


def load_export(output, file_format):
    kind = {"parquet": "parquet", "imagefolder": "folder", "idx": "idx"}[file_format]
    return load_source(DataConfig(dataset=f"{kind}:{output}", test_share=0.5))


@pytest.mark.parametrize("image_shape", [(1, 8, 8), (3, 8, 8)], ids=["gray", "colour"])
@pytest.mark.parametrize("file_format", ["parquet", "imagefolder", "idx"])
def test_every_format_comes_back_in_with_its_class_names(tmp_path, file_format, image_shape):
    generator = write_generator(tmp_path / "generator", class_names=NAMES, image_shape=image_shape)
    export(generator, tmp_path / "parquet", num_images=48)
    export(generator, tmp_path / "out", num_images=48, file_format=file_format)
    source = load_export(tmp_path / "out", file_format)
    assert source.train.class_names == NAMES
    expected = read_published(tmp_path / "parquet")
    for split in (source.train, source.test):
        for image, label in zip(split.images, split.labels, strict=True):
            (rows,) = np.nonzero((expected.images == image).all((1, 2, 3)))
            assert label in expected.labels[rows]


def test_only_the_folder_that_needs_it_is_renamed_and_the_card_says_so(tmp_path):
    generator = write_generator(tmp_path / "generator", class_names=NAMES)
    export(generator, tmp_path / "out", num_images=8, file_format="imagefolder")
    folders = {path.name for path in (tmp_path / "out" / "train").iterdir()}
    assert folders == {"女", "男", "a, b [c]", "003-T-shirt-top", "Cat", "005-cat", "10", "9"}
    card = (tmp_path / "out" / "README.md").read_text()
    assert "- `003-T-shirt-top/`: T\\-shirt/top" in card
    provenance = read_json(tmp_path / "out" / "provenance.json")
    assert provenance["class_names"] == list(NAMES)


def test_the_card_of_idx_files_names_the_labels(tmp_path):
    generator = write_generator(tmp_path / "generator", class_names=NAMES)
    export(generator, tmp_path / "out", num_images=8, file_format="idx")
    assert "- 0: 女\n- 1: 男\n" in (tmp_path / "out" / "README.md").read_text()


@pytest.mark.slow
@pytest.mark.parametrize("file_format", ["parquet", "imagefolder", "idx"])
def test_three_hundred_classes_come_back_in(tmp_path, file_format):
    names = tuple(f"class {label}" for label in range(300))
    generator = write_generator(tmp_path / "generator", class_names=names)
    export(generator, tmp_path / "out", num_images=600, file_format=file_format)
    source = load_export(tmp_path / "out", file_format)
    assert source.train.class_names == names
    assert (source.train.class_counts() == 1).all()


def test_datasets_opens_folders_with_any_names(tmp_path, offline):
    generator = write_generator(tmp_path / "generator", class_names=NAMES)
    export(generator, tmp_path / "out", file_format="imagefolder", num_images=16)
    rows = offline.load_dataset(str(tmp_path / "out"), split="train", cache_dir=str(tmp_path / "cache"))
    assert len(rows) == 16
    assert "女" in rows.features["label"].names


# --- what is published


@pytest.mark.parametrize("file_format", ["parquet", "imagefolder", "idx"])
def test_no_local_path_is_published(tmp_path, file_format):
    generator = write_generator(tmp_path / "generator", source="folder:/home/jane/ward 7/surname")
    export(generator, tmp_path / "out", file_format=file_format)
    for file in tmp_path.joinpath("out").rglob("*"):
        if file.is_file():
            assert not any(secret in file.read_bytes() for secret in (b"jane", b"ward 7", str(tmp_path).encode()))
    assert "Synthetic folder:surname" in (tmp_path / "out" / "README.md").read_text()


def test_the_title_can_be_given(generator, tmp_path):
    export(generator, tmp_path / "out", title="Stripes of 2026")
    assert "# Stripes of 2026" in (tmp_path / "out" / "README.md").read_text()
    assert read_json(tmp_path / "out" / "croissant.json")["name"] == "Stripes of 2026"
    assert read_json(tmp_path / "out" / "provenance.json")["title"] == "Stripes of 2026"


# --- another generator's images


def stored(directory, counts=(4, 3, 5)):
    labels = np.repeat(np.arange(3), counts)[np.random.default_rng(0).permutation(sum(counts))]
    images = np.broadcast_to(np.arange(len(labels), dtype=np.uint8)[:, None, None, None], (len(labels), 1, 8, 8))
    names = ("rows", "columns", "none")
    rows = np.arange(len(labels))
    write_subset(
        directory / SAMPLES_FILE, LabelledImages(images=images.copy(), labels=labels, rows=rows, class_names=names)
    )
    write_json(directory / PROVENANCE_FILE, {"source": "stripes", "made_by": "kde.py"})
    return directory, labels


def test_images_that_another_generator_left_are_handed_out_in_their_order(tmp_path):
    directory, labels = stored(tmp_path / "generator")
    export(directory, tmp_path / "out", num_images=12, shard_size=5, class_counts=(4, 3, 5))
    published = read_published(tmp_path / "out")
    for label in range(3):
        assert published.images[published.labels == label, 0, 0, 0].tolist() == np.flatnonzero(labels == label).tolist()


def test_no_more_images_than_another_generator_left(tmp_path):
    directory, _ = stored(tmp_path / "generator")
    with pytest.raises(UsageError, match=r"4 images of class 'columns' are asked for, and the generator left 3"):
        export(directory, tmp_path / "out", num_images=12)


def test_the_card_names_another_generator(tmp_path):
    directory, _ = stored(tmp_path / "generator")
    export(directory, tmp_path / "out", num_images=6)
    card = (tmp_path / "out" / "README.md").read_text()
    assert "made by kde.py" in card
    assert "gan" not in card.replace("augmentation-gain", "").lower()
    assert "made by kde.py" in read_json(tmp_path / "out" / "croissant.json")["description"]
