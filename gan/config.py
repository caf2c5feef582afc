"""Configuration of the GAN: its networks, its adversarial game and its training schedule."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from data.base.settings import Settings
from data.config import DeformationConfig, PolicyName

LossName = Literal["minimax", "non_saturating", "hinge", "relativistic"]
ArchitectureName = Literal["dcgan", "residual"]
SHARD_SIZE = 10_000  # images per file of a synthetic data set
MANY_IMAGES = 10_000  # from here on a discriminator no longer learns its real images by heart (benchmarks/TRIALS.md)
MAX_IMBALANCE = 10.0  # beyond, rare classes do better without codes: 1 was tried, and 100 (benchmarks/TRIALS.md)


WeightOrAuto = Annotated[float, Field(ge=0)] | Literal["auto"]
DIVERSITY_WEIGHT = 1.0  # what "auto" stands for where images are few
RECONSTRUCTION_WEIGHT, SAMPLE_REACH, SAMPLE_SPREAD = 3.0, 0.0, 2.0  # the same, where each image has a code of its own
ENCODED_RECONSTRUCTION_WEIGHT, ENCODED_ADVERSARIAL_WEIGHT = 5.0, 0.2  # the same, with an encoder
ENCODED_SAMPLE_REACH, ENCODED_SAMPLE_SPREAD = 0.25, 0.5
MANY_SAMPLE_REACH, MANY_SAMPLE_SPREAD = 0.5, 0.3  # where images are many, samples need less distance from each of them
ENCODER_IMAGES = 2_000  # 1,000 give more away by it than samples gain, 5,000 do not (benchmarks/TRIALS.md)
MEASURED_SIDE = 32  # pixels, up to which both architectures were compared (benchmarks/TRIALS.md)
GRADIENT_PENALTY = 0.5  # what "auto" stands for with the relativistic loss


class GanConfig(Settings):
    """A class-conditional GAN and how it is trained on one subset."""

    architecture: ArchitectureName | Literal["auto"] = Field(
        default="dcgan",
        description=f"auto: dcgan up to {MEASURED_SIDE} pixels a side, where it is the better one at equal time, "
        "residual beyond, where neither was measured",
    )
    loss: LossName | Literal["auto"] = Field(
        default="auto", description="auto: non_saturating with dcgan, relativistic with residual"
    )
    steps: int = Field(default=1500, ge=1, description="one step updates discriminator and generator once")
    batch_size: int = Field(default=32, ge=2)
    class_balanced_batches: bool = Field(default=False, description="draw batches evenly by class, for rare classes")
    learning_rate: float = Field(default=1e-3, gt=0, description="generator, Adam")
    discriminator_learning_rate: float = Field(default=1e-3, gt=0)
    adam_beta1: float = Field(default=0.5, ge=0, lt=1)
    adam_beta2: float = Field(default=0.99, ge=0, lt=1)
    r1_gamma: WeightOrAuto = Field(
        default="auto",
        description="gradient penalty on real images (R1); "
        f"auto: {GRADIENT_PENALTY:g} with the relativistic loss, else 0",
    )
    r2_gamma: WeightOrAuto = Field(
        default="auto", description="gradient penalty on fake images (R2); auto: as r1_gamma"
    )
    adversarial_weight: WeightOrAuto = Field(
        default="auto",
        description="of the adversarial loss in the generator's cost; 0 leaves codes and diversity; "
        f"auto: {ENCODED_ADVERSARIAL_WEIGHT:g} with an encoder, else 1",
    )
    diversity_weight: WeightOrAuto = Field(
        default="auto",
        description="cost to the generator of samples of a class that differ less than real ones do; "
        f"auto: {DIVERSITY_WEIGHT:g}, and 0 with an encoder or from {MANY_IMAGES:,} images on",
    )
    reconstruction_weight: WeightOrAuto = Field(
        default="auto",
        description="cost to the generator of training images that it cannot make from their codes; "
        f"auto: {ENCODED_RECONSTRUCTION_WEIGHT:g} with an encoder, else {RECONSTRUCTION_WEIGHT:g}, and 0 for uneven "
        f"classes or from {MANY_IMAGES:,} images on; 0 gives away least of who was in training",
    )
    encoder: bool | Literal["auto"] = Field(
        default="auto",
        description="codes are what a network makes of images, not a vector of each image's own; "
        f"auto: from {ENCODER_IMAGES:,} images on",
    )
    code_learning_rate: float = Field(default=0.05, gt=0, description="of codes that are vectors of their own")
    code_noise: float = Field(default=0.3, ge=0, description="added to codes in training, in standard deviations")
    sample_reach: Annotated[float, Field(ge=0, le=1)] | Literal["auto"] = Field(
        default="auto",
        description="where between two codes a sample is made: 0 in the middle, 1 anywhere up to the codes; "
        f"auto: {ENCODED_SAMPLE_REACH:g} with an encoder, {MANY_SAMPLE_REACH:g} where it has {MANY_IMAGES:,} images or "
        f"more, else {SAMPLE_REACH:g}",
    )
    sample_spread: WeightOrAuto = Field(
        default="auto",
        description="noise about that place, in sizes of the code there; "
        f"auto: {ENCODED_SAMPLE_SPREAD:g} with an encoder, {MANY_SAMPLE_SPREAD:g} where it has {MANY_IMAGES:,} images "
        f"or more, else {SAMPLE_SPREAD:g}",
    )
    ema_decay: float = Field(default=0.99, ge=0, lt=1)

    snapshots: int = Field(
        default=6, ge=1, description="averaged generators kept from the second half of training; samples come from all"
    )

    latent_dim: int = Field(default=64, ge=1)
    generator_width: int = Field(default=16, ge=1, description="channels at the finest hidden resolution")
    discriminator_width: int = Field(default=16, ge=1, description="channels after the first convolution")
    discriminator_norm: Literal["batch", "spectral", "none"] = Field(
        default="batch", description="of the dcgan; residual networks have none"
    )
    initialisation: Literal["dcgan", "default"] = Field(
        default="dcgan", description="of the dcgan; residual networks have their own"
    )

    differentiable_augmentation: bool | Literal["auto"] = Field(
        default="auto", description=f"auto: with fewer than {MANY_IMAGES:,} images, unless the policy is none"
    )
    policy: Literal["auto"] | PolicyName = Field(
        default="auto",
        description="how the discriminator sees its images; auto: as the classifiers' policy of classical augmentation",
    )
    deformation: DeformationConfig = Field(default=DeformationConfig(), description="ranges of the policy digits")

    compiled: bool = Field(
        default=False,
        description="torch.compile: 1.7 times as fast on an H200, 15 s later; pays from about 40,000 steps on",
    )
    grid_every: int = Field(default=250, ge=1, description="steps between sample grids where an epoch is shorter")
    checkpoint_every: int = Field(default=250, ge=1, description="steps between checkpoints")

    def for_subset(
        self,
        num_images: int,
        *,
        imbalance: float = 1.0,
        policy: str = "digits",
        image_shape: tuple[int, int, int] = (1, 28, 28),
    ) -> "GanConfig":
        """Return the configuration with "auto" decided for a subset of `num_images`; what was set stays as it is.

        From 2,000 images on each is seen too rarely to learn a code of its own, so that an encoder makes them, and with
        it there is no lost diversity to pay for. From 10,000 on undistorted images teach more. There are no codes where
        classes differ much in size: samples of rare classes were worse for them.

        Args:
            imbalance: images of the most frequent class over those of the rarest one that has any.
            policy: of the classifiers' classical augmentation. Where it is `none` and the discriminator is to see
                changed images all the same, they are changed by `digits`.
            image_shape: (C, H, W).
        """
        many = num_images >= MANY_IMAGES
        if policy == "none" and self.differentiable_augmentation is True:
            policy = "digits"
        architecture = architecture_for(image_shape) if self.architecture == "auto" else self.architecture
        penalised = not self.compiled and self.r1_gamma != 0 and self.r2_gamma != 0
        loss = "relativistic" if architecture == "residual" and penalised else "non_saturating"
        penalty = GRADIENT_PENALTY if (loss if self.loss == "auto" else self.loss) == "relativistic" else 0.0
        encoder = self.encoder
        if encoder == "auto":
            uneven = imbalance > MAX_IMBALANCE and self.reconstruction_weight == "auto"
            encoder = num_images >= ENCODER_IMAGES and self.reconstruction_weight != 0 and not uneven
        without_codes = not encoder and (many or imbalance > MAX_IMBALANCE)
        weight, reach, spread = 0.0 if without_codes else RECONSTRUCTION_WEIGHT, SAMPLE_REACH, SAMPLE_SPREAD
        if encoder:
            weight, reach, spread = ENCODED_RECONSTRUCTION_WEIGHT, ENCODED_SAMPLE_REACH, ENCODED_SAMPLE_SPREAD
            if many:
                reach, spread = MANY_SAMPLE_REACH, MANY_SAMPLE_SPREAD
        decided: dict[str, object] = {
            "encoder": encoder,
            "adversarial_weight": ENCODED_ADVERSARIAL_WEIGHT if encoder else 1.0,
            "sample_reach": reach,
            "sample_spread": spread,
            "architecture": architecture,
            "loss": loss,
            "r1_gamma": penalty,
            "r2_gamma": penalty,
            "differentiable_augmentation": not many and (policy if self.policy == "auto" else self.policy) != "none",
            "policy": policy,
            "diversity_weight": 0.0 if many or encoder else DIVERSITY_WEIGHT,
            "reconstruction_weight": weight,
        }
        return self.model_copy(update={name: value for name, value in decided.items() if getattr(self, name) == "auto"})

    @model_validator(mode="after")
    def _encoder_has_something_to_do(self) -> "GanConfig":
        if self.encoder is True and self.reconstruction_weight == 0:
            raise ValueError("an encoder makes codes to make images from again: set reconstruction_weight above 0")
        return self

    @model_validator(mode="after")
    def _penalties_fit(self) -> "GanConfig":
        if self.loss == "relativistic" and 0 in (self.r1_gamma, self.r2_gamma):
            raise ValueError("loss 'relativistic' diverges without penalties: set r1_gamma and r2_gamma above 0")
        asked = [gamma for gamma in (self.r1_gamma, self.r2_gamma) if gamma != "auto"]
        if self.compiled and (self.loss == "relativistic" or any(asked)):
            raise ValueError("compiled networks have no second derivatives, which r1_gamma and r2_gamma need")
        return self


def architecture_for(image_shape: tuple[int, int, int]) -> ArchitectureName:
    """Return what "auto" stands for with images of (C, H, W)."""
    _, height, width = image_shape
    return "residual" if max(height, width) > MEASURED_SIDE else "dcgan"


class SamplingConfig(Settings):
    """The synthetic data set of each cell."""

    images_per_class: PositiveInt = 500
    shard_size: PositiveInt = Field(default=SHARD_SIZE, description="images per Parquet file")


def chapter_dcgan(*, steps: int) -> GanConfig:
    """Return the chapter's GAN without refinements, to measure them against.

    Minimax loss (equations 7.1 to 7.4) with the hyper-parameters of PyTorch's DCGAN tutorial (Adam 2e-4, beta1 0.5,
    batch 128, 100 latent numbers, width 64, weights from N(0, 0.02)): no moving average, no snapshots, no augmentation,
    no price on lost diversity, no codes. It is made conditional as the other configurations are. Train it in float32,
    as the tutorial does.
    """
    return GanConfig(
        loss="minimax",
        steps=steps,
        batch_size=128,
        learning_rate=2e-4,
        discriminator_learning_rate=2e-4,
        adam_beta1=0.5,
        adam_beta2=0.999,
        ema_decay=0.0,
        snapshots=1,
        latent_dim=100,
        generator_width=64,
        discriminator_width=64,
        differentiable_augmentation=False,
        diversity_weight=0.0,
        reconstruction_weight=0.0,
    )
