"""How near a generator can be brought to given images: what its file alone tells about who was in training.

The white-box attack of GAN-Leaks (Chen et al. 2020, arXiv 1909.03935): an image that was in training is made again more
closely than one that was not. Where the file holds codes, each is a training image's own, and decoding them is the
attack; an encoder's are kept of at most 10,000 images (`gan.encoder.MOST_CODES`), and the others are attacked by
the same codes. Where it holds none, latent vectors are moved until their image is as near as they come. (LOGAN,
Hayes et al. 2019, arXiv 1705.07663, asks the discriminator instead; the file does not hold it.)
"""

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from data.base.device import Compute
from data.images import LabelledImages
from data.tensors import to_unit_range
from gan.networks import ConditionalGenerator, GeneratorEnsemble

STARTS = 256  # latent vectors that are tried first, of each class without codes
STEPS = 30  # in which the nearest of them is moved
STEP_SIZE = 0.1
BATCH = 500


def nearest_made(generator: GeneratorEnsemble, images: LabelledImages, *, compute: Compute) -> npt.NDArray[np.float64]:
    """Return the distance (N,) of each image to the nearest one that the generator is found to make of its class.

    Distances are Euclidean between pixels in [0, 1]. The same images give the same distances. All snapshots of the
    training are attacked where they have codes; one of them may have left an image that another one makes.
    """
    members = [member for member in generator.members if isinstance(member, ConditionalGenerator)]
    distances = [_by_member(member, images, compute=compute) for member in _attacked(members)]
    return np.asarray(np.stack(distances).min(0), np.float64)


def _attacked(members: list[ConditionalGenerator]) -> list[ConditionalGenerator]:
    return members if members[-1].codes is not None else members[-1:]


def _by_member(member: ConditionalGenerator, images: LabelledImages, *, compute: Compute) -> npt.NDArray[np.float64]:
    member = member.to(compute.device).eval().requires_grad_(False)
    distances = np.zeros(len(images), np.float64)
    for label in np.unique(images.labels):
        rows = np.flatnonzero(images.labels == label)
        codes = _codes_of(member, int(label))
        starts = codes if len(codes) else _random_latents(member, int(label)).to(compute.device)
        made = _made(member, starts, int(label)).flatten(1)  # (M, D)
        for start in range(0, len(rows), BATCH):
            part = rows[start : start + BATCH]
            wanted = to_unit_range(images.images[part]).to(compute.device)
            latent = starts[torch.cdist(wanted.flatten(1), made).argmin(1)]
            if not len(codes):
                latent = _moved(member, latent, wanted, int(label))
            away = (_made(member, latent, int(label)) - wanted).flatten(1).double()
            distances[part] = away.norm(dim=1).cpu().numpy() / 2  # from [-1, 1] to [0, 1]
    return distances


def _codes_of(member: ConditionalGenerator, label: int) -> Tensor:
    if member.codes is None:
        return torch.zeros(0, member.latent_dim)
    return member.codes.vectors[member.codes.labels == label]


def _random_latents(member: ConditionalGenerator, label: int) -> Tensor:
    return torch.randn(STARTS, member.latent_dim, generator=torch.Generator().manual_seed(label))


def _made(member: ConditionalGenerator, latent: Tensor, label: int) -> Tensor:
    labels = torch.full((len(latent),), label, device=latent.device)
    images: Tensor = member(latent, labels).float()
    return images


def _moved(member: ConditionalGenerator, latent: Tensor, wanted: Tensor, label: int) -> Tensor:
    """Move latent vectors (B, latent_dim) towards those of the wanted images (B, C, H, W), by Adam."""
    latent = latent.clone().requires_grad_()
    optimizer = torch.optim.Adam([latent], lr=STEP_SIZE)
    for _ in range(STEPS):
        optimizer.zero_grad(set_to_none=True)
        F.mse_loss(_made(member, latent, label), wanted, reduction="sum").backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    return latent.detach()
