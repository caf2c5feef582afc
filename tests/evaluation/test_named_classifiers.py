"""Classifiers by name: ResNet-18, scikit-learn's estimators, and the user's own code, good and bad."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from data.base.device import Compute
from data.base.errors import AugmentError, UsageError
from data.base.plugins import allow
from data.config import DeformationConfig
from data.policies import Views
from evaluation.classifiers import check_classifier, classifier_operations, fit_classifier
from evaluation.config import ClassifierConfig
from evaluation.estimators import fitting_images, with_probabilities
from evaluation.fitting import FitOptions
from evaluation.named_classifiers import named_code_digests
from evaluation.training_set import TrainingSet

DIGITS = Views(deformation=DeformationConfig())
HEAD = """
import torch
from torch import nn

def sizes(channels, image_size):
    return channels * image_size[0] * image_size[1]

"""
NETWORK = (
    HEAD
    + """
def make(channels, classes, image_size, hidden=32):
    return nn.Sequential(
        nn.Flatten(), nn.Linear(sizes(channels, image_size), hidden), nn.BatchNorm1d(hidden), nn.ReLU(),
        nn.Dropout(0.2), nn.Linear(hidden, classes),
    )
"""
)
OBJECT = """
import numpy as np

class Nearest:
    def fit(self, images, labels):
        assert images.dtype == np.float32 and images.ndim == 4 and images.min() >= -1 and images.max() <= 1
        assert images.min() < 0
        self.means = np.stack([images[labels == label].mean(0) for label in range(3)])

    def predict_proba(self, images):
        far = ((images[:, None] - self.means) ** 2).sum((2, 3, 4))
        near = np.exp(-(far - far.min(1, keepdims=True)))
        return near / near.sum(1, keepdims=True)

def make(channels, classes, image_size):
    return Nearest()
"""


def options(kind, seed=0, **changes):
    settings = {"kind": kind, "steps": 40, "batch_size": 16, "deformed_copies": 2, "learning_rate": 1e-2, **changes}
    return FitOptions(
        config=ClassifierConfig(**settings),
        added_shares=(0.5, 0.5),
        seed=seed,
        compute=Compute(device="cpu", precision="float32"),
        on_progress=lambda progress: None,
    )


@pytest.fixture
def halves(striped):
    return striped.take(np.arange(30)), striped.take(np.arange(30, 60))


def own(own_code, source, name="own_net"):
    own_code(f"{name}.py", source)
    allow(f"{name}:make")
    return f"{name}:make"


def accuracy(halves, given, **parts):
    train, test = halves
    training = TrainingSet(base=train, added=None, policy=None)
    classifier = fit_classifier(replace(training, **parts), given)
    return (classifier.predict_probabilities(test.images).argmax(1) == test.labels).mean()


def check(kind, weighted=False, **changes):
    check_classifier(ClassifierConfig(kind=kind, **changes), shape=(1, 8, 8), num_classes=3, weighted=weighted)


# --- what works ---


@pytest.mark.parametrize(
    ("kind", "parameters"),
    [
        ("sklearn:sklearn.svm.SVC", {"C": 10.0}),
        ("sklearn:sklearn.svm.LinearSVC", {}),
        ("sklearn:sklearn.ensemble.RandomForestClassifier", {"n_estimators": 20}),
    ],
)
@pytest.mark.parametrize("policy", [None, DIGITS])
def test_named_classifiers_learn_stripes(halves, kind, parameters, policy):
    given = options(kind, parameters=parameters, steps=20)
    assert accuracy(halves, given, policy=policy) >= 0.9


def test_resnet18_is_trained(halves):
    train, test = halves
    training = TrainingSet(base=train, added=test, policy=None)
    few, more = (
        fit_classifier(training, options("resnet18", steps=steps, batch_size=4)).predict_probabilities(test.images)
        for steps in (2, 3)
    )
    np.testing.assert_allclose(few.sum(1), 1, atol=1e-5)
    assert not np.array_equal(few, more)


def test_own_network_learns_with_the_parameters_of_the_configuration(halves, own_code):
    kind = own(own_code, NETWORK)
    assert accuracy(halves, options(kind, parameters={"hidden": 16})) >= 0.9
    with pytest.raises(UsageError, match=r"its factory fails with TypeError: .*'width'"):
        check(kind, parameters={"width": 16})


def test_own_object_is_fitted_to_images_from_minus_one_to_one(halves, own_code):
    assert accuracy(halves, options(own(own_code, OBJECT))) >= 0.9


@pytest.mark.parametrize("source", [NETWORK, OBJECT])
def test_added_images_are_learnt_from(halves, own_code, source):
    train, _ = halves
    mislabelled = replace(train, labels=(train.labels + 1) % 3)
    given = options(own(own_code, source))
    assert accuracy(halves, replace(given, added_shares=(0.9, 0.9)), added=mislabelled) < accuracy(halves, given)


RANDOM_OBJECT = OBJECT.replace("return near /", "near = near + np.random.rand(*near.shape); return near /")


@pytest.mark.parametrize(
    ("kind", "source", "parameters"),
    [
        ("own_net:make", NETWORK, {}),
        ("own_net:make", RANDOM_OBJECT, {}),
        ("sklearn:sklearn.ensemble.ExtraTreesClassifier", "", {"n_estimators": 3, "max_depth": 1}),
    ],
)
def test_same_seed_gives_the_same_bytes_whatever_was_drawn_before(halves, own_code, kind, source, parameters):
    if source:
        own(own_code, source)
    train, test = halves
    training = TrainingSet(base=train, added=test, policy=DIGITS)

    def answers(seed):
        torch.rand(7), np.random.rand(3)
        given = options(kind, seed, parameters=parameters)
        return fit_classifier(training, given).predict_probabilities(test.images)

    first = answers(0)
    np.testing.assert_array_equal(first, answers(0))
    assert not np.array_equal(first, answers(1))


def test_own_code_leaves_the_global_generators_as_they_were(halves, own_code):
    kind = own(own_code, NETWORK)
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    accuracy(halves, options(kind))
    assert torch.equal(torch.rand(3), expected)


def test_frozen_parameters_stay_as_they_are(halves, own_code):
    kind = own(
        own_code,
        HEAD
        + """
kept = []
class Frozen(nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.body, self.head = nn.Linear(inputs, 64), nn.Linear(64, classes)
        self.body.requires_grad_(False)
        kept.append(self.body.weight.clone())
    def forward(self, images):
        kept.append(self.body.weight.clone())
        return self.head(self.body(images.flatten(1)).relu())
def make(channels, classes, image_size):
    return Frozen(sizes(channels, image_size), classes)
""",
    )
    assert accuracy(halves, options(kind)) >= 0.9
    import own_net

    assert torch.equal(own_net.kept[0], own_net.kept[-1])


def test_a_network_that_the_factory_returns_again_and_again_is_not_trained_twice(halves, own_code):
    kind = own(
        own_code,
        HEAD
        + """
network = None
def make(channels, classes, image_size):
    global network
    network = network or nn.Sequential(nn.Flatten(), nn.Linear(sizes(channels, image_size), classes))
    return network
""",
    )
    train, test = halves
    training = TrainingSet(base=train, added=None, policy=None)
    first, second = (fit_classifier(training, options(kind)).predict_probabilities(test.images) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_own_network_is_trained_in_training_mode_and_judged_in_evaluation_mode(halves, own_code):
    kind = own(
        own_code,
        HEAD
        + """
modes = []
class Noted(nn.Module):
    def __init__(self, inputs, classes):
        super().__init__()
        self.head = nn.LazyLinear(classes)
    def forward(self, images):
        modes.append((self.training, torch.is_grad_enabled()))
        return self.head(images.view(len(images), -1))
def make(channels, classes, image_size):
    return Noted(sizes(channels, image_size), classes)
""",
    )
    accuracy(halves, options(kind, steps=3))
    import own_net

    assert own_net.modes == [(False, False), *[(True, True)] * 3, (False, False)]


def test_optimiser_settings_are_those_of_the_configuration(halves, own_code, monkeypatch):
    kind, seen = own(own_code, NETWORK), []
    adamw = torch.optim.AdamW
    monkeypatch.setattr(
        "torch.optim.AdamW", lambda *args, **settings: seen.append(settings) or adamw(*args, **settings)
    )
    accuracy(halves, options(kind, learning_rate=0.02, weight_decay=0.3, steps=2))
    accuracy(halves, options(kind, learning_rate="auto", steps=2))
    assert [(settings["lr"], settings["weight_decay"]) for settings in seen] == [(0.02, 0.3), (1e-3, 1e-2)]


@pytest.mark.parametrize(("side", "first", "pooled"), [(8, (3, 3), False), (96, (7, 7), True)])
def test_resnet18_halves_nothing_at_the_start_on_small_images(side, first, pooled):
    from data.base.randomness import GlobalRandomness
    from evaluation.named_classifiers import make_classifier

    made = make_classifier(
        ClassifierConfig(kind="resnet18"),
        shape=(3, side, side),
        num_classes=5,
        randomness=GlobalRandomness(0, device="cpu"),
    )
    assert made.network.conv1.kernel_size == first
    assert isinstance(made.network.maxpool, nn.MaxPool2d) == pooled


def test_classes_that_training_lacks_get_probability_zero(halves):
    train, test = halves
    without = train.take(np.flatnonzero(train.labels != 1))
    training = TrainingSet(base=without, added=None, policy=None)
    fitted = fit_classifier(training, options("sklearn:sklearn.naive_bayes.GaussianNB"))
    assert (fitted.predict_probabilities(test.images)[:, 1] == 0).all()


def test_copies_of_an_image_never_cross_a_fold_of_the_calibration(halves):
    from sklearn.svm import LinearSVC

    train, _ = halves
    training = TrainingSet(base=train, added=None, policy=DIGITS, balance="batches")
    given = fitting_images(training, options("sklearn:sklearn.svm.LinearSVC"))
    calibrated = with_probabilities(LinearSVC(), kind="", labels=given.labels, origins=given.origins)
    splits = list(calibrated.cv.split())
    assert len(splits) == 3
    for fitted, held_out in splits:
        assert not set(given.origins[fitted]) & set(given.origins[held_out])
        assert set(given.labels[fitted]) == set(given.labels[held_out]) == {0, 1, 2}


def test_a_loss_weighted_by_class_reaches_the_estimator(striped):
    rng = np.random.default_rng(0)
    rare = striped.take(np.concatenate([np.flatnonzero(striped.labels != 1), np.flatnonzero(striped.labels == 1)[:2]]))
    noisy = replace(rare, images=rng.integers(0, 256, rare.images.shape, dtype=np.uint8))
    kind = "sklearn:sklearn.naive_bayes.GaussianNB"

    def told(balance):
        training = TrainingSet(base=noisy, added=None, policy=None, balance=balance)
        return fit_classifier(training, options(kind, parameters={"var_smoothing": 10.0})).predict_probabilities(
            noisy.images
        )[:, 1]

    assert told("loss").mean() > 3 * told("none").mean()


# --- equal compute ---


def test_operations_of_a_network_grow_with_steps_and_batch(own_code):
    kind = own(own_code, NETWORK)

    def count(**settings):
        return classifier_operations(ClassifierConfig(kind=kind, **settings), shape=(1, 8, 8), num_classes=3)

    layers = 64 * 32 + 32 * 3
    assert count(steps=5, batch_size=8) == 5 * 8 * (2 * layers * 3 - 2 * 64 * 32)  # no gradient of the images
    assert count(steps=10, batch_size=16) == 4 * count(steps=5, batch_size=8)


def test_operations_that_cannot_be_counted_are_none_or_nought(own_code):
    uncounted = HEAD + (
        "class Scale(nn.Module):\n"
        "    def __init__(self, classes):\n"
        "        super().__init__()\n"
        "        self.scale = nn.Parameter(torch.ones(classes))\n"
        "    def forward(self, images):\n"
        "        return images.mean((1, 2, 3))[:, None] * self.scale\n"
        "def make(channels, classes, image_size):\n"
        "    return Scale(classes)\n"
    )
    for kind, expected in [
        (own(own_code, uncounted), 0),
        (own(own_code, OBJECT, "own_object"), None),
        ("sklearn:sklearn.svm.SVC", None),
        ("knn", None),
    ]:
        assert classifier_operations(ClassifierConfig(kind=kind), shape=(1, 8, 8), num_classes=3) == expected


# --- what is wrong is one line, and told before anything is trained ---

MODULE = (
    HEAD
    + """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(64, 3)
    def forward(self, x):
        FORWARD
def make(*given):
    return Net()
"""
)
UNFINISHED = "class make:\n    def __init__(self, *given): pass\n    def fit(self, images, labels): pass\n"
FROZEN = NETWORK + "made = make\ndef make(*given):\n    return made(*given).requires_grad_(False)\n"


def forward(line):
    return MODULE.replace("FORWARD", line)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("other = 1\n", "has no make"),
        ("make = 3\n", "is of type int; name a function that makes one"),
        ("def make():\n    pass\n", r"its factory fails with TypeError: make\(\) takes 0 positional"),
        ("def make(*given):\n    raise RuntimeError('no\\nweights')\n", "its factory fails with RuntimeError: no$"),
        ("def make(*given):\n    open('weights.pt')\n", r"fails with FileNotFoundError: .*weights.pt"),
        ("def make(*given):\n    raise SystemExit(0)\n", "its factory fails with SystemExit"),
        (
            "def make(*given):\n    return None\n",
            "its factory returns something of type NoneType; it must return a torch.nn.Module",
        ),
        ("def make(*given):\n    return 'network'\n", "its factory returns something of type str; it must"),
        ("from sklearn.svm import SVC\ndef make(*given):\n    return SVC\n", "its factory returns the class SVC"),
        (UNFINISHED, "returns something of type make;"),
        (NETWORK.replace("hidden, classes)", "hidden, classes + 1)"), r"gives a tensor \(2, 4\) for 3 classes"),
        (NETWORK.replace("nn.Flatten(), nn.Linear", "nn.Linear"), "forward pass fails with RuntimeError"),
        (NETWORK.replace("nn.Linear(sizes(channels, image_size)", "nn.Linear(5"), "forward pass fails with Runtime"),
        (forward("return self.a(x.flatten(1)), 1"), "gives a tuple"),
        (forward("return self.a(x.flatten(1)) / 0"), "gives NaN or infinity on images of noise"),
        (FROZEN, "no parameter that requires a gradient"),
    ],
)
def test_bad_code_is_one_clear_line(own_code, source, message):
    kind = own(own_code, source)
    with pytest.raises(UsageError, match=message) as raised:
        check(kind)
    assert "\n" not in str(raised.value)
    assert kind in str(raised.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("return near /", "return near[:, :2] /"), r"predict_proba gives an array \(30, 2\); it must give \(30, 3\)"),
        (("return near /", "return near[:-1] /"), r"predict_proba|fails"),
        (("return near /", "return near.argmax(1) #"), r"gives an array \(30,\); it must give \(30, 3\)"),
        (("return near /", "return near * np.nan /"), "gives NaN or infinity"),
        (("return near /", "return 2 * near /"), "no probabilities adding up to 1"),
        (("return near /", "return ['a'] #"), "reading its predict_proba fails with ValueError"),
        (("return near /", "raise ValueError('bad'); return near /"), "its predict_proba fails with ValueError: bad"),
        (("self.means =", "raise MemoryError('much'); self.means ="), "its fit fails with MemoryError: much"),
        (
            ("self.means =", "self.classes_ = ['cat', 'dog']; self.means ="),
            "reading its classes_ fails with ValueError",
        ),
        (("self.means =", "self.classes_ = [1, 2, 3]; self.means ="), "the labels are 0 to 2"),
    ],
)
def test_an_object_that_answers_wrongly_is_one_clear_line(halves, own_code, change, message):
    kind = own(own_code, OBJECT.replace(*change))
    with pytest.raises(UsageError, match=message) as raised:
        accuracy(halves, options(kind))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("return self.a(x.flatten(1)).detach()", "its training fails with RuntimeError"),
        ("return self.a(x.flatten(1))[:, : 2 if self.training else 3]", r"gives a tensor \(16, 2\)"),
        (
            "y = self.a(x.flatten(1)).exp(); y += 1; return y.relu_().exp_().mul_(y)",
            "its training fails with RuntimeError",
        ),
        ("return self.a(x.flatten(1)) / (0 if self.training else 1)", "diverged|NaN"),
        ("return self.a(x.flatten(1)) / (0 if len(x) == 30 else 1)", "answers NaN after its training"),
    ],
)
def test_a_network_that_goes_wrong_in_training_is_one_clear_line(halves, own_code, line, message):
    with pytest.raises(AugmentError, match=message) as raised:
        accuracy(halves, options(own(own_code, forward(line))))
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "parameters", "message"),
    [
        ("sklearn:sklearn.svm.SVX", {}, "has no SVX; did you mean sklearn:sklearn.svm.SV"),
        ("sklearn:sklearn.svn.SVC", {}, "scikit-learn has no sklearn.svn"),
        ("sklearn:sklearn.svm.SVR", {}, "is no classifier"),
        ("sklearn:sklearn.base.clone", {}, "is of type function; name an estimator's class"),
        ("sklearn:sklearn.svm.SVC", {"c": 1}, "SVC with these parameters fails with TypeError"),
        ("sklearn:sklearn.svm.SVC", {"random_state": 1}, "leave it out"),
        ("sklearn:os.system", {}, "add --allow os:system"),
        ("os:system", {}, "add --allow os:system"),
    ],
)
def test_a_bad_name_is_one_clear_line(own_code, kind, parameters, message):
    with pytest.raises(UsageError, match=message):
        check(kind, parameters=parameters)


def test_a_bad_value_of_a_parameter_is_one_clear_line(halves):
    with pytest.raises(UsageError, match="its fit fails with InvalidParameterError"):
        accuracy(halves, options("sklearn:sklearn.svm.SVC", parameters={"C": -1}))


def test_an_estimator_that_cannot_weight_by_class_is_told_before_training(own_code):
    check("sklearn:sklearn.svm.SVC", weighted=True)
    for kind in ("sklearn:sklearn.neighbors.KNeighborsClassifier", own(own_code, OBJECT)):
        with pytest.raises(UsageError, match="leave out the arm class-weighted"):
            check(kind, weighted=True)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kind": "resnet"}, "did you mean 'resnet18'"),
        ({"kind": "sklearn:SVC"}, "whole dotted name"),
        ({"kind": "my network:make"}, "package.module:factory"),
        ({"kind": "convnet", "parameters": {"C": 1}}, "parameters are for sklearn"),
    ],
)
def test_the_configuration_says_what_kinds_there_are(settings, message):
    with pytest.raises(ValidationError, match=message):
        ClassifierConfig(**settings)


def test_a_configuration_alone_imports_nothing(own_code):
    own_code("own_net.py", "raise RuntimeError")
    assert ClassifierConfig(kind="own_net:make").named_code == "own_net:make"
    assert ClassifierConfig(kind="sklearn:xgboost.XGBClassifier").named_code == "xgboost:XGBClassifier"
    assert ClassifierConfig(kind="sklearn:sklearn.svm.SVC").named_code is None


def test_the_digests_are_of_the_source_and_of_the_files_that_parameters_name(own_code):
    own_code("weights.bin", "one")
    kind = own(own_code, NETWORK)
    config = ClassifierConfig(kind=kind, parameters={"weights": "weights.bin", "size": "large"})
    before = named_code_digests(config)
    assert set(before) == {kind, "weights.bin"}
    own_code("weights.bin", "two")
    assert named_code_digests(config)["weights.bin"] != before["weights.bin"]
    assert named_code_digests(config)[kind] == before[kind]
