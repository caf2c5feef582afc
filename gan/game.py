"""The minimax game between the two players, one step of it on one page (exercise 3 of the chapter)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from data.base.device import Compute
from data.policies import Views, differentiable_policy_of
from gan.codes import latents_between
from gan.config import GanConfig
from gan.losses import LOSSES, AdversarialLoss, gradient_penalty, lost_diversity, reconstruction_error
from gan.state import TrainState


@dataclass(frozen=True)
class RealBatch:
    """Real images that one step learns from.

    Attributes:
        images: (B, C, H, W) float32 in [-1, 1].
        labels: (B,) int64.
        rows: (B,) int64, the images' positions in the subset.
    """

    images: Tensor
    labels: Tensor
    rows: Tensor


@dataclass(frozen=True)
class StepDraws:
    """All that is random in one step, drawn on the CPU, so that it is the same whatever device computes.

    Attributes:
        latent: (B, latent_dim) float32 from N(0, I).
        views: how the discriminator sees each batch changed, in turn (`data.policies.Views`); empty without
            differentiable augmentation.
    """

    latent: Tensor
    views: tuple[Tensor, ...]


def seen_through(config: GanConfig) -> Views | None:
    """Return what the discriminator sees all images through; None where it sees them as they are."""
    if not config.differentiable_augmentation:
        return None
    return differentiable_policy_of(config.policy, digits=config.deformation)


def loss_of(config: GanConfig) -> AdversarialLoss:
    """Return the adversarial loss of a configuration with "auto" decided."""
    assert config.loss != "auto", "see GanConfig.for_subset"
    return LOSSES[config.loss]


def draws_of_step(config: GanConfig, *, size: tuple[int, int], rng: torch.Generator) -> StepDraws:
    """Draw what one `train_step` on images of `size` (H, W) needs."""
    assert config.differentiable_augmentation != "auto" != config.policy, "see GanConfig.for_subset"
    latent = torch.randn(config.batch_size, config.latent_dim, generator=rng)
    # Real and fake in the discriminator's update, fake (and real, for some losses) in the generator's.
    num_views, policy = 4 if loss_of(config).needs_real_logits else 3, seen_through(config)
    if policy is None:
        return StepDraws(latent, ())
    views = policy.draw_for(num_views * config.batch_size, size=size, rng=rng)
    return StepDraws(latent, views.chunk(num_views))


@dataclass(frozen=True)
class StepMetrics:
    """Mean losses of one step, as tensors so that reading them (a device synchronisation) is the caller's choice."""

    discriminator_loss: Tensor
    generator_loss: Tensor


def train_step(
    state: TrainState, batch: RealBatch, draws: StepDraws, *, config: GanConfig, compute: Compute
) -> StepMetrics:
    """Update discriminator, generator and moving average once.

    The fake images carry the labels of the real ones. Where images have codes, half of the fake images are made from
    codes of real ones and must also look like them; the others are made from noise or, where the codes are an
    encoder's, as samples are.

    Args:
        draws: from `draws_of_step`.
    """
    images, labels, rows = batch.images, batch.labels, batch.rows
    loss = loss_of(config)
    policy, views = seen_through(config), iter(draws.views)
    r1_gamma, r2_gamma = float(config.r1_gamma), float(config.r2_gamma)
    needs_penalty = r1_gamma > 0 or r2_gamma > 0

    def seen(images: Tensor) -> Tensor:  # T(x) of DiffAugment: the same kind of view for real and fake, in both updates
        return images if policy is None else policy.apply(images, next(views))

    latent, codes = draws.latent.to(images.device), state.generator.codes
    coded = latent[:0]
    if codes is not None:
        coded = codes.vectors[rows[: len(images) // 2]].requires_grad_()
        latent = torch.cat([coded + config.code_noise * latent[: len(coded)], latent[len(coded) :]])
    if state.encoder is not None:
        with compute.autocast():
            encoded = state.encoder(images)
        coded = encoded[: len(images) // 2]
        others = latents_between(
            encoded.detach(),
            labels,
            latent[len(coded) :],
            labels[len(coded) :],
            places=state.generator.places,
        )
        latent = torch.cat([coded + config.code_noise * latent[: len(coded)], others])
    with compute.autocast():
        fake_images = state.generator(latent, labels).float()  # the same ones play in both updates

    # Discriminator: real towards 1, fake towards 0. Separate batches, so that its batch statistics tell them apart.
    real_seen = seen(images).requires_grad_(needs_penalty)
    fake_seen = seen(fake_images.detach()).requires_grad_(needs_penalty)
    with compute.autocast():
        real_logits = state.discriminator(real_seen, labels)
        fake_logits = state.discriminator(fake_seen, labels)
    discriminator_loss = loss.discriminator(real_logits.float(), fake_logits.float()).mean()
    if r1_gamma > 0:
        discriminator_loss = discriminator_loss + r1_gamma / 2 * gradient_penalty(real_logits, real_seen).mean()
    if r2_gamma > 0:
        discriminator_loss = discriminator_loss + r2_gamma / 2 * gradient_penalty(fake_logits, fake_seen).mean()
    state.discriminator_optimizer.zero_grad(set_to_none=True)
    discriminator_loss.backward()  # type: ignore[no-untyped-call]
    state.discriminator_optimizer.step()

    # Generator: fake towards 1, through the discriminator as it now is.
    state.discriminator.requires_grad_(False)
    fake_seen = seen(fake_images)
    real_seen = seen(images) if loss.needs_real_logits else images
    with compute.autocast():
        fake_logits = state.discriminator(fake_seen, labels)
        real_logits = state.discriminator(real_seen, labels) if loss.needs_real_logits else fake_logits
    generator_loss = float(config.adversarial_weight) * loss.generator(real_logits.float(), fake_logits.float()).mean()
    diversity_weight, reconstruction_weight = float(config.diversity_weight), float(config.reconstruction_weight)
    if diversity_weight > 0:
        generator_loss = generator_loss + diversity_weight * lost_diversity(images, fake_images, labels)
    if len(coded):
        errors = reconstruction_error(fake_images[: len(coded)], images[: len(coded)])
        generator_loss = generator_loss + reconstruction_weight * errors.mean()
    state.generator_optimizer.zero_grad(set_to_none=True)
    generator_loss.backward()  # type: ignore[no-untyped-call]
    state.generator_optimizer.step()
    if codes is not None and state.code_optimizer is not None and coded.grad is not None:
        state.code_optimizer.step(codes, rows[: len(coded)], coded.grad)
    state.discriminator.requires_grad_(True)

    update_average(state.ema_generator, state.generator, decay=config.ema_decay)
    return StepMetrics(discriminator_loss.detach(), generator_loss.detach())


@torch.no_grad()
def update_average(average: nn.Module, network: nn.Module, *, decay: float) -> None:
    """Move `average` towards `network`: parameters exponentially (Karras et al. 2018), batch statistics and codes
    outright."""
    torch._foreach_lerp_(list(average.parameters()), list(network.parameters()), 1 - decay)
    for mine, theirs in zip(average.buffers(), network.buffers(), strict=True):
        mine.copy_(theirs)
