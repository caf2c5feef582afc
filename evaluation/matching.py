"""Finding the real image that an image was made from, if it was: shifted, turned, mirrored, deformed, noisy, relit.

Thumbnails propose a few originals, in several frames; each is then registered to the image by an affine map, with
brightness and contrast free (Lucas & Kanade 1981; in the inverse compositional form of Baker & Matthews 2004,
"Lucas-Kanade 20 years on", section 3.2). What counts is not how near the best one comes, which differs between kinds of
images, but how much nearer than the next ones: the ratio test of Lowe 2004, "Distinctive image features", section 7.1.
An image that was made from none of them lies about as far from its best candidate as from the others.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from data.images import LUMINANCE, LabelledImages

COARSE_SIDE = 16  # pixels to which images are reduced before they are registered
FINE_SIDE = 28  # and once more, at most: the best candidates of images that resemble one
THUMBNAIL_SIDE = 8
CANDIDATES = 2  # of each frame
REGISTERED = 6  # candidates of an image, of all frames
FINE_CANDIDATES = 5
FINE_RATIO = 0.6  # ratio below which an image is registered finely
TURN = 10.0  # degrees
SHIFT = 0.15  # of half the image's side, at least a pixel
ITERATIONS = 5
RIDGE = 3e-3
LARGEST_STEP = 0.25  # of half the image's side, in one iteration
LEAST_FRAMES = 3
LEAST_REFERENCES = 4  # without which there is nothing to compare the best one with
MAX_PAIRS = 400_000_000  # of an image in a frame and a reference: beyond, fewer frames are tried
_BLOCK = 16  # references of which the best one is a candidate
_PAIRS = 4096  # registered at once
_QUERIES = 512  # whose candidates are looked for at once

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Matches:
    """For each of N images, the reference that explains it best.

    Attributes:
        nearest: (N,) int64, index of the reference.
        residual: (N,) float64, the share of the reference's variance that the registered image does not explain.
        ratio: (N,) float64, `residual` over the median of the other candidates'; about 1 where the image was made from
            none of the references, near 0 for a copy.
    """

    nearest: Indices
    residual: Floats
    ratio: Floats


@dataclass(frozen=True, kw_only=True)
class _Frame:
    """How an image is looked at before its candidates are looked for."""

    mirrored: bool = False
    centred: bool = False
    degrees: float = 0.0
    shift: tuple[float, float] = (0.0, 0.0)


class Gallery:
    """The references to look in, prepared once: (M, C, H, W) uint8 with labels (M,)."""

    def __init__(self, references: LabelledImages) -> None:
        images = references.images
        self.images, self.labels = images, references.labels
        self.fine_side = min(FINE_SIDE, max(COARSE_SIDE, *images.shape[2:]))
        self.coarse = _working(images, COARSE_SIDE)  # (M, 1, S, S)
        self.centres = _centres(self.coarse)
        self.thumbnails = _thumbnails(self.coarse)  # (M, 64)
        self.centred = _thumbnails(_moved(self.coarse, _shifted(self.centres)))

    def __len__(self) -> int:
        return len(self.images)

    def match(self, images: LabelledImages) -> Matches:
        """Find each image's best reference.

        Where more than `MAX_PAIRS` pairs would be compared, an image is looked for in its own class only, and in as few
        frames as that takes.

        Raises:
            ValueError: fewer than `LEAST_REFERENCES` references.
        """
        if len(self) < LEAST_REFERENCES:
            raise ValueError(f"{len(self)} references, {LEAST_REFERENCES} are needed")
        count = len(images)
        nearest, residual, ratio = np.zeros(count, np.int64), np.ones(count), np.ones(count)
        frames = _frames(max(images.shape[1:]))
        everywhere = torch.arange(len(self))
        groups = [(np.arange(count), everywhere)]
        if count * len(self) * len(frames) > MAX_PAIRS:
            groups = []
            for label in np.unique(images.labels):
                own = torch.from_numpy(np.flatnonzero(self.labels == label))
                groups.append(
                    (np.flatnonzero(images.labels == label), own if len(own) > LEAST_REFERENCES else everywhere)
                )
        pairs = sum(len(rows) * len(own) for rows, own in groups)
        frames = frames[: max(LEAST_FRAMES, MAX_PAIRS // max(pairs, 1))]
        for rows, own in groups:
            for start in range(0, len(rows), _QUERIES):
                part = rows[start : start + _QUERIES]
                nearest[part], residual[part], ratio[part] = self._match(images.images[part], own, frames)
        return Matches(nearest=nearest, residual=residual, ratio=ratio)

    def _match(self, images: Pixels, own: Tensor, frames: Sequence[_Frame]) -> tuple[Indices, Floats, Floats]:
        queries = _working(images, COARSE_SIDE)
        candidates, maps = self._candidates(queries, own, frames)  # (N, K), (N, K, 2, 3)
        residual, maps = _register_all(queries, self.coarse, candidates, maps)
        order = residual.argsort(dim=1, stable=True)
        candidates, residual = candidates.gather(1, order), residual.gather(1, order)
        ratio = _ratio(residual)
        close = torch.nonzero(ratio < FINE_RATIO)[:, 0]
        if len(close):
            fine = order[close, :FINE_CANDIDATES]
            some = candidates[close, :FINE_CANDIDATES]
            needed, local = np.unique(some.numpy(), return_inverse=True)
            references = _working(self.images[needed], self.fine_side)
            finer, _ = _register_all(
                _working(images[close.numpy()], self.fine_side),
                references,
                torch.from_numpy(local).view(some.shape),
                maps[close[:, None], fine],
            )
            best = finer.argmin(1, keepdim=True)
            candidates[close, 0] = some.gather(1, best)[:, 0]
            residual[close, 0] = finer.amin(1)
            ratio[close] = _ratio(finer.sort(dim=1).values)
        return candidates[:, 0].numpy(), residual[:, 0].double().numpy(), ratio.double().numpy()

    def _candidates(self, queries: Tensor, own: Tensor, frames: Sequence[_Frame]) -> tuple[Tensor, Tensor]:
        """Return different candidates (N, K) of `own`, and the affine maps (N, K, 2, 3) to start registering from."""
        thumbnails, centred = (
            (self.thumbnails[own], self.centred[own]) if len(own) < len(self) else (self.thumbnails, self.centred)
        )
        centres = _centres(queries)
        found, alike, starts = [], [], []
        for frame in frames:
            maps = _map_of(frame).repeat(len(queries), 1, 1)
            if frame.centred:
                maps[:, :, 2] = centres
            indices, similarity = _most_alike(
                _thumbnails(_moved(queries, maps)), centred if frame.centred else thumbnails
            )
            indices = own[indices]
            start = maps[:, None].repeat(1, indices.shape[1], 1, 1)
            if frame.centred:
                start[..., 2] -= (start[..., :2] @ self.centres[indices][..., None])[..., 0]
            found.append(indices)
            alike.append(similarity)
            starts.append(start)
        candidates, similarity, maps = torch.cat(found, 1), torch.cat(alike, 1), torch.cat(starts, 1)
        order = similarity.argsort(dim=1, descending=True, stable=True)
        candidates, similarity = candidates.gather(1, order), similarity.gather(1, order)
        repeated = torch.tril(candidates[:, :, None] == candidates[:, None], diagonal=-1).any(2)
        first = repeated.long().argsort(dim=1, stable=True)[:, : min(REGISTERED, len(own))]
        order = order.gather(1, first)
        return candidates.gather(1, first), maps.gather(1, order[..., None, None].expand(-1, -1, 2, 3))


def _frames(side: int) -> list[_Frame]:
    """Return the frames in the order of their worth for images of `side` pixels."""
    step = max(SHIFT, 2 / side)
    shifts = [(x * step, y * step) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y]
    return [
        _Frame(),
        _Frame(centred=True),
        _Frame(mirrored=True, centred=True),
        _Frame(centred=True, degrees=-TURN),
        _Frame(centred=True, degrees=TURN),
        _Frame(mirrored=True),
        _Frame(degrees=-TURN),
        _Frame(degrees=TURN),
        *(_Frame(shift=shift) for shift in shifts),
    ]


def _map_of(frame: _Frame) -> Tensor:
    cos, sin = math.cos(math.radians(frame.degrees)), math.sin(math.radians(frame.degrees))
    sign = -1.0 if frame.mirrored else 1.0
    x, y = frame.shift
    return torch.tensor([[sign * cos, -sign * sin, x], [sin, cos, y]])


def _ratio(residual: Tensor) -> Tensor:
    """Return the least of each row (N, K), sorted, over the median of the others; 1 where they are all 0."""
    usual = residual[:, 1:].median(1).values
    return torch.where(usual > 0, residual[:, 0] / usual, torch.ones_like(usual)).clamp(max=1)


def _register_all(queries: Tensor, references: Tensor, candidates: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Register each query (N, ...) to its candidates (N, K); return residuals (N, K) and maps (N, K, 2, 3)."""
    rows = torch.arange(len(queries)).repeat_interleave(candidates.shape[1])
    columns, starts = candidates.flatten(), maps.reshape(-1, 2, 3)
    parts = [_register(queries[rows[part]], references[columns[part]], starts[part]) for part in _slices(len(rows))]
    residual = torch.cat([residual for residual, _ in parts]).view(candidates.shape)
    return residual, torch.cat([ended for _, ended in parts]).view(maps.shape)


def _slices(count: int) -> Iterator[slice]:
    return (slice(start, start + _PAIRS) for start in range(0, count, _PAIRS))


def _working(images: Pixels, side: int) -> Tensor:
    """Return (N, 1, side, side) float32: luminance, reduced and smoothed, for noise not to count."""
    parts = [torch.zeros(0, 1, side, side)]
    for start in range(0, len(images), _PAIRS):
        pixels = torch.from_numpy(images[start : start + _PAIRS]).float() / 255
        if pixels.shape[1] == 3:
            pixels = (pixels * torch.from_numpy(LUMINANCE).float()[:, None, None]).sum(1, keepdim=True)
        pixels = _smoothed(pixels)
        if pixels.shape[2:] != (side, side):
            pixels = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True, align_corners=False)
        parts.append(pixels)
    return torch.cat(parts)


def _smoothed(images: Tensor) -> Tensor:
    kernel = torch.tensor([0.25, 0.5, 0.25])
    padded = F.pad(images, (1, 1, 1, 1), mode="replicate")
    return F.conv2d(F.conv2d(padded, kernel.view(1, 1, 1, 3)), kernel.view(1, 1, 3, 1))


def _thumbnails(images: Tensor) -> Tensor:
    return _standardised(F.adaptive_avg_pool2d(images, THUMBNAIL_SIDE).flatten(1))


def _standardised(rows: Tensor) -> Tensor:
    """Return rows of mean 0 and length 1, or 0 where a row is constant."""
    rows = rows - rows.mean(1, keepdim=True)
    length = rows.norm(dim=1, keepdim=True)
    return rows / torch.where(length > 1e-3, length, math.inf)


def _most_alike(queries: Tensor, references: Tensor) -> tuple[Tensor, Tensor]:
    """Return the references most alike to each query, (N, K), the best ones of as many blocks, and how alike."""
    count = len(references)
    block = _BLOCK if count >= 32 * _BLOCK else 1
    padded = F.pad(references, (0, 0, 0, -count % block))
    alike = queries @ padded.T
    if count % block:
        alike[:, count:] = -math.inf
    blocks = alike.view(len(queries), -1, block)
    number = min(CANDIDATES if count >= REGISTERED * _BLOCK else REGISTERED, blocks.shape[1])
    best = blocks.amax(2).topk(number, 1)  # (N, K)
    within = blocks.gather(1, best.indices[..., None].expand(-1, -1, block)).argmax(2)
    return best.indices * block + within, best.values


def _centres(images: Tensor) -> Tensor:
    """Return where the weight of each image lies, (N, 2) as (x, y) in [-1, 1]; weight is contrast."""
    usual = images.flatten(1).median(1).values.view(-1, 1, 1, 1)
    weight = (images - usual).abs()[:, 0]
    total = weight.sum((1, 2)).clamp(min=1e-6)
    line = _line(images.shape[-1])
    return torch.stack([(weight.sum(1) * line).sum(1) / total, (weight.sum(2) * line).sum(1) / total], 1)


def _line(side: int) -> Tensor:
    return (2 * torch.arange(side) + 1) / side - 1


def _shifted(by: Tensor) -> Tensor:
    maps = torch.zeros(len(by), 2, 3)
    maps[:, 0, 0] = maps[:, 1, 1] = 1
    maps[:, :, 2] = by
    return maps


def _moved(images: Tensor, maps: Tensor) -> Tensor:
    """Sample images (N, 1, S, S) where the affine maps (N, 2, 3) send the grid."""
    grid = F.affine_grid(maps, list(images.shape), align_corners=False)
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


def _register(queries: Tensor, references: Tensor, maps: Tensor) -> tuple[Tensor, Tensor]:
    """Register queries to references (P, 1, S, S) from affine maps (P, 2, 3); return residuals (P,) and maps.

    The margin of a sixteenth at each side is not compared: shifts bring other pixels there.
    """
    side = queries.shape[-1]
    window = slice(side // 16, side - side // 16)
    line = _line(side)
    x, y = line[None, None, :], line[None, :, None]
    step_x = F.pad(references[..., 2:] - references[..., :-2], (1, 1))[:, 0] * (side / 4)
    step_y = F.pad(references[..., 2:, :] - references[..., :-2, :], (0, 0, 1, 1))[:, 0] * (side / 4)
    columns = [step_x * x, step_x * y, step_x, step_y * x, step_y * y, step_y, references[:, 0]]
    jacobian = torch.stack([column[:, window, window].flatten(1) for column in columns], 2)  # (P, D, 7)
    jacobian = jacobian - jacobian.mean(1, keepdim=True)
    target = jacobian[..., 6]
    length = target.norm(dim=1).clamp(min=1e-3)  # (P,)
    normal = jacobian.mT @ jacobian
    scale = normal.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-8)
    solver = torch.linalg.solve(normal + RIDGE * scale[:, None, None] * torch.eye(7), jacobian.mT)  # (P, 7, D)
    best = torch.full((len(queries),), math.inf)
    current = torch.zeros(len(queries), 3, 3)
    current[:, :2], current[:, 2, 2] = maps, 1
    for iteration in range(ITERATIONS + 1):
        moved = _moved(queries, current[:, :2])[:, 0, window, window].flatten(1)
        moved = _standardised(moved)
        agreement = (moved * target).sum(1) / length
        best = torch.minimum(best, 1 - agreement.clamp(min=0).square())
        if iteration == ITERATIONS:
            break
        error = moved * (agreement.clamp(min=0.1) * length)[:, None] - target
        change = (solver @ error[..., None])[:, :6, 0].clamp(-LARGEST_STEP, LARGEST_STEP).view(-1, 2, 3)
        inverse = torch.eye(3).repeat(len(queries), 1, 1)
        inverse[:, :2] += change
        current = current @ torch.linalg.inv(inverse)
    return best.clamp(min=0), current[:, :2]
