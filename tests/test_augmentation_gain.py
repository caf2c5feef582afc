"""The public face in Python: from images in memory to a report, nothing printed, no server."""

import io
import subprocess
import sys
from types import SimpleNamespace

import matplotlib
import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image
from sklearn.datasets import load_digits

import augmentation_gain as ag
from augmentation_gain.in_memory import Given, dataset_options
from augmentation_gain.progress import shown_progress
from data.base.errors import AugmentError, CorruptFileError, UsageError
from data.config import DataConfig
from data.sources.registry import load_source
from flows.study.watching import StageUpdate, listeners
from tests.smallest import SMALLEST

matplotlib.use("agg")

QUICK = {"replicates": 2} | SMALLEST


@pytest.fixture(scope="module")
def digits():
    found = load_digits()
    return (found.images * 15.9).astype(np.uint8), np.array([f"digit {label}" for label in found.target])


@pytest.fixture(scope="module")
def run(digits, tmp_path_factory):
    directory = tmp_path_factory.mktemp("face") / "run"
    return directory, ag.study(*digits, directory=directory, replicates=2, settings=QUICK)


def source_of(images, labels, folder, *, settings=None, **given):
    """Return the source that a study of these images reads."""
    options = dataset_options(Given(images=images, labels=labels, **given), folder=folder, settings=settings or {})
    return load_source(DataConfig(**{key.removeprefix("data."): value for key, value in options.items()}))


def everything(source):
    """Return images and names of their classes in their first order, whichever split they are in."""
    rows = np.concatenate([source.train.rows, source.test.rows])
    images = np.concatenate([source.train.images, source.test.images])[np.argsort(rows)]
    labels = np.concatenate([source.train.labels, source.test.labels])[np.argsort(rows)]
    return images, [source.train.class_names[label] for label in labels]


PIXELS = np.random.default_rng(0).integers(0, 256, (12, 8, 8), np.uint8)
PIXELS[0, 0, 0] = 255
NAMES = ["cat", "dog"] * 6
COLOURS = np.stack([PIXELS, 255 - PIXELS, PIXELS // 2], axis=1)  # (N, C, H, W)


class Pairs(torch.utils.data.Dataset):
    classes = ("cat", "dog")

    def __init__(self, images, labels):
        self._items = list(zip(images, labels, strict=True))

    def __len__(self):
        return len(self._items)

    def __getitem__(self, index):
        return self._items[index]


def png(image):
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


def test_arrays_make_a_study(run):
    _, report = run
    assert report.dataset.class_names == tuple(f"digit {label}" for label in range(10))
    assert report.regimes[0].num_replicates == 2
    assert "points of accuracy" in report.sentence


def test_nothing_is_printed_and_threads_stay_as_they_were(digits, tmp_path, capfd):
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        ag.study(*digits, replicates=1, settings=QUICK)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(threads)
    assert capfd.readouterr() == ("", "")


def test_report_is_read_back_and_compared(run):
    directory, report = run
    assert ag.load_report(directory) == report
    assert ag.compare([directory, directory]).regressions == ()
    assert ag.compare([report, report]).regressions == ()


def test_a_run_goes_on_with_its_own_images_and_with_no_others(digits, run, monkeypatch):
    directory, report = run
    images, labels = digits
    monkeypatch.chdir(directory.parent)
    grown = ag.study(images, labels, directory=directory.name, replicates=3, settings=QUICK)
    assert grown.regimes[0].num_replicates == 3
    assert grown.cells[:2] == report.cells
    with pytest.raises(UsageError, match="holds other images"):
        ag.study(255 - images, labels, directory=directory, replicates=3, settings=QUICK)


def test_importing_takes_no_library():
    code = "import sys, augmentation_gain as ag; print([name for name in ('numpy', 'torch', 'pandas', 'matplotlib', "
    code += "'pydantic', 'prefect') if name in sys.modules], 'study' in dir(ag))"
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[] True\n"
    )


def test_everything_public_is_there_and_documented():
    assert all(getattr(ag, name).__doc__ for name in ag.__all__)
    with pytest.raises(AttributeError, match="no attribute 'learn'"):
        _ = ag.learn


@pytest.mark.parametrize(
    "images",
    [
        PIXELS,
        PIXELS[..., None],
        PIXELS[:, None],
        PIXELS.reshape(12, 64),
        PIXELS.astype(np.int64),
        PIXELS / 255,
        (PIXELS / 255).astype(np.float16),
        torch.from_numpy(PIXELS),
        torch.from_numpy(PIXELS).to(torch.bfloat16),
        np.array(list(PIXELS), object),
        np.ma.array(PIXELS),
        list(PIXELS),
        [image.tolist() for image in PIXELS],
        [Image.fromarray(image) for image in PIXELS],
        [png(image) for image in PIXELS],
    ],
    ids=[
        "NHW",
        "NHWC",
        "NCHW",
        "flat",
        "int64",
        "float",
        "half",
        "tensor",
        "brain",
        "objects",
        "masked",
        "arrays",
        "lists",
        "pillow",
        "bytes",
    ],
)
def test_images_in_any_form_are_the_same_images(images, tmp_path):
    pixels, names = everything(source_of(images, NAMES, tmp_path))
    assert np.array_equal(pixels[:, 0], PIXELS)
    assert names == NAMES


@pytest.mark.parametrize(
    "images", [COLOURS, COLOURS.transpose(0, 2, 3, 1), COLOURS / 255], ids=["NCHW", "NHWC", "float"]
)
def test_channels_stand_first_or_last(images, tmp_path):
    pixels, _ = everything(source_of(images, NAMES, tmp_path))
    assert np.array_equal(pixels, COLOURS)


def test_truth_values_are_black_and_white(tmp_path):
    pixels, _ = everything(source_of(PIXELS > 99, NAMES, tmp_path))
    assert np.array_equal(pixels[:, 0], np.where(PIXELS > 99, 255, 0))


def test_values_below_0_are_scaled_and_noted(tmp_path):
    source = source_of(PIXELS / 127.5 - 1, NAMES, tmp_path)
    assert np.array_equal(everything(source)[0][:, 0], PIXELS)
    assert "values from -1 to 1 were scaled" in source.warning


@pytest.mark.parametrize("mode", ["I;16", "I;16B", "I;16L", "I;16N"])
def test_pillow_images_of_16_bits_lose_none(mode, tmp_path):
    deep = PIXELS.astype(np.uint16) * 257
    order = {"I;16B": ">u2", "I;16N": "=u2"}.get(mode, "<u2")
    images = [Image.frombytes(mode, (8, 8), image.astype(order).tobytes()) for image in deep]
    assert np.array_equal(everything(source_of(images, NAMES, tmp_path))[0][:, 0], PIXELS)


@pytest.mark.parametrize("mode", ["PA", "RGBa", "La"])
def test_pillow_images_keep_what_is_transparent(mode, tmp_path):
    ink = [np.dstack([np.zeros((8, 8, 3), np.uint8), image]) for image in PIXELS]
    images = [Image.fromarray(image).convert({"La": "LA"}.get(mode, "RGBA")).convert(mode) for image in ink]
    pixels, _ = everything(source_of(images, NAMES, tmp_path))
    assert np.array_equal(pixels[:, 0], 255 - PIXELS)  # black ink on white


def test_arrays_of_paths_are_paths(tmp_path):
    for number, image in enumerate(PIXELS):
        Image.fromarray(image).save(tmp_path / f"{number}.png")
    paths = np.array([str(tmp_path / f"{number}.png") for number in range(12)])
    assert np.array_equal(everything(source_of(paths, NAMES, tmp_path / "data"))[0][:, 0], PIXELS)


def test_paths_are_read_and_sizes_may_differ(tmp_path):
    for number, image in enumerate(PIXELS):
        Image.fromarray(image[: 8 - number % 2]).save(tmp_path / f"{number}.png")
    paths = [tmp_path / f"{number}.png" for number in range(12)]
    source = source_of(paths, NAMES, tmp_path / "data", settings={"data.resize": 8})
    assert len(source.train) + len(source.test) == 12
    with pytest.raises(AugmentError, match="give all images one size"):
        source_of(paths, NAMES, tmp_path / "again")


@pytest.mark.parametrize(
    ("labels", "names"),
    [
        (np.arange(12) % 2, ["0", "1"]),
        (np.arange(12)[:, None] % 2, ["0", "1"]),
        (np.arange(12) % 2 == 1, ["0", "1"]),
        ((np.arange(12) % 2).astype(float), ["0", "1"]),
        (torch.arange(12) % 2, ["0", "1"]),
        ([torch.tensor(number % 2) for number in range(12)], ["0", "1"]),
        ([3, 70_000] * 6, ["3", "70000"]),
        (["2", "10"] * 6, ["2", "10"]),
        (pd.Series(["b", "a"] * 6, dtype="category"), ["b", "a"]),
        (pd.Series(["女", "naïve"] * 6), ["女", "naïve"]),
    ],
)
def test_labels_in_any_form(labels, names, tmp_path):
    assert everything(source_of(PIXELS, labels, tmp_path))[1] == names * 6


def test_class_names_are_given(tmp_path):
    source = source_of(PIXELS, np.arange(12) % 2, tmp_path, class_names=["no", "yes"])
    assert source.train.class_names == ("no", "yes")


def test_class_names_order_labels_that_are_texts(tmp_path):
    assert source_of(PIXELS, NAMES, tmp_path, class_names=["dog", "cat"]).train.class_names == ("dog", "cat")
    with pytest.raises(AugmentError, match="label 'cat' is not one of the class names"):
        source_of(PIXELS, NAMES, tmp_path / "again", class_names=["no", "yes"])


@pytest.mark.parametrize("names", ["no", [], {"no": 0, "yes": 1}, [None, "yes"], [0, 1]])
def test_class_names_are_a_list_of_texts(names, tmp_path):
    with pytest.raises(UsageError, match="class_names must be a list of texts"):
        source_of(PIXELS, np.arange(12) % 2, tmp_path, class_names=names)


@pytest.mark.parametrize(
    ("images", "classes"),
    [(list(torch.from_numpy(COLOURS / 255).float()), Pairs), ([Image.fromarray(image) for image in PIXELS], Pairs)],
    ids=["tensors", "pillow"],
)
def test_torch_data_sets_bring_their_labels_and_names(images, classes, tmp_path):
    source = source_of(classes(images, [0, 1] * 6), None, tmp_path)
    assert source.train.class_names == ("cat", "dog")
    assert len(source.train) + len(source.test) == 12


def test_part_of_a_torch_data_set_knows_the_names_of_the_whole(tmp_path):
    whole = Pairs(list(PIXELS), [0, 1] * 6)
    assert everything(source_of(torch.utils.data.Subset(whole, range(8)), None, tmp_path))[1] == NAMES[:8]


class Changed(Pairs):
    """A data set around another, as people write them to transform images or labels."""

    classes = None

    def __init__(self, whole, change, indices):
        self.dataset, self.indices, self._change = whole, indices, change

    def __len__(self):
        return len(self.indices)

    def __getitem__(self, index):
        image, label = self.dataset[self.indices[index]]
        return image, self._change(label)


class Known(Pairs):
    """A data set that holds its labels beside its items, as torchvision's do."""

    classes = ("cat", "dog", "emu")

    def __init__(self, images, labels, target_transform=None):
        super().__init__(images, labels)
        self.targets, self.target_transform = list(labels), target_transform

    def __getitem__(self, index):
        image, label = super().__getitem__(index)
        return image, label if self.target_transform is None else self.target_transform(label)


THREE = [0, 1, 2] * 4


@pytest.mark.parametrize(
    ("dataset", "names"),
    [
        (Known(PIXELS, THREE, target_transform=lambda label: 2 - label), ["2", "1", "0"]),
        (torch.utils.data.Subset(Known(PIXELS, THREE, lambda label: (label + 1) % 3), range(9)), ["1", "2", "0"]),
        (Known(PIXELS, THREE, target_transform=int), ["cat", "dog", "emu"]),
        (Changed(Known(PIXELS, THREE), lambda label: label - 1, [1, 2, 4, 5, 7, 8, 10, 11]), ["0", "1", "0"]),
        (Changed(Pairs(PIXELS, THREE), lambda label: label % 2, list(range(12))), ["0", "1", "0"]),
        (Changed(Known(PIXELS, THREE), int, list(range(3, 12))), ["cat", "dog", "emu"]),
        (torch.utils.data.ConcatDataset([Known(PIXELS, THREE), Known(255 - PIXELS, THREE)]), ["cat", "dog", "emu"]),
        (torch.utils.data.ConcatDataset([Known(PIXELS, THREE), Pairs(255 - PIXELS, THREE)]), ["0", "1", "2"]),
    ],
)
def test_class_names_hold_where_nothing_renumbers_the_labels(dataset, names, tmp_path):
    assert everything(source_of(dataset, None, tmp_path))[1][:3] == names


@pytest.mark.parametrize("in_train", [0, 1])
def test_test_images_are_of_the_classes_that_their_own_names_say(tmp_path, in_train):
    train = Known(PIXELS, THREE) if in_train else ([*PIXELS], ["cat", "dog", "emu"] * 4)
    tested = Known(255 - PIXELS, [0, 1] * 6)
    tested.classes = ("cat", "emu")
    images, labels = (train, None) if in_train else train
    source = source_of(images, labels, tmp_path, test=tested)
    assert [source.train.class_names[label] for label in source.test.labels[:2]] == ["cat", "emu"]


def test_a_test_class_that_the_train_images_lack_is_refused_by_name(tmp_path):
    tested = Known(255 - PIXELS, THREE)
    tested.classes = ("cat", "dog", "gnu")
    with pytest.raises(AugmentError, match="class 'gnu' of the test split"):
        source_of(Known(PIXELS, THREE), None, tmp_path, test=tested)


def test_hugging_faces_labels_that_a_transform_renumbers_lose_their_names(tmp_path):
    import datasets

    kinds = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"]))
    rows = {"image": [Image.fromarray(image) for image in PIXELS], "label": [0, 1] * 6}
    turned = datasets.Dataset.from_dict(rows, features=kinds).with_transform(
        lambda batch: {"image": batch["image"], "label": [1 - label for label in batch["label"]]}
    )
    assert everything(source_of(turned, None, tmp_path))[1][:2] == ["1", "0"]


def test_images_that_differ_each_time_are_refused(tmp_path):
    class Noisy(Pairs):
        def __getitem__(self, index):
            image, label = super().__getitem__(index)
            return torch.rand(image.shape), label

    with pytest.raises(UsageError, match="item 0 of the images is another image each time"):
        source_of(Noisy(PIXELS, [0, 1] * 6), None, tmp_path)


class Stream(torch.utils.data.IterableDataset):
    def __iter__(self):
        return iter(zip(PIXELS, NAMES, strict=True))


@pytest.mark.parametrize(
    ("images", "labels"),
    [
        (Stream(), None),
        (zip(PIXELS, NAMES, strict=True), None),
        (({"image": image, "label": name} for image, name in zip(PIXELS, NAMES, strict=True)), None),
        ((image for image in PIXELS), (name for name in NAMES)),
        (dict(enumerate(PIXELS)).values(), dict(enumerate(NAMES)).values()),
        (PIXELS, [name.encode() for name in NAMES]),
        (PIXELS, np.array(NAMES, "S")),
    ],
    ids=["stream", "pairs", "dictionaries", "generators", "values", "bytes", "array of bytes"],
)
def test_what_gives_images_one_after_the_other_is_read_once(images, labels, tmp_path):
    pixels, names = everything(source_of(images, labels, tmp_path))
    assert np.array_equal(pixels[:, 0], PIXELS)
    assert names == NAMES


def test_a_loader_of_batches_is_told(tmp_path):
    with pytest.raises(UsageError, match="give its data set, loader"):
        source_of(torch.utils.data.DataLoader(Pairs(PIXELS, [0, 1] * 6)), None, tmp_path)


@pytest.mark.parametrize("labels", [pd.Series(NAMES, dtype="category"), "animal", None])
def test_frames_may_have_a_column_for_each_pixel(labels, tmp_path):
    frame = pd.DataFrame(PIXELS.reshape(12, 64), columns=[f"pixel{number}" for number in range(1, 65)])
    frame = frame[sorted(frame.columns)]  # pixel10 before pixel2, as some programs write them
    if not isinstance(labels, pd.Series):
        frame["label" if labels is None else labels] = NAMES
    pixels, names = everything(source_of(frame, labels, tmp_path))
    assert np.array_equal(pixels[:, 0], PIXELS)
    assert names == NAMES


def test_labels_in_another_order_than_their_images_are_refused(tmp_path):
    frame = pd.DataFrame({"image": list(PIXELS)})
    with pytest.raises(UsageError, match="labels have the images' index in another order"):
        source_of(frame, pd.Series(NAMES)[::-1], tmp_path)


def test_hugging_faces_data_sets_are_taken_as_they_are(tmp_path):
    import datasets

    kinds = datasets.Features(image=datasets.Image(), label=datasets.ClassLabel(names=["cat", "dog"]))
    rows = {"image": [Image.fromarray(image) for image in PIXELS], "label": [0, 1] * 6}
    pixels, names = everything(source_of(datasets.Dataset.from_dict(rows, features=kinds), None, tmp_path))
    assert np.array_equal(pixels[:, 0], PIXELS)
    assert names == NAMES


def test_frames_have_columns_for_images_labels_and_groups(tmp_path):
    frame = pd.DataFrame({"scan": list(PIXELS), "finding": NAMES, "patient": np.arange(12) // 2})
    source = source_of(frame, "finding", tmp_path, groups="patient", settings={"data.image_column": "scan"})
    assert sorted(source.train.class_names) == ["cat", "dog"]
    assert "groups: 6" in source.layout


def test_groups_are_not_divided(tmp_path):
    source = source_of(PIXELS, NAMES, tmp_path, groups=np.arange(12) // 2)
    assert not set(source.train.groups.tolist()) & set(source.test.groups.tolist())


@pytest.mark.parametrize(
    "test", [(255 - PIXELS[:4], NAMES[:4]), Pairs([Image.fromarray(image) for image in PIXELS], [0, 1] * 6)]
)
def test_images_to_test_on_are_given(test, tmp_path):
    labels = NAMES if isinstance(test, tuple) else [0, 1] * 6
    source = source_of(PIXELS, labels, tmp_path, test=test)
    assert not source.held_out
    assert (len(source.train), len(source.test)) == (12, len(test[0]) if isinstance(test, tuple) else 12)


def test_paths_and_names_go_as_they_are(tmp_path):
    np.savez(tmp_path / "mine.npz", images=PIXELS, labels=NAMES)
    assert len(source_of(tmp_path / "mine.npz", None, tmp_path / "x").train) < 12
    assert source_of("digits", None, tmp_path / "x").name == "digits"


@pytest.mark.parametrize(
    ("images", "labels", "message"),
    [
        (np.zeros((3, 8, 8), np.uint8), None, "images need labels"),
        (np.zeros((3, 8, 8), np.uint8), [0, 1], "with 2 labels"),
        (np.zeros((3, 8, 8, 7), np.uint8), [0, 1, 1], r"C = 1, 3 or 4, not \(3, 8, 8, 7\)"),
        (np.zeros((3, 8, 8), complex), [0, 1, 1], "complex128"),
        (np.full((3, 8, 8), np.nan), [0, 1, 1], r"images\[0\] holds numbers that are not finite"),
        (np.zeros((3, 8, 8), np.uint8), [0, None, 1], "number 1 is missing"),
        (np.zeros((3, 8, 8), np.uint8), [0, float("nan"), 1], "number 1 is missing"),
        (np.zeros((3, 8, 8), np.uint8), [0, 0.5, 1], "number 1 is '0.5'"),
        (np.zeros((3, 8, 8), np.uint8), np.eye(3), "argmax"),
        (np.zeros((0, 8, 8), np.uint8), [], "there are no images"),
        (["nowhere.png"], ["a"], r"images\[0\]: cannot read 'nowhere.png'"),
        ([None, b"", 3], [0, 1, 1], r"images\[0\] is missing"),
        (pd.DataFrame({"picture": [1]}), None, "no column 'label'"),
        (iter(()), None, "there are no images"),
        (object(), None, "gives no items"),
        ([PIXELS[0]], None, "not a pair of image and label"),
        (None, [0, 1], "images are a NoneType"),
        ({"train": PIXELS}, None, r"the images are a dict; give one of its values \('train'\)"),
        ({b"1", b"2"}, [0, 1], "the images are a set; give a list"),
        (torch.empty((2, 8, 8), device="meta"), [0, 1], "a tensor cannot be read"),
        (torch.zeros((2, 8, 8)).to_sparse(), [0, 1], "give a dense one of numbers"),
        (np.ma.array(PIXELS, mask=PIXELS > 99), NAMES, "a part of an array is masked"),
        (PIXELS, np.ma.array(np.arange(12) % 2, mask=np.arange(12) == 3), "a part of an array is masked"),
        (PIXELS, np.arange(12).astype("datetime64[ns]"), r"are times \(datetime64\[ns\]\)"),
        ("nonsense", None, "unknown dataset"),
        ("digits", [0, 1], "has its own"),
    ],
)
def test_what_cannot_be_is_told_in_one_line(images, labels, message):
    with pytest.raises(UsageError, match=message) as told:
        ag.study(images, labels)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"workers": 0}, "give 1 or more"),
        ({"preset": "Standard"}, "there is no preset 'Standard'; there are quick, standard, full"),
        ({"workers": 2, "progress": True}, "1 where progress is to be shown"),
        ({"directory": "s3://bucket/run"}, "is a URL"),
        ({"test": "digits"}, "images in memory are tested on images in memory"),
        ({"test": (PIXELS,)}, r"give the pair \(images, labels\)"),
        ({"groups": [1, 2]}, "with 2 groups"),
        ({"settings": {"data.image_column": 0}}, "data.image_column is 0; give the name of a column"),
    ],
)
def test_options_that_cannot_be_are_told(options, message):
    with pytest.raises(UsageError, match=message):
        ag.study(PIXELS, NAMES, **options)


def test_missing_report_is_named(tmp_path):
    with pytest.raises(CorruptFileError, match="is missing"):
        ag.load_report(tmp_path)


def test_figures_come_as_frames(run):
    report = ag.load_report(run[0])
    arms, gains = ag.arms_frame(report), ag.gains_frame(report)
    assert arms["accuracy"].between(0, 1).all()
    assert gains["headline"].sum() == len(report.regimes)
    assert gains["gain"][0] == report.regimes[0].headline.mean
    assert len(ag.replicates_frame(report)) == len(report.cells) * len(arms)
    assert set(ag.classes_frame(report)["class"]) == set(report.dataset.class_names)


@pytest.mark.parametrize("plot", [ag.plot_gains, ag.plot_accuracies])
def test_figures_are_drawn_where_they_are_wanted(run, plot):
    axes = Figure().subplots()
    assert plot(ag.load_report(run[0]), axes) is axes
    assert axes.lines


def test_notebook_shows_the_answer_and_escapes_names(run):
    report = ag.load_report(run[0])
    named = report.model_copy(update={"dataset": report.dataset.model_copy(update={"name": "<b>mine"})})
    shown = named._repr_html_()
    assert report.regimes[0].sentence.split("(")[0] in shown
    assert "&lt;b&gt;mine" in shown
    assert "<script" not in shown


def test_progress_in_a_notebook_is_one_line_that_changes(monkeypatch):
    lines = []

    class ZMQInteractiveShell:
        pass

    handle = SimpleNamespace(update=lines.append)
    display = SimpleNamespace(HTML=str, display=lambda line, display_id: lines.append(line) or handle)
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=ZMQInteractiveShell))
    monkeypatch.setitem(sys.modules, "IPython.display", display)
    with shown_progress(True, total_weight=2.0):
        for cell in "ab":
            update = StageUpdate(cell=cell, stage="train <GAN>", weight=1.0, share=1.0, detail="")
            listeners()[0].finished(update, skipped=False)
    assert "0%" in lines[0]
    assert "50%" in lines[1]
    assert "train &lt;GAN&gt;" in lines[1]
    assert "100%, finished" in lines[-1]


def test_progress_elsewhere_goes_to_standard_error(capsys):
    with shown_progress(True, total_weight=1.0):
        listeners()[0].noted("a line")
    out, err = capsys.readouterr()
    assert out == ""
    assert "a line" in err


@pytest.fixture(scope="module")
def generator(digits, tmp_path_factory):
    images, labels = digits
    return ag.train_gan(images[:200], labels[:200], directory=tmp_path_factory.mktemp("gan"), settings=QUICK)


def test_generator_learns_from_all_images_and_is_sampled(generator):
    images, labels = ag.sample(generator, 25, device="cpu")
    assert (images.shape, images.dtype) == ((25, 8, 8), np.uint8)
    assert set(labels) == {f"digit {label}" for label in range(10)}
    assert ag.plot_images(images, labels, Figure().subplots()).images


def test_export_begins_with_what_is_sampled(generator, tmp_path):
    ag.export(generator, tmp_path / "out", 25, device="cpu")
    written = source_of(f"parquet:{tmp_path / 'out'}", None, tmp_path)
    assert np.array_equal(everything(written)[0][:, 0], ag.sample(generator, 25, device="cpu")[0])


def test_export_takes_counts_by_name_and_real_images(generator, tmp_path):
    ag.export(generator, tmp_path / "out", class_counts={"digit 3": 4, "digit 4": 2}, mix_real=True, device="cpu")
    labels = pd.read_parquet(tmp_path / "out" / "data", columns=["synthetic"])
    assert labels["synthetic"].value_counts().to_dict() == {False: 200, True: 6}


def test_generator_of_a_run_is_found(run):
    assert len(ag.sample(run[0], 10, cell="balanced-4/1", device="cpu")[0]) == 10


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda gan, here: ag.sample(here, 3), "holds no trained generator"),
        (lambda gan, here: ag.sample(gan, 0), "ask for 1 or more"),
        (lambda gan, here: ag.sample(gan, 3, seed=-1), "seed is -1"),
        (lambda gan, here: ag.sample(here / ("x" * 300), 3), "cannot look at"),
        (lambda gan, here: ag.train_gan(PIXELS, NAMES, directory=here / "x", seed=2**63), "give one from 0 to"),
        (lambda gan, here: ag.export(gan, here / "x", class_counts={"cat": 3}), "no class 'cat'"),
        (lambda gan, here: ag.export(gan, here / "x", class_counts={"digit 3": 2.7}), "is no whole number"),
        (lambda gan, here: ag.export(gan, here / "x", file_format="tar"), "none of parquet, imagefolder, idx"),
        (lambda gan, here: ag.train_gan(PIXELS, NAMES, directory=gan.parent), "is already there"),
        (lambda gan, here: ag.plot_images(PIXELS[0]), "images must be"),
    ],
)
def test_impossible_wishes_of_generators_are_told(call, message, generator, tmp_path):
    with pytest.raises(UsageError, match=message):
        call(generator, tmp_path)


def test_images_that_are_there_are_judged(digits, tmp_path):
    images, labels = digits
    kept = np.concatenate([np.flatnonzero(labels == name)[:30] for name in np.unique(labels)])
    made = np.concatenate([np.flatnonzero(labels == name)[30:36] for name in np.unique(labels)])
    settings = {key: value for key, value in QUICK.items() if key != "data.images_per_class"}
    report = ag.judge(
        images[kept],
        labels[kept],
        synthetic=(images[made], labels[made]),
        directory=tmp_path / "run",
        settings=settings,
    )
    assert report.regimes[0].design.name == "one data set"
    assert "saw" in report.dataset.warning
    assert all(cell.samples is not None for cell in report.cells)


@pytest.mark.parametrize(
    ("synthetic", "message"),
    [
        (PIXELS, "a ndarray; give a path"),
        ((PIXELS, NAMES, 1), "synthetic has 3 parts"),
        (None, "NoneType"),
    ],
)
def test_synthetic_images_are_a_path_or_a_pair(synthetic, message):
    with pytest.raises(UsageError, match=message):
        ag.judge(PIXELS, NAMES, synthetic=synthetic)


def test_synthetic_images_of_other_classes_are_refused(digits, tmp_path):
    images, labels = digits
    with pytest.raises(UsageError, match="class"):
        ag.judge(images, labels, synthetic=(images[:40], np.arange(40) % 2), settings=QUICK)
