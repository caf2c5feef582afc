"""Whether the policy of classical augmentation that `auto` chooses is any good: accuracy against fixed policies.

    python -m benchmarks.policies --dataset mnist --images-per-class 10 --against digits none
    python -m benchmarks.policies --dataset parquet:../shared/data/real/pneumonia --images-per-class 50 --against none

Draws subsets, lets each choose its policy on itself alone, and trains the default classifier with the chosen policy and
with each one that it is held against, all with one seed; judged on train images outside the subset. The rows added to
RESULTS.md say what was chosen, what that cost, and the paired difference.
"""

import argparse
import statistics
import time
from collections import Counter

import numpy as np
import torch

from benchmarks.protocol import Judge, held_out
from benchmarks.results import add_result
from data.base.device import resolve_compute
from data.base.randomness import numpy_stream
from data.config import DataConfig
from data.images import LabelledImages
from data.policies import policy_of
from data.regimes import draw_subset, regime_of
from data.sources.registry import load_source
from evaluation.config import TrainingConfig
from evaluation.policy_choice import choose_policy


def unheard(share: float, detail: str) -> None:
    """Tell nobody of a choice's progress."""


def judged(subset: LabelledImages, train: LabelledImages, *, policy: str, count: int, draw: int) -> float:
    """Train the default classifier with a policy; return its accuracy on images outside the subset, in %."""
    config = TrainingConfig()
    judge = Judge(
        config=config.classifier,
        policy=policy_of(policy, digits=config.deformation),
        added_shares=(0.0, 0.0),
        judged_on=held_out(train, without=subset, count=min(count, len(train) - len(subset)), seed=draw),
        seed=draw,
        compute=resolve_compute(device="cpu", precision="auto"),
    )
    return 100 * judge.accuracy(judge.fit(subset, classical=True))


def mean_and_error(values: list[float]) -> str:
    """Return `mean (standard error)`, the error where there are values for one."""
    error = "" if len(values) < 2 else f" (standard error {statistics.stdev(values) / len(values) ** 0.5:.2f})"
    return f"{statistics.mean(values):.2f}{error}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", default="mnist")
    parser.add_argument("--images-per-class", type=int, default=10)
    parser.add_argument("--against", nargs="+", default=["none"])
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--first-draw", type=int, default=1000)
    parser.add_argument("--validation-images", type=int, default=3000)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    compute = resolve_compute(device="cpu", precision="auto")
    train = load_source(DataConfig(dataset=arguments.dataset)).train
    train = train.take(np.argsort(train.rows))
    regime = regime_of(arguments.images_per_class)
    chosen: list[str] = []
    seconds: list[float] = []
    accuracies: dict[str, list[float]] = {name: [] for name in ("auto", *arguments.against)}
    for draw in range(arguments.first_draw, arguments.first_draw + arguments.draws):
        subset = draw_subset(train, regime, rng=numpy_stream(draw, "split"))
        started = time.process_time()
        choice = choose_policy(subset, config=TrainingConfig(), seed=draw, compute=compute, on_update=unheard)
        seconds.append(time.process_time() - started)
        chosen.append(choice.policy)
        print(f"draw {draw}: {choice.policy}, {choice.reason}", flush=True)
        found = {
            name: judged(subset, train, policy=name, count=arguments.validation_images, draw=draw)
            for name in dict.fromkeys([choice.policy, *arguments.against])
        }
        print(", ".join(f"{name} {accuracy:.2f}" for name, accuracy in found.items()), flush=True)
        accuracies["auto"].append(found[choice.policy])
        for name in arguments.against:
            accuracies[name].append(found[name])
    name = arguments.dataset.rpartition("/")[2]
    where = f"{name}, {arguments.images_per_class} per class, {arguments.draws} draws, validation"
    figures = [
        (f"{where}: chosen", ", ".join(f"{policy} {count} times" for policy, count in Counter(chosen).most_common())),
        (f"{where}: processor seconds of a choice", f"{statistics.mean(seconds):.1f}"),
        *((f"{where}: {policy}", f"{mean_and_error(values)} %") for policy, values in accuracies.items()),
    ]
    for policy in arguments.against:
        pairs = zip(accuracies["auto"], accuracies[policy], strict=True)
        figures.append((f"{where}: auto over {policy}", mean_and_error([ours - theirs for ours, theirs in pairs])))
    add_result("policies", compute=compute, figures=figures)


if __name__ == "__main__":
    main()
