"""Finding the real image that an image was made from, if it was: shifted, turned, mirrored, deformed, noisy, relit.

Thumbnails propose a few originals, in several frames; each is then registered to the image by an affine map, with
brightness and contrast free (Lucas & Kanade 1981; in the inverse compositional form of Baker & Matthews 2004,
"Lucas-Kanade 20 years on", section 3.2). What counts is not how near the best one comes, which differs between kinds of
images, but how much nearer than the next ones: the ratio test of Lowe 2004, "Distinctive image features", section 7.1.
An image that was made from none of them lies about as far from its best candidate as from the others.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache, lru_cache

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
ITERATIONS, FINE_ITERATIONS = 2, 3
RIDGE = 3e-3
LARGEST_STEP = 0.25  # of half the image's side, in one iteration
LEAST_FRAMES = 3
LEAST_REFERENCES = 4  # without which there is nothing to compare the best one with
FOLLOWED = 0.5  # of a shift: how far off a centre may be that goes with it
MAX_PAIRS = 400_000_000  # of an image in a frame and a reference: beyond, fewer frames are tried
_BLOCK = 16  # references of which the best one is a candidate
_SKETCH, _PROPOSED = 24, 2  # numbers that thumbnails are reduced to; blocks proposed for each candidate
_PAIRS = 512  # registered at once, as fit into a processor's cache
_SHRUNK = 256  # images that are reduced at once, likewise
_SHIFTED, _NEARLY_ALL = 200, 0.95  # images that tell whether centres follow shifts, and the share that must
_MARGIN = 16  # the part of a side that the margin is, which is not compared
_QUERIES, _COMPARED = 512, 512  # images whose candidates are looked for at once, in as many references, likewise

Pixels = npt.NDArray[np.uint8]
Floats = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class Matches:
    """For each of N images, the reference that explains it best.

    Attributes:
        nearest: (N,) int64, index of the reference.
        ratio: (N,) float64, the share of the reference's variance that the registered image does not explain, over the
            median of the other candidates'; about 1 where the image was made from none of the references, near 0 for a
            copy.
    """

    nearest: Indices
    ratio: Floats


@dataclass(frozen=True)
class _Split:
    """Images that are the same where their digest is."""

    digest: str
    images: LabelledImages = field(compare=False)


def split_gallery(images: LabelledImages) -> "Gallery":
    """Return the gallery of a whole split; it is made once a process, since the cells of a study share it."""
    return _split_gallery(_Split(images.digest(), images))


@lru_cache(maxsize=2)  # train and test
def _split_gallery(split: _Split) -> "Gallery":
    return Gallery(split.images)


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
        self.axes = _principal_axes(self.thumbnails)  # (64, P)
        self.sketches, self.centred_sketches = self._sketched(self.thumbnails), self._sketched(self.centred)  # (M, P)
        step = max(SHIFT, 2 / max(images.shape[2:]))
        shifted = () if _centres_follow(self.coarse, self.centres, step=step) else _shifts(step)
        self.frames = [*_UNSHIFTED, *(_Frame(shift=shift) for shift in shifted)]

    def __len__(self) -> int:
        return len(self.images)

    def match(self, images: LabelledImages, *, among: Indices | None = None) -> Matches:
        """Find each image's best reference.

        Where more than `MAX_PAIRS` pairs would be compared, an image is looked for in its own class only, and in as few
        frames as that takes.

        Args:
            among: indices of the references that count, ascending; all of them where it is None.

        Raises:
            ValueError: fewer than `LEAST_REFERENCES` references.
        """
        everywhere = torch.arange(len(self)) if among is None else torch.from_numpy(among)
        if len(everywhere) < LEAST_REFERENCES:
            raise ValueError(f"{len(everywhere)} references, {LEAST_REFERENCES} are needed")
        count = len(images)
        nearest, ratio = np.zeros(count, np.int64), np.ones(count)
        frames = self.frames
        groups = [(np.arange(count), everywhere)]
        if count * len(everywhere) * len(frames) > MAX_PAIRS:
            groups, labels = [], self.labels[everywhere.numpy()]
            for label in np.unique(images.labels):
                own = everywhere[torch.from_numpy(labels == label)]
                groups.append(
                    (np.flatnonzero(images.labels == label), own if len(own) > LEAST_REFERENCES else everywhere)
                )
        pairs = sum(len(rows) * len(own) for rows, own in groups)
        frames = frames[: max(LEAST_FRAMES, MAX_PAIRS // max(pairs, 1))]
        for rows, own in groups:
            for start in range(0, len(rows), _QUERIES):
                part = rows[start : start + _QUERIES]
                nearest[part], ratio[part] = self._match(images.images[part], own, frames)
        return Matches(nearest=nearest, ratio=ratio)

    def _match(self, images: Pixels, own: Tensor, frames: Sequence[_Frame]) -> tuple[Indices, Floats]:
        queries = _working(images, COARSE_SIDE)
        candidates, maps = self._candidates(queries, own, frames)  # (N, K), (N, K, 2, 3)
        residual, maps = _register_all(queries, self.coarse, candidates, maps, iterations=ITERATIONS)
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
                iterations=FINE_ITERATIONS,
            )
            best = finer.argmin(1, keepdim=True)
            candidates[close, 0] = some.gather(1, best)[:, 0]
            ratio[close] = _ratio(finer.sort(dim=1).values)
        return candidates[:, 0].numpy(), ratio.double().numpy()

    def _candidates(self, queries: Tensor, own: Tensor, frames: Sequence[_Frame]) -> tuple[Tensor, Tensor]:
        """Return different candidates (N, K) of `own`, and the affine maps (N, K, 2, 3) to start registering from."""
        upright, centred = (self.thumbnails, self.sketches), (self.centred, self.centred_sketches)
        if len(own) < len(self):
            upright, centred = (upright[0][own], upright[1][own]), (centred[0][own], centred[1][own])
        centres = _centres(queries)
        found, alike, starts = [], [], []
        for frame in frames:
            maps = _map_of(frame).repeat(len(queries), 1, 1)
            if frame.centred:
                maps[:, :, 2] = centres
            indices, similarity = self._most_alike(
                _thumbnails(_moved(queries, maps)), *(centred if frame.centred else upright)
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

    def _sketched(self, thumbnails: Tensor) -> Tensor:
        """Return thumbnails (N, 64) as (N, P) of length 1: products are nearly the correlations, and quicker."""
        return F.normalize(thumbnails @ self.axes)

    def _most_alike(self, queries: Tensor, references: Tensor, sketches: Tensor) -> tuple[Tensor, Tensor]:
        """Return the references most alike to each query, (N, K), and how alike.

        Their sketches propose blocks of references, whose best members are then told by the thumbnails themselves.
        """
        count = len(references)
        block = _BLOCK if count >= 32 * _BLOCK else 1
        seen, parts = self._sketched(queries).T.contiguous(), []
        for part in _slices(count, _COMPARED):
            alike = sketches[part] @ seen
            if len(alike) % block:
                alike = F.pad(alike, (0, 0, 0, -len(alike) % block), value=-math.inf)
            parts.append(alike.view(-1, block, len(queries)).amax(1))
        blocks = torch.cat(parts).T.contiguous()  # (N, number of blocks)
        number = min(CANDIDATES if count >= REGISTERED * _BLOCK else REGISTERED, blocks.shape[1])
        proposed = blocks.topk(min(_PROPOSED * number, blocks.shape[1]), 1).indices
        members = (proposed[..., None] * block + torch.arange(block)).clamp(max=count - 1)  # (N, proposed, block)
        looked_at = references.index_select(0, members.flatten()).view(len(queries), -1, references.shape[1])
        alike = (queries[:, None] @ looked_at.mT).view(members.shape)
        best = alike.max(2)
        chosen = best.values.topk(number, 1)
        within = members.gather(2, best.indices[..., None])[..., 0]
        return within.gather(1, chosen.indices), chosen.values


_UNSHIFTED = (  # in the order of their worth, as the shifted ones after them
    _Frame(),
    _Frame(centred=True),
    _Frame(mirrored=True, centred=True),
    _Frame(centred=True, degrees=-TURN),
    _Frame(centred=True, degrees=TURN),
    _Frame(mirrored=True),
    _Frame(degrees=-TURN),
    _Frame(degrees=TURN),
)


def _shifts(step: float) -> list[tuple[float, float]]:
    return [(x * step, y * step) for x in (-1, 0, 1) for y in (-1, 0, 1) if x or y]


def _centres_follow(images: Tensor, centres: Tensor, *, step: float) -> bool:
    """Tell whether the centres (N, 2) of nearly all images (N, 1, S, S) go along when these are shifted by a step.

    They do where something lies on a plain ground. Centred frames then see to shifts, and shifted ones add nothing.
    """
    some = slice(None, None, max(1, len(images) // _SHIFTED))
    images, centres = images[some], centres[some]
    off = [
        (_centres(_moved(images, _shifted(by.expand(len(images), 2)))) - (centres - by)).abs().amax(1)
        for by in torch.tensor(_shifts(step))
    ]
    return bool((torch.cat(off) < FOLLOWED * step).float().mean() > _NEARLY_ALL)


def _map_of(frame: _Frame) -> Tensor:
    cos, sin = math.cos(math.radians(frame.degrees)), math.sin(math.radians(frame.degrees))
    sign = -1.0 if frame.mirrored else 1.0
    x, y = frame.shift
    return torch.tensor([[sign * cos, -sign * sin, x], [sin, cos, y]])


def _ratio(residual: Tensor) -> Tensor:
    """Return the least of each row (N, K), sorted, over the median of the others; 1 where they are all 0."""
    usual = residual[:, 1:].median(1).values
    return torch.where(usual > 0, residual[:, 0] / usual, torch.ones_like(usual)).clamp(max=1)


def _register_all(
    queries: Tensor, references: Tensor, candidates: Tensor, maps: Tensor, *, iterations: int
) -> tuple[Tensor, Tensor]:
    """Register each query (N, ...) to its candidates (N, K); return residuals (N, K) and maps (N, K, 2, 3)."""
    rows = torch.arange(len(queries)).repeat_interleave(candidates.shape[1])
    needed, columns = torch.unique(candidates.flatten(), return_inverse=True)
    templates, starts = _Templates.of(references[needed]), maps.reshape(-1, 2, 3)
    parts = [
        _register(queries[rows[part]], templates.take(columns[part]), starts[part], iterations=iterations)
        for part in _slices(len(rows), _PAIRS)
    ]
    residual = torch.cat([residual for residual, _ in parts]).view(candidates.shape)
    return residual, torch.cat([ended for _, ended in parts]).view(maps.shape)


def _slices(count: int, size: int) -> Iterator[slice]:
    return (slice(start, start + size) for start in range(0, count, size))


def reduced_vectors(images: Pixels) -> npt.NDArray[np.float32]:
    """Return images as small as thumbnails, in rows: (N, 64) float32, where distances tell as much."""
    return F.adaptive_avg_pool2d(_working(images, COARSE_SIDE), THUMBNAIL_SIDE).flatten(1).numpy()


def _working(images: Pixels, side: int) -> Tensor:
    """Return (N, 1, side, side) float32: luminance, reduced and smoothed, for noise not to count."""
    rows, columns = (_reducing(length, side) for length in images.shape[2:])
    parts = [torch.zeros(0, 1, side, side)]
    for part in _slices(len(images), _SHRUNK):
        pixels = torch.from_numpy(images[part]).float() / 255
        if pixels.shape[1] == 3:
            pixels = torch.tensordot(pixels, torch.from_numpy(LUMINANCE).float(), ([1], [0]))[:, None]
        parts.append(rows @ (pixels @ columns.T))
    return torch.cat(parts)


def _reducing(length: int, side: int) -> Tensor:
    """Return the matrix (side, length) that smooths a line of pixels and reduces it."""
    lines = torch.eye(length)[:, None]  # each with a single bright pixel
    lines = F.conv1d(F.pad(lines, (1, 1), mode="replicate"), torch.tensor([[[0.25, 0.5, 0.25]]]))
    if length != side:
        size = (1, side)
        lines = F.interpolate(lines[:, None], size, mode="bilinear", antialias=True, align_corners=False)[:, 0]
    return lines[:, 0].T.contiguous()


def _thumbnails(images: Tensor) -> Tensor:
    return _standardised(F.adaptive_avg_pool2d(images, THUMBNAIL_SIDE).flatten(1))


def _principal_axes(thumbnails: Tensor) -> Tensor:
    """Return the directions (64, P) in which thumbnails (M, 64) are longest."""
    axes: Tensor = torch.linalg.eigh((thumbnails.mT @ thumbnails).double()).eigenvectors
    return axes[:, -_SKETCH:].float()


def _standardised(rows: Tensor) -> Tensor:
    """Return rows of mean 0 and length 1, or 0 where a row is constant."""
    rows = rows - rows.mean(1, keepdim=True)
    length = rows.norm(dim=1, keepdim=True)
    return rows / torch.where(length > 1e-3, length, math.inf)


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


def _moved(images: Tensor, maps: Tensor, *, margin: int = 0) -> Tensor:
    """Sample images (N, 1, S, S) where the affine maps (N, 2, 3) send the grid, but for a margin at each side."""
    basis = _grids(images.shape[-1], margin)
    grid = (maps.reshape(-1, 6) @ basis.reshape(6, -1)).view(-1, *basis.shape[2:])
    return F.grid_sample(images, grid, padding_mode="border", align_corners=False)


@cache
def _grids(side: int, margin: int) -> Tensor:
    """Return what all sampling grids are sums of, one for each entry of a map: (2, 3, h, w, 2)."""
    line = _line(side)[margin : side - margin]
    y, x = torch.meshgrid(line, line, indexing="ij")
    points = torch.stack([x, y, torch.ones_like(x)])  # (3, h, w)
    return torch.einsum("ij,khw->ikhwj", torch.eye(2), points)


@dataclass(frozen=True, kw_only=True)
class _Templates:
    """What is registered to, prepared once for all queries that are.

    Attributes:
        steepest: (N, 7, D), the change of the template's pixels with each entry of the map and with contrast, the
            latter being the template itself; each of mean 0, so that brightness is free.
        solver: (N, 6, 7), from products with `steepest` to the map's change.
        target: (N, 7), products of the template with `steepest`.
        length: (N,), of the template.
    """

    steepest: Tensor
    solver: Tensor
    target: Tensor
    length: Tensor

    @classmethod
    def of(cls, images: Tensor) -> "_Templates":
        """Prepare images (N, 1, S, S)."""
        side = images.shape[-1]
        margin = side // _MARGIN
        window = slice(margin, side - margin)
        line = _line(side)
        x, y = line[None, None, :], line[None, :, None]
        step_x = F.pad(images[..., 2:] - images[..., :-2], (1, 1))[:, 0] * (side / 4)
        step_y = F.pad(images[..., 2:, :] - images[..., :-2, :], (0, 0, 1, 1))[:, 0] * (side / 4)
        changes = [step_x * x, step_x * y, step_x, step_y * x, step_y * y, step_y, images[:, 0]]
        steepest = torch.stack([change[:, window, window].flatten(1) for change in changes], 1)
        steepest -= steepest.mean(2, keepdim=True)
        normal = steepest @ steepest.mT
        scale = normal.diagonal(dim1=1, dim2=2).mean(1).clamp(min=1e-8)
        inverse = torch.linalg.inv(normal + RIDGE * scale[:, None, None] * torch.eye(7))
        length = normal[:, 6, 6].sqrt().clamp(min=1e-3)
        return cls(steepest=steepest, solver=inverse[:, :6], target=normal[:, 6], length=length)

    def take(self, indices: Tensor) -> "_Templates":
        """Return the templates at `indices`, again and again where one stands there several times."""
        return _Templates(
            steepest=self.steepest[indices],
            solver=self.solver[indices],
            target=self.target[indices],
            length=self.length[indices],
        )


def _register(queries: Tensor, templates: _Templates, maps: Tensor, *, iterations: int) -> tuple[Tensor, Tensor]:
    """Register queries (P, 1, S, S) to as many templates from affine maps (P, 2, 3); return residuals (P,) and maps.

    The margin of a sixteenth at each side is not compared: shifts bring other pixels there.
    """
    best = torch.full((len(queries),), math.inf)
    for iteration in range(iterations + 1):
        moved = _moved(queries, maps, margin=queries.shape[-1] // _MARGIN).flatten(1)  # (P, D)
        length = (moved - moved.mean(1, keepdim=True)).norm(dim=1)
        length = torch.where(length > 1e-3, length, math.inf)
        products = _products(templates.steepest, moved) / length[:, None]  # of the query at length 1
        agreement = products[:, 6] / templates.length
        best = torch.minimum(best, 1 - agreement.clamp(min=0).square())
        if iteration == iterations:
            break
        error = products * (agreement.clamp(min=0.1) * templates.length)[:, None] - templates.target
        change = _products(templates.solver, error).clamp(-LARGEST_STEP, LARGEST_STEP).view(-1, 2, 3)
        maps = _undone(maps, change)
    return best.clamp(min=0), maps


def _products(matrices: Tensor, vectors: Tensor) -> Tensor:
    """Return the products (P, K) of matrices (P, K, D) and vectors (P, D), in the order that is quickest by far."""
    return (vectors[:, None] @ matrices.mT)[:, 0]


def _undone(maps: Tensor, change: Tensor) -> Tensor:
    """Return affine maps (P, 2, 3) after the inverse of the map that is `change` (P, 2, 3) more than the identity."""
    a, b = 1 + change[:, 0, 0], change[:, 0, 1]
    c, d = change[:, 1, 0], 1 + change[:, 1, 1]
    linear = torch.stack([d, -b, -c, a], 1).view(-1, 2, 2) / (a * d - b * c)[:, None, None]
    linear = maps[:, :, :2] @ linear
    return torch.cat([linear, maps[:, :, 2:] - linear @ change[:, :, 2:]], 2)
