"""Stage `policy`: choose the policy of classical augmentation that the generator and all arms of the cell share."""

from pydantic import BaseModel

from data.base.files import write_json
from data.base.plugins import is_reference, source_digest
from data.images import LabelledImages
from evaluation.config import TrainingConfig
from evaluation.policy_choice import choose_policy
from flows.study.job import Job


class PolicySettings(BaseModel, frozen=True):
    """What the choice depends on: how classifiers are trained, and what there is to choose from."""

    training: TrainingConfig

    @classmethod
    def of(cls, config: TrainingConfig) -> "PolicySettings":
        """Leave out what is only about synthetic images."""
        return cls(
            training=TrainingConfig(
                classifier=config.classifier,
                policy=config.policy,
                policy_choice=config.policy_choice,
                deformation=config.deformation,
            )
        )


def choose_cell_policy(job: Job[PolicySettings], *, subset: LabelledImages) -> str:
    """Write which policy it is, why, and the digest of its source where it is the user's own."""
    choice = choose_policy(
        subset, config=job.settings.training, seed=job.seed, compute=job.compute, on_update=job.on_update
    )
    if is_reference(choice.policy):
        choice = choice.model_copy(update={"source": source_digest(choice.policy)})
    write_json(job.output, choice.model_dump(mode="json"))
    return f"{choice.policy}: {choice.reason}"
