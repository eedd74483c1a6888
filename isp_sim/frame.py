"""Frame: the one type that flows through every stage. Pixels, what they mean, and what is known of their capture."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final

import torch
from torch import Tensor

from isp_sim.signal import Signal, cfa_moved, cfa_name, cfa_rows

FACTS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "black_level": "(B, C, h, w) [DN]: one period of the black level, at the top-left pixel",
        "white_level": "(B, C, h, w) [DN]: one period of the saturation level, at the top-left pixel",
        "linearization_table": "(B, n) [DN]: the number that each code 0, 1, 2, ... stands for, not falling",
        "wb_gains": "(B, 3, 1, 1): as-shot gains of R, G, B; the smallest is 1",
        "ccm": "(B, 3, 3): white-balanced camera RGB to linear sRGB; rows sum to 1",
        "color_matrices": "(B, 2, 3, 3): DNG's ColorMatrix1 and 2, CIE XYZ to camera RGB; equal if there is but one",
        "calibration_illuminants": "(B, 2) [K]: temperature of the lights that the color_matrices are for",
        "camera_calibrations": "(B, 2, 3, 3): DNG's AnalogBalance times CameraCalibration1 and 2; may be missing",
        "forward_matrices": "(B, 2, 3, 3): DNG's ForwardMatrix1 and 2, balanced camera RGB to XYZ D50; may be missing",
        "tone_curve": "(B, K, 2): knots (x, y) of the camera's tone curve, from (0, 0) to (1, 1)",
        "digital_gain": "(B, 1, 1, 1): gain of all channels",
        "gamut_map": "(B, n, 7): centre, weight and width of each function that moves colours in linear sRGB",
        "noise_profile": "(B, n, 2): DNG NoiseProfile (S, O), variance = S x + O, for one plane or for each",
        "gain_map": "(B, n, h, w): gains against lens shading, n grids, each in the upper left part of its (h, w)",
        "gain_map_geometry": "(B, n, 14): of each grid top, left, bottom and right of the pixels that it is for [px], "
        "every how many rows and columns [px], first plane and number of planes, number of grid points down and "
        "across, and place of the first point and distance of two, down and across [fraction of the whole picture]",
        "vignette": "(B, 7): k0 to k4 of the gain 1 + k0 r^2 + ... + k4 r^10, and its centre across and down "
        "[fraction of the whole picture]",
        "shading_corrected": "(B, 2, 1, 1): 1 where the vignette, and where the gain map, has been corrected",
        "placement": "(B, 2, 4) [px]: where a pixel at column x and row y lies on the whole picture, which the facts "
        "on shading are about: column and row of it are each a x + b y + c, its width and height d. As if whole if "
        "not there; 0 if there is no such place any more",
        "iso": "(B, 1, 1, 1): ISO speed",
        "exposure_time": "(B, 1, 1, 1) [s]",
    }
)
"""The capture facts that the built-in stages know. A plugin may add others under names of its own."""

PERIODIC: Final = ("black_level", "white_level")
"""Facts that hold one value a CFA site, and so move with the pixels."""

MOVED: Final = (*PERIODIC, "placement")
"""Facts that change when pixels move."""


class Capture(Mapping[str, Tensor]):
    """What is known of the capture: named facts, each a tensor whose leading size is the batch (see `FACTS`).

    An immutable mapping. Asking for a fact that is not there raises a KeyError that says who could give it.
    """

    def __init__(self, facts: Mapping[str, Tensor] | None = None) -> None:
        self._facts = dict(facts or {})

    def __getitem__(self, name: str) -> Tensor:
        try:
            return self._facts[name]
        except KeyError:
            raise MissingFact(name, tuple(self._facts)) from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)

    def __contains__(self, name: object) -> bool:
        return name in self._facts

    def __repr__(self) -> str:
        return f"Capture({', '.join(f'{k}={tuple(v.shape)}' for k, v in self._facts.items())})"

    def with_facts(self, facts: Mapping[str, Tensor]) -> Capture:
        """A copy with some facts added or replaced."""
        return Capture({**self._facts, **facts})

    def map(self, function: Callable[[Tensor], Tensor]) -> Capture:
        """A copy with every fact passed through `function`."""
        return Capture({name: function(value) for name, value in self._facts.items()})


class MissingFact(KeyError):
    """A stage asked for a fact of the capture that this frame does not have."""

    def __init__(self, name: str, known: tuple[str, ...]) -> None:
        super().__init__(name)
        self.name, self.known = name, known

    def __str__(self) -> str:
        known = ", ".join(self.known) or "nothing"
        return (
            f"the capture holds no {self.name!r} (it holds {known}): "
            "give the value in the recipe, read a RAW file that has it, or start with `unprocess`"
        )


@dataclass(frozen=True)
class Masks:
    """Per-pixel labels, (B, H, W), integer. Moved by nearest neighbour, never interpolated.

    `outside` is the label of what lies beyond the edge, where a warp shows that.
    """

    labels: Tensor
    outside: int = 255

    def select(self, indices: Sequence[int]) -> Masks:
        return replace(self, labels=self.labels[list(indices)])

    def move(self, move: Move | Warp) -> Masks:
        labels = move.pixels(self.labels.unsqueeze(1)).squeeze(1)
        if isinstance(move, Warp):
            labels = torch.where(move.inside.to(labels.device), labels, self.outside)
        return replace(self, labels=labels)

    def to(self, device: torch.device | str) -> Masks:
        return replace(self, labels=self.labels.to(device))


@dataclass(frozen=True)
class Boxes:
    """Boxes of each sample, (N_i, 4) as x0, y0, x1, y1 in pixels from the picture's left and top edge."""

    xyxy: tuple[Tensor, ...]
    labels: tuple[Tensor, ...] = ()

    def select(self, indices: Sequence[int]) -> Boxes:
        return Boxes(tuple(self.xyxy[i] for i in indices), tuple(self.labels[i] for i in indices if self.labels))

    def move(self, move: Move | Warp) -> Boxes:
        """The boxes around the moved corners."""
        moved = []
        for i, (x0, y0, x1, y1) in enumerate(box.unbind(-1) for box in self.xyxy):
            pairs = [(x0, y0), (x1, y0), (x0, y1), (x1, y1)]
            corners = move.points(torch.stack([torch.stack(pair, dim=-1) for pair in pairs], dim=1), i)
            moved.append(torch.cat([corners.amin(dim=1), corners.amax(dim=1)], dim=1))
        return replace(self, xyxy=tuple(moved))

    def to(self, device: torch.device | str) -> Boxes:
        return Boxes(tuple(b.to(device) for b in self.xyxy), tuple(label.to(device) for label in self.labels))


@dataclass(frozen=True)
class Points:
    """Points of each sample, (N_i, 2) as x, y in pixels from the picture's left and top edge."""

    xy: tuple[Tensor, ...]

    def select(self, indices: Sequence[int]) -> Points:
        return Points(tuple(self.xy[i] for i in indices))

    def move(self, move: Move | Warp) -> Points:
        return Points(tuple(move.points(p, i) for i, p in enumerate(self.xy)))

    def to(self, device: torch.device | str) -> Points:
        return Points(tuple(p.to(device) for p in self.xy))


Target = Masks | Boxes | Points


@dataclass(frozen=True)
class Move:
    """A move of whole pixels: turn about the diagonal, mirror, then cut out a window.

    Attributes
    ----------
    size
        (H, W) of the picture before the move.
    transpose, mirror_x, mirror_y
        Applied in this order.
    window
        (top, left, height, width) of the turned picture that is kept; None keeps all.
    """

    size: tuple[int, int]
    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False
    window: tuple[int, int, int, int] | None = None

    @property
    def turned(self) -> tuple[int, int]:
        return (self.size[1], self.size[0]) if self.transpose else self.size

    def pixels(self, x: Tensor) -> Tensor:
        """Move the last two axes of x."""
        if self.transpose:
            x = x.transpose(-1, -2)
        if axes := [axis for axis, on in ((-1, self.mirror_x), (-2, self.mirror_y)) if on]:
            x = x.flip(axes)
        if self.window is not None:
            top, left, height, width = self.window
            x = x[..., top : top + height, left : left + width]
        return x

    def points(self, xy: Tensor, sample: int = 0) -> Tensor:
        """Move points (..., 2), x and y in pixels from the left and top edge; the same for every sample."""
        height, width = self.turned
        x, y = xy.unbind(-1)
        if self.transpose:
            x, y = y, x
        if self.mirror_x:
            x = width - x
        if self.mirror_y:
            y = height - y
        if self.window is not None:
            x, y = x - self.window[1], y - self.window[0]
        return torch.stack([x, y], dim=-1)

    def _sources(self, period: tuple[int, int]) -> tuple[list[int], list[int]]:
        """For one period of the moved picture: the row and the column of the turned picture it shows."""
        height, width = self.turned
        top, left = (self.window or (0, 0))[:2]
        rows = [height - 1 - (top + y) if self.mirror_y else top + y for y in range(period[0])]
        columns = [width - 1 - (left + x) if self.mirror_x else left + x for x in range(period[1])]
        return rows, columns

    @property
    def origin(self) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
        """The column and the row that the pixel at column x and row y had before: a x + b y + c, each."""
        height, width = self.turned
        top, left = (self.window or (0, 0))[:2]
        column = (-1, 0, width - 1 - left) if self.mirror_x else (1, 0, left)
        row = (0, -1, height - 1 - top) if self.mirror_y else (0, 1, top)
        return (row, column) if self.transpose else (column, row)

    @property
    def is_none(self) -> bool:
        """Whether every pixel stays where it is."""
        window = self.window is None or self.window == (0, 0, *self.size)
        return window and not (self.transpose or self.mirror_x or self.mirror_y)

    def periodic(self, tile: Tensor) -> Tensor:
        """Move one period (..., h, w) of a periodic pattern."""
        if self.transpose:
            tile = tile.transpose(-1, -2)
        height, width = tile.shape[-2:]
        rows, columns = self._sources((height, width))
        return tile[..., [r % height for r in rows], :][..., [c % width for c in columns]]

    def cfa(self, cfa: str) -> str:
        """Move a CFA pattern."""
        rows = cfa_rows(cfa)
        if self.transpose:
            rows = tuple("".join(column) for column in zip(*rows, strict=True))
        sources = self._sources((len(rows), len(rows[0])))
        return cfa_moved(cfa_name(rows), *sources)


@dataclass(frozen=True)
class Warp:
    """A change of size or shape: where each new pixel comes from, and where each old point goes.

    It moves maps and labels, by nearest neighbour; the pixels of the picture are interpolated by the stage.

    Attributes
    ----------
    source
        (B or 1, 2, H, W), x and y in pixels from the left and top edge of the old picture: what the centre of each
        new pixel shows.
    size
        (H, W) of the picture before.
    forward
        Takes points (..., 2) of the old picture and the index of their sample; returns where they are in the new.
    """

    source: Tensor
    size: tuple[int, int]
    forward: Callable[[Tensor, int], Tensor]

    @property
    def output(self) -> tuple[int, int]:
        """(H, W) of the picture after."""
        return self.source.shape[-2], self.source.shape[-1]

    @property
    def inside(self) -> Tensor:
        """(B or 1, H, W): whether a new pixel shows a place inside the old picture."""
        x, y = self.source[:, 0], self.source[:, 1]
        return (x >= 0) & (x < self.size[1]) & (y >= 0) & (y < self.size[0])

    def pixels(self, x: Tensor) -> Tensor:
        """The nearest old pixel of each new one, (B, n, H, W); beyond the edge, the outermost."""
        height, width = self.size
        source = self.source.to(x.device)
        column = source[:, 0].floor().long().clamp(0, width - 1)
        row = source[:, 1].floor().long().clamp(0, height - 1)
        index = (row * width + column).expand(x.shape[0], *self.output).reshape(x.shape[0], 1, -1)
        flat = x.reshape(x.shape[0], x.shape[1], -1)
        return flat.gather(2, index.expand(-1, x.shape[1], -1)).reshape(*x.shape[:2], *self.output)

    def points(self, xy: Tensor, sample: int = 0) -> Tensor:
        """Where points (..., 2) of a sample go, x and y in pixels from the left and top edge."""
        return self.forward(xy, sample)


@dataclass(frozen=True)
class Frame:
    """A batch of pictures that share a Signal and a size.

    Attributes
    ----------
    pixels
        (B, C, H, W), floating; C is 1 for a mosaic.
    signal
        What the numbers mean, one for the batch.
    capture
        Per-sample facts (see `FACTS`).
    keys
        One identity a sample, for seeds and provenance.
    maps
        What stages leave beside the picture: (B, n, H, W) each, such as ``sigma`` or ``clipped``.
    targets
        Labels that travel along.
    """

    pixels: Tensor
    signal: Signal
    capture: Capture = field(default_factory=Capture)
    keys: tuple[str, ...] = ("",)
    maps: Mapping[str, Tensor] = field(default_factory=dict)
    targets: Mapping[str, Target] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.pixels.ndim != 4 or not self.pixels.is_floating_point():
            raise ValueError(
                f"pixels must be floating (B, C, H, W); found {self.pixels.dtype} {tuple(self.pixels.shape)}"
            )
        batch, channels = self.pixels.shape[:2]
        expected = 1 if self.signal.layout == "mosaic" else 3
        if channels != expected:
            raise ValueError(f"layout {self.signal.layout!r} has {expected} channels; found {channels}")
        if len(self.keys) != batch:
            raise ValueError(f"{batch} pictures need {batch} keys; found {len(self.keys)}")
        for name, fact in self.capture.items():
            if fact.shape[0] != batch:
                raise ValueError(f"capture fact {name!r} is for {fact.shape[0]} pictures, not {batch}")

    @property
    def batch(self) -> int:
        return self.pixels.shape[0]

    @property
    def size(self) -> tuple[int, int]:
        """(H, W)."""
        return self.pixels.shape[-2], self.pixels.shape[-1]

    @property
    def placement(self) -> Tensor:
        """Where the picture lies on the whole one, (B, 2, 4) (see `FACTS`)."""
        if "placement" in self.capture:
            return self.capture["placement"]
        height, width = self.size
        whole = [[1.0, 0.0, 0.0, width], [0.0, 1.0, 0.0, height]]
        return torch.tensor(whole, dtype=self.pixels.dtype, device=self.pixels.device).repeat(self.batch, 1, 1)

    def _displaced(self, move: Move | Warp) -> Capture:
        """The capture with the placement of the moved picture; one that was resampled has none."""
        place = self.placement
        if isinstance(move, Move):
            # whole numbers, so these sums are exact
            (a, b, c), (d, e, f) = move.origin
            x, y, offset, length = place.unbind(-1)
            place = torch.stack([a * x + d * y, b * x + e * y, c * x + f * y + offset, length], dim=-1)
        else:
            place = torch.zeros_like(place)
        return self.capture.with_facts({"placement": place})

    def spread(self, per_channel: Tensor) -> Tensor:
        """Bring one value for each of R, G, B, (B, 3, 1, 1), to where it belongs: ready to multiply `pixels`.

        For an RGB picture that is the argument itself; for a mosaic (B, 1, H, W), each site its colour's value.

        Raises
        ------
        ValueError
            If the CFA has sites that mix colours: their light has been summed up before any one value can apply.
        """
        if self.signal.layout != "mosaic":
            return per_channel
        if reason := self.signal.no_spread:
            raise ValueError(f"it {reason}")
        rows = cfa_rows(str(self.signal.cfa))
        index = torch.tensor([["RGB".index(letter) for letter in row] for row in rows], device=per_channel.device)
        return self.tiled(per_channel[:, :, 0, 0][:, index].unsqueeze(1))

    def tiled(self, tile: Tensor) -> Tensor:
        """Repeat one period (B, C, h, w), which starts at the top-left pixel, over the picture."""
        height, width = tile.shape[-2:]
        if (height, width) == (1, 1):
            return tile
        rows, columns = -(-self.size[0] // height), -(-self.size[1] // width)
        return tile.repeat(1, 1, rows, columns)[..., : self.size[0], : self.size[1]]

    def warped(self, move: Move | Warp) -> Frame:
        """The frame with maps, targets and its placement moved; the pixels are still to be attached."""
        return replace(
            self,
            capture=self.capture if isinstance(move, Move) and move.is_none else self._displaced(move),
            maps={name: move.pixels(value) for name, value in self.maps.items()},
            targets={name: value.move(move) for name, value in self.targets.items()},
        )

    def moved(self, move: Move) -> Frame:
        """Move pixels, CFA phase, per-site levels, placement, maps and targets together."""
        signal = self.signal
        if signal.layout == "mosaic":
            signal = replace(signal, cfa=move.cfa(str(signal.cfa)))
        facts = {name: move.periodic(self.capture[name]) for name in PERIODIC if name in self.capture}
        moved = self.warped(move)
        return replace(moved, pixels=move.pixels(self.pixels), signal=signal, capture=moved.capture.with_facts(facts))

    def crop(self, top: int, left: int, height: int, width: int) -> Frame:
        """Cut out a window. Raises ValueError if it does not lie inside the picture."""
        rows, columns = self.size
        if height < 1 or width < 1 or top < 0 or left < 0 or top + height > rows or left + width > columns:
            raise ValueError(
                f"a window of {height}x{width} at ({top}, {left}) does not lie inside a picture of {rows}x{columns}"
            )
        return self.moved(Move(self.size, window=(top, left, height, width)))

    def to(self, device: torch.device | str) -> Frame:
        """Move every tensor to a device."""
        return replace(
            self,
            pixels=self.pixels.to(device),
            capture=self.capture.map(lambda fact: fact.to(device)),
            maps={name: value.to(device) for name, value in self.maps.items()},
            targets={name: value.to(device) for name, value in self.targets.items()},
        )

    def select(self, indices: Sequence[int]) -> Frame:
        """Some of the pictures, in the order given."""
        index = list(indices)
        if index == list(range(self.batch)):
            return self
        return replace(
            self,
            pixels=self.pixels[index],
            capture=self.capture.map(lambda fact: fact[index]),
            keys=tuple(self.keys[i] for i in index),
            maps={name: value[index] for name, value in self.maps.items()},
            targets={name: value.select(index) for name, value in self.targets.items()},
        )

    @staticmethod
    def join(parts: Sequence[tuple[Sequence[int], Frame]]) -> Frame:
        """Put together frames that hold the given positions of one batch: the inverse of `select`.

        All must have one Signal and size. A map that only some of them have is zero for the others; a fact of
        the capture, NaN.
        """
        if len(parts) == 1 and list(parts[0][0]) == list(range(parts[0][1].batch)):
            return parts[0][1]
        signals = {frame.signal for _, frame in parts}
        sizes = {frame.size for _, frame in parts}
        if len(signals) > 1 or len(sizes) > 1:
            raise ValueError(
                "pictures of one batch must end alike; found "
                + " and ".join(sorted(f"{f.size[0]}x{f.size[1]} {f.signal}" for _, f in parts))
            )
        frames = [frame for _, frame in parts]
        if any("placement" in frame.capture for frame in frames):
            frames = [replace(f, capture=f.capture.with_facts({"placement": f.placement})) for f in frames]
        order = [int(i) for indices, _ in parts for i in indices]
        back = sorted(range(len(order)), key=order.__getitem__)
        first = frames[0]
        return Frame(
            pixels=torch.cat([f.pixels for f in frames])[back],
            signal=first.signal,
            capture=Capture(_join_named([f.capture for f in frames], frames, float("nan"), back)),
            keys=tuple([k for f in frames for k in f.keys][i] for i in back),
            maps=_join_named([f.maps for f in frames], frames, 0.0, back),
            targets={name: _join_targets([f.targets[name] for f in frames], back) for name in first.targets},
        )


def _join_named(
    named: Sequence[Mapping[str, Tensor]], frames: Sequence[Frame], fill: float, back: list[int]
) -> dict[str, Tensor]:
    joined = {}
    for name in dict.fromkeys(name for mapping in named for name in mapping):
        like = next(mapping[name] for mapping in named if name in mapping)
        joined[name] = torch.cat(
            [
                mapping[name] if name in mapping else torch.full_like(like[:1], fill).repeat_interleave(f.batch, 0)
                for mapping, f in zip(named, frames, strict=True)
            ]
        )[back]
    return joined


def _join_targets(targets: Sequence[Any], back: list[int]) -> Target:
    if isinstance(targets[0], Masks):
        return replace(targets[0], labels=torch.cat([t.labels for t in targets])[back])
    if isinstance(targets[0], Boxes):
        boxes = [box for t in targets for box in t.xyxy]
        labels = [label for t in targets for label in t.labels]
        return Boxes(tuple(boxes[i] for i in back), tuple(labels[i] for i in back if labels))
    points = [p for t in targets for p in t.xy]
    return Points(tuple(points[i] for i in back))
