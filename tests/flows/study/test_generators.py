"""Generators that are not the GAN: what may be named, what is run, and what comes of those that fail."""

import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from data.base import plugins
from data.base.device import Compute
from data.base.errors import AugmentError, UsageError
from data.base.files import read_json
from data.images import LabelledImages
from data.parquet import read_published
from evaluation.reporting.run_files import REPORT_JSON
from flows.commands.allowing import allow_code
from flows.study.config import StudyConfig, resolve_config, validate_config
from flows.study.generators.naming import allow_generator, generator_digest, generator_name
from flows.study.generators.programs import run_program
from flows.study.job import Job
from flows.study.running import run_study
from flows.study.stages.outside import LOG_FILE, OutsideSettings, run_generator
from gan.export import PROVENANCE_FILE, SAMPLES_FILE
from gan.export import sample_source as source_of
from tests.waiting import PATIENCE_SECONDS, wait_until, with_own

CPU = Compute(device="cpu", precision="float32")
PYTHON = shlex.quote(sys.executable)
PREAMBLE = "import sys, numpy as np\nsubset, output, n, seed = sys.argv[1:]\n"
GOOD = (
    "given = np.load(subset)\n"
    "labels = np.repeat(np.arange(len(given['class_names'])), int(n))\n"
    "first = [np.flatnonzero(given['labels'] == label)[0] for label in labels]\n"
    "np.savez(output, images=given['images'][first], labels=labels)\n"
)


@pytest.fixture(autouse=True)
def nothing_allowed(monkeypatch, tmp_path):
    monkeypatch.setenv(plugins.ALLOWED, "")
    monkeypatch.setenv(plugins.DIRECTORY, str(tmp_path))
    monkeypatch.chdir(tmp_path)
    generator_digest.cache_clear()


@pytest.fixture
def subset():
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(3), 4)
    images = rng.integers(0, 256, (12, 1, 8, 8)).astype(np.uint8)
    return LabelledImages(images=images, labels=labels, rows=np.arange(12), class_names=("ant", "bee", "c/d"))


def command(tmp_path, script, *, name="make.py", arguments="{subset_npz} {output} {num_images} {seed}"):
    (tmp_path / name).write_text(PREAMBLE + script)
    return f"command: {PYTHON} {tmp_path / name} {arguments}"


def run(tmp_path, generator, subset, *, num_images=5, seed=3, allowed=True):
    if allowed:
        allow_generator(generator)
    settings = OutsideSettings(generator=generator, images_per_class=num_images, time_limit=PATIENCE_SECONDS)
    job = Job(
        cell="a/0",
        settings=settings,
        seed=seed,
        compute=CPU,
        code="",
        output=tmp_path / "generator",
        on_update=lambda share, detail: None,
    )
    run_generator(job, subset=subset, origin={"source": "toy", "source_train": "0", "subset": "1"})
    return source_of(tmp_path / "generator").images


# --- what may be named


@pytest.mark.parametrize(
    ("generator", "message"),
    [
        ("gna", "write gan, pca-mixture, interpolation"),
        ("command:", "the command is empty"),
        ("command: make {subset}", r"holds no \{output\}"),
        ("command: make {outptu} {output}", r"holds \{outptu\}; there are \{subset\}"),
        ("command: make 'x {output}", "cannot be divided into words"),
        ("folder:", "names no path"),
    ],
)
def test_impossible_generators_are_refused_with_what_to_write(generator, message):
    with pytest.raises(UsageError, match=message):
        validate_config({"generator": generator})


def test_a_generator_is_no_rival_of_itself():
    arms = ["real", "real+classical", "real+classical+synthetic", "real+classical+pca-mixture"]
    with pytest.raises(UsageError, match=r"leave out the arm real\+classical\+pca-mixture"):
        validate_config({"generator": "pca-mixture", "evaluation": {"arms": arms}})
    assert validate_config({"generator": "interpolation", "evaluation": {"arms": arms}})


@pytest.mark.parametrize(
    ("generator", "name"),
    [
        ("gan", "GAN"),
        ("command: /home/me/bin/draw --to {output}", "draw"),
        ("command: python -u /home/me/kde.py {output}", "kde.py"),
        ("folder:/home/me/synthetic", "the set folder:synthetic"),
        ("mine.models:draw", "mine.models:draw"),
    ],
)
def test_names_that_are_published_hold_no_path(generator, name):
    assert generator_name(generator) == name


def test_a_long_word_of_a_command_is_no_file():
    assert generator_digest(f"command: python -c '{'x = 1;' * 100}' {{output}}")


def test_an_edited_script_is_another_generator(tmp_path):
    text = command(tmp_path, GOOD)
    before = generator_digest(text)
    generator_digest.cache_clear()
    assert generator_digest(command(tmp_path, GOOD)) == before
    generator_digest.cache_clear()
    assert generator_digest(command(tmp_path, GOOD + "# other\n")) != before


# --- what may run


def test_a_command_runs_only_where_the_user_named_it(tmp_path, subset):
    text = command(tmp_path, GOOD)
    with pytest.raises(UsageError, match=r"does not make run here.*--allow command:x"):
        run(tmp_path, text, subset, allowed=False)
    validate_config({"generator": text})
    with pytest.raises(UsageError, match="does not make run here"):
        run(tmp_path, text, subset, allowed=False)
    allow_code(None, study=resolve_config(preset_name="quick", file=None, options={"generator": text}, assignments=[]))
    assert len(run(tmp_path, text, subset, allowed=False)) == 15


def test_a_function_runs_only_where_the_user_named_it(tmp_path, subset):
    (tmp_path / "not_named.py").write_text("def make(images, labels, n, seed): return images, labels\n")
    with pytest.raises(UsageError, match="--allow not_named:make"):
        run(tmp_path, "not_named:make", subset, allowed=False)


# --- functions


def function(tmp_path, name, body):
    (tmp_path / f"{name}.py").write_text(
        f"import numpy as np\ndef make(images, labels, num_images, seed):\n    {body}\n"
    )
    return f"{name}:make"


def test_a_function_gets_the_subset_and_gives_the_samples(tmp_path, subset):
    body = "return np.repeat(images[[0, 4, 8]], num_images, axis=0), np.repeat([0, 1, 2], num_images)"
    made = run(tmp_path, function(tmp_path, "repeats", body), subset, num_images=2)
    assert made.class_counts().tolist() == [2, 2, 2]
    assert np.array_equal(made.images[0], subset.images[0])
    assert made.class_names == subset.class_names


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("raise RuntimeError('no luck')", "failed with RuntimeError: no luck"),
        ("return images", "returned ndarray; return"),
        ("return images / 255, labels", "type float64; return uint8"),
        ("return images[..., :7], labels", r"shape \(12, 1, 8, 7\); return \(N, 1, 8, 8\)"),
        ("return images, labels[:-1]", "12 images and 11 labels"),
        ("return images, labels + 1", "the label 3; there are 0 to 2"),
        ("return images, labels * 1.0", "return .N,. integers"),
        ("return images, np.minimum(labels, 1)", "0 of the 4 images of class 'c/d' are there"),
    ],
)
def test_what_a_function_does_wrong_is_one_clear_line(tmp_path, subset, body, message, request):
    name = f"wrong_{abs(hash(request.node.name))}"
    with pytest.raises(AugmentError, match=message) as found:
        run(tmp_path, function(tmp_path, name, body), subset, num_images=4)
    assert "\n" not in str(found.value)
    assert not (tmp_path / "generator" / SAMPLES_FILE).exists()


# --- commands


@pytest.mark.parametrize("placeholder", ["subset", "subset_folder", "subset_npz"])
def test_a_command_may_give_back_what_it_was_given_in_each_form(tmp_path, subset, placeholder):
    script = (
        "import shutil, pathlib\n"
        "shutil.copytree(subset, output) if pathlib.Path(subset).is_dir() else shutil.copy(subset, output + '.npz')\n"
    )
    text = command(tmp_path, script, arguments=f"{{{placeholder}}} {{output}} {{num_images}} {{seed}}")
    made = run(tmp_path, text, subset, num_images=4)
    assert made.class_names == subset.class_names
    order = np.lexsort((made.images.reshape(12, -1)[:, 0], made.labels))
    expected = np.lexsort((subset.images.reshape(12, -1)[:, 0], subset.labels))
    assert np.array_equal(made.images[order], subset.images[expected])


def test_a_command_leaves_its_log_and_nothing_of_its_work(tmp_path, subset):
    run(tmp_path, command(tmp_path, "print('fitting')\n" + GOOD), subset)
    assert sorted(path.name for path in (tmp_path / "generator").iterdir()) == [
        LOG_FILE, "operations.json", PROVENANCE_FILE, "real-and-generated.png", SAMPLES_FILE
    ]  # fmt: skip
    assert (tmp_path / "generator" / LOG_FILE).read_text() == "fitting\n"


def test_the_seed_reaches_the_command(tmp_path, subset):
    run(tmp_path, command(tmp_path, "print(seed)\n" + GOOD), subset, seed=41)
    assert (tmp_path / "generator" / LOG_FILE).read_text() == "41\n"


@pytest.mark.parametrize(
    ("script", "message"),
    [
        ("print('half way'); sys.exit('no memory for this')", "exit code 1; its last line: 'no memory for this'"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "SIGKILL .out of memory"),
        ("pass", "wrote nothing at {output}"),
        ("open(output, 'w').write('hello')", "no data set that is known by its looks"),
        ("open(output + '.npz', 'w').write('hello')", "{output} is truncated"),
        (GOOD.replace("int(n)", "2"), "2 of the 5 images of class 'ant' are there"),
        (GOOD.replace("[first]", "[first][:, :7, :7]"), "7x7 pixels, the real ones 8x8"),
        (GOOD.replace("labels=labels", "names=labels"), "cannot be used"),
        (GOOD.replace("labels=labels", "labels=labels + 7"), "is none of the real ones: ant, bee"),
        (
            GOOD.replace("given['images'][first]", "np.stack([given['images'][first]] * 2 + [0 * labels[:, None, None]"
            " + np.zeros((1, 8, 8), np.uint8)], -1).astype(np.uint8)"),
            "have colour, the real ones are grayscale",
        ),
    ],
)  # fmt: skip
def test_what_a_command_does_wrong_is_one_clear_line_and_can_be_mended(tmp_path, subset, script, message):
    with pytest.raises(AugmentError, match=message) as found:
        run(tmp_path, command(tmp_path, script), subset)
    assert "\n" not in str(found.value)
    assert str(tmp_path / "generator" / LOG_FILE) in str(found.value)
    assert (tmp_path / "generator" / LOG_FILE).exists()
    assert len(run(tmp_path, command(tmp_path, GOOD), subset)) == 15


def test_a_program_that_is_not_there_is_named(tmp_path, subset):
    with pytest.raises(UsageError, match="there is no program 'no-such-program'"):
        run(tmp_path, "command: no-such-program {output}", subset)


def is_alive(process: int) -> bool:
    try:
        state = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return False
    return state != "Z"


HANG = """
import subprocess, sys, time, signal, pathlib
signal.signal(signal.SIGTERM, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
pathlib.Path(sys.argv[1]).write_text(str(child.pid))
print("hanging", flush=True)
time.sleep(600)
"""


@pytest.mark.slow
def test_a_command_that_hangs_is_ended_with_all_its_children(tmp_path, monkeypatch):
    (tmp_path / "hang.py").write_text(HANG)
    words, log = [sys.executable, str(tmp_path / "hang.py"), str(tmp_path / "child")], tmp_path / "log"

    def clock() -> float:
        return 2.0 if log.exists() and "hanging" in log.read_text() else 0.0

    monkeypatch.setattr("flows.study.generators.programs.time", with_own(time, monotonic=clock))
    with pytest.raises(AugmentError, match=r"ended after 2 s, the time limit; its last line: 'hanging'"):
        run_program(words, log=log, limit_seconds=2.0, on_wait=lambda *_: None)
    child = int((tmp_path / "child").read_text())
    wait_until(lambda: not is_alive(child))


@pytest.mark.slow
def test_a_command_ends_with_the_process_that_waits_for_it_even_a_killed_one(tmp_path):
    (tmp_path / "hang.py").write_text(HANG)
    words = [sys.executable, str(tmp_path / "hang.py"), str(tmp_path / "child")]
    waiting = (
        "from pathlib import Path\nfrom flows.study.generators.programs import run_program\n"
        f"run_program({words!r}, log=Path({str(tmp_path / 'log')!r}), limit_seconds=600, on_wait=lambda *_: None)\n"
    )
    waiter = subprocess.Popen(
        [sys.executable, "-c", waiting], env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    )
    written = tmp_path / "child"
    wait_until(lambda: written.exists() and written.read_text())
    child = int(written.read_text())
    waiter.send_signal(signal.SIGKILL)
    waiter.wait()
    wait_until(lambda: not is_alive(child))


# --- ready images, and whole studies


def test_ready_images_are_taken_as_far_as_there_are(tmp_path, subset):
    np.savez(tmp_path / "set.npz", images=subset.images[:8, 0], labels=subset.labels[:8])
    with pytest.raises(UsageError, match="0 of the 1 images of class 'c/d' are there"):
        run(tmp_path, f"npz:{tmp_path / 'set.npz'}", subset)
    np.savez(tmp_path / "all.npz", images=subset.images[:, 0], labels=subset.labels)
    assert run(tmp_path, f"npz:{tmp_path / 'all.npz'}", subset, num_images=3).class_counts().tolist() == [3, 3, 3]
    assert len(run(tmp_path, f"npz:{tmp_path / 'all.npz'}", subset, num_images=300)) == 12


@pytest.fixture(scope="module")
def small(tiny: StudyConfig) -> StudyConfig:
    """Two arms and their headline, without the arms that only a GAN's study has."""
    arms = ("real", "real+classical", "equal-compute", "real+classical+synthetic", "real+classical+interpolation")
    evaluation = tiny.evaluation.model_copy(update={"arms": arms, "equal_compute": "auto", "classifier_seeds": 1})
    return tiny.model_copy(update={"evaluation": evaluation, "generator": "pca-mixture"})


@pytest.mark.slow
def test_a_study_of_a_cheap_generator_is_a_study_like_any_other(small: StudyConfig, tmp_path: Path) -> None:
    run_study(small, tmp_path / "run")
    report = read_json(tmp_path / "run" / REPORT_JSON)
    assert report["generator"] == "pca-mixture"
    assert "GAN" not in report["sentence"]
    cell = tmp_path / "run" / "cells" / "balanced-10" / "0"
    assert read_json(cell / "generator" / PROVENANCE_FILE)["made_by"] == "pca-mixture"
    assert read_published(cell / "synthetic").class_counts().tolist() == [20] * 10
    assert "made by pca\\-mixture" in (cell / "synthetic" / "README.md").read_text()
    page = (tmp_path / "run" / "report.html").read_text()
    assert "What pca-mixture made" in page
    spoken = page[: page.index("Configuration")]
    assert re.findall(r".{40}(?<![\w/+])GAN(?![\w/+=]).{40}", spoken) == []
