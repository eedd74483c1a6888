"""What JPEG does to a picture, in torch: batched, on any device, without the lossless entropy coding.

One path serves two kinds of numbers. On whole numbers (int32) every step rounds as libjpeg-turbo does by default
(integer DCT, smooth upsampling of chroma), so the result is that of its encoder and decoder to the last bit. On
floating point numbers nothing rounds but the quantisation, by a function of your choice, so gradients flow.

Planes are (B, P, H, W). Blocks are (8, 8, B, P, rows, columns): the place inside the block comes first, so that a sum
over it runs over whole planes of memory. Every sum is explicit: equal bits whatever the batch or the strides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

import torch
from torch import Tensor

Tables = Sequence[Sequence[int]]
"""Quantisation steps of luma and of chroma, 64 numbers each, row by row (not in zigzag order)."""
Rounding = Callable[[Tensor], Tensor]

FACTORS: Final = {"4:4:4": (1, 1), "4:2:2": (2, 1), "4:2:0": (2, 2)}
"""How many luma samples a chroma sample covers: across, down."""
SIZE: Final = 8
CENTRE: Final = 128
TOP: Final = 255

# fmt: off
LUMA: Final = (
    16, 11, 10, 16,  24,  40,  51,  61,
    12, 12, 14, 19,  26,  58,  60,  55,
    14, 13, 16, 24,  40,  57,  69,  56,
    14, 17, 22, 29,  51,  87,  80,  62,
    18, 22, 37, 56,  68, 109, 103,  77,
    24, 35, 55, 64,  81, 104, 113,  92,
    49, 64, 78, 87, 103, 121, 120, 101,
    72, 92, 95, 98, 112, 100, 103,  99,
)
CHROMA: Final = (
    17, 18, 24, 47, 99, 99, 99, 99,
    18, 21, 26, 66, 99, 99, 99, 99,
    24, 26, 56, 99, 99, 99, 99, 99,
    47, 66, 99, 99, 99, 99, 99, 99,
    *(99,) * 32,
)
# fmt: on


# -- tables ----------------------------------------------------------------------------------------------------


def quality_tables(quality: Tensor) -> Tensor:
    """The quantisation tables of the quality factor of the IJG: Annex K's, scaled, rounded, clipped to 1 to 255.

    Parameters
    ----------
    quality
        Whole numbers from 1 to 100, one per sample, in any shape of B numbers.

    Returns
    -------
    Tensor
        (B, 2, 8, 8), int32: of luma and of chroma.

    Notes
    -----
    T.81, tables K.1 and K.2 [T81]; the scaling is libjpeg's [libjpegturbo].

    Examples
    --------
    >>> quality_tables(torch.tensor([50, 90]))[:, 0, 0, :3].tolist()
    [[16, 11, 10], [3, 2, 2]]
    """
    q = quality.reshape(-1).to(torch.int32)
    scale = torch.where(q < 50, 5000 // q, 200 - 2 * q)
    base = torch.tensor((LUMA, CHROMA), dtype=torch.int32, device=q.device).reshape(1, 2, SIZE, SIZE)
    return ((base * scale[:, None, None, None] + 50) // 100).clamp(1, 255)


def custom_tables(tables: Tables, batch: int, device: torch.device | None = None) -> Tensor:
    """Tables of one's own for a batch: (B, 2, 8, 8), int32."""
    return torch.tensor(tables, dtype=torch.int32, device=device).reshape(1, 2, SIZE, SIZE).expand(batch, -1, -1, -1)


# -- rounding --------------------------------------------------------------------------------------------------


def smooth_rounding(x: Tensor, order: int) -> Tensor:
    """The nearest whole number r, plus u (2u)**(2 order) with u = x - r: continuous, with a continuous slope.

    From order 1 on, the slope is 0 at whole numbers and 2 order + 1 half-way between them. Order 0 is x itself, and
    the higher the order, the closer to rounding. Any real number in, any out.

    Examples
    --------
    >>> smooth_rounding(torch.tensor([1.0, 1.25, 1.5, 1.75]), 1).tolist()
    [1.0, 1.0625, 1.5, 1.9375]
    """
    nearest = torch.floor(x + 0.5)
    rest = x - nearest
    square = 4 * rest * rest
    for _ in range(order):
        rest = rest * square
    return nearest + rest


def straight_through(x: Tensor) -> Tensor:
    """The nearest whole number, halves upwards, with the gradient of x: another function's, on purpose."""
    return torch.floor(x + 0.5).detach() + (x - x.detach())


def _descale(x: Tensor, bits: int, bias: int | Tensor | None = None) -> Tensor:
    """x / 2**bits: whole numbers are rounded, halves upwards unless `bias` is another; others stay as they are."""
    if x.is_floating_point():
        return x / (1 << bits)
    return (x + (1 << (bits - 1) if bias is None else bias)) >> bits


# -- colour ----------------------------------------------------------------------------------------------------


def _fixed(x: float, bits: int) -> int:
    return int(x * 2**bits + 0.5)


_Y_R, _Y_G, _Y_B = _fixed(0.299, 16), _fixed(0.587, 16), _fixed(0.114, 16)
_CB_R, _CB_G, _HALF = _fixed(0.16874, 16), _fixed(0.33126, 16), _fixed(0.5, 16)
_CR_G, _CR_B = _fixed(0.41869, 16), _fixed(0.08131, 16)
_R_CR, _G_CB, _G_CR, _B_CB = _fixed(1.402, 16), _fixed(0.34414, 16), _fixed(0.71414, 16), _fixed(1.772, 16)


def rgb_to_ycbcr(rgb: Tensor) -> Tensor:
    """Luma and chroma of R'G'B' code values (B, 3, H, W), 0 to 255; chroma is centred on 128. JFIF [libjpegturbo]."""
    r, g, b = rgb.unbind(1)
    y = _descale(r * _Y_R + g * _Y_G + b * _Y_B, 16)
    cb = _descale(b * _HALF - r * _CB_R - g * _CB_G, 16, _HALF - 1) + CENTRE
    cr = _descale(r * _HALF - g * _CR_G - b * _CR_B, 16, _HALF - 1) + CENTRE
    return torch.stack([y, cb, cr], dim=1)


def ycbcr_to_rgb(ycbcr: Tensor) -> Tensor:
    """R'G'B' code values of luma and chroma (B, 3, H, W); clips to 0 to 255. JFIF [libjpegturbo]."""
    y, cb, cr = ycbcr.unbind(1)
    cb, cr = cb - CENTRE, cr - CENTRE
    r = y + _descale(cr * _R_CR, 16)
    g = y - _descale(cb * _G_CB + cr * _G_CR, 16, _HALF - 1)
    b = y + _descale(cb * _B_CB, 16)
    return torch.stack([r, g, b], dim=1).clamp(0, TOP)


# -- sampling of chroma ----------------------------------------------------------------------------------------


def _extended(x: Tensor, dim: int, multiple: int) -> Tensor:
    """The last row or column repeated, until their number is a multiple."""
    missing = -x.shape[dim] % multiple
    if not missing:
        return x
    shape = list(x.shape)
    shape[dim] = missing
    return torch.cat([x, x.narrow(dim, x.shape[dim] - 1, 1).expand(shape)], dim)


def downsample(planes: Tensor, across: int, down: int) -> Tensor:
    """Means of `across` x `down` samples, 1 or 2 each, extended to whole blocks.

    The right border is extended before the means are taken, the lower border after it, as libjpeg does. Of whole
    numbers, halves are rounded downwards in even columns and upwards in odd ones.
    """
    x = _extended(_extended(planes, -1, SIZE * across), -2, down)
    if across == 2:
        x = x[..., 0::2] + x[..., 1::2]
        if down == 2:
            x = x[..., 0::2, :] + x[..., 1::2, :]
        odd = torch.arange(x.shape[-1], dtype=torch.int32, device=x.device) % 2
        x = _descale(x, down, odd + (down - 1))
    return _extended(x, -2, SIZE)


def _interleaved(even: Tensor, odd: Tensor, dim: int) -> Tensor:
    return torch.stack([even, odd], dim).flatten(dim - 1, dim)


def _neighbours(x: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    """The sample before and the one after each, the picture continued by its border."""
    count = x.shape[dim]
    before = torch.cat([x.narrow(dim, 0, 1), x.narrow(dim, 0, count - 1)], dim)
    after = torch.cat([x.narrow(dim, 1, count - 1), x.narrow(dim, count - 1, 1)], dim)
    return before, after


def upsample(planes: Tensor, across: int, down: int) -> Tensor:
    """`across` x `down` samples, 1 or 2 each, for each: three parts of the nearest and one of the next, per axis.

    Planes of one or two columns are repeated instead, as libjpeg-turbo does.
    """
    if across == 1:
        return planes
    if planes.shape[-1] <= 2:
        planes = _interleaved(planes, planes, -1)
        return _interleaved(planes, planes, -2) if down == 2 else planes
    x = planes
    if down == 2:
        above, below = _neighbours(x, -2)
        x = _interleaved(3 * x + above, 3 * x + below, -2)
    before, after = _neighbours(x, -1)
    biases = (8, 7) if down == 2 else (1, 2)
    even, odd = (_descale(3 * x + next_, 2 * down, bias) for next_, bias in zip((before, after), biases, strict=True))
    return _interleaved(even, odd, -1)


# -- discrete cosine transform ---------------------------------------------------------------------------------

_BITS: Final = 13
_EXTRA: Final = 2
"""Bits of the fraction that the first of two passes keeps."""
_COSINES: Final = {
    name: _fixed(value, _BITS)
    for name, value in {
        "even_1": 0.541196100, "even_2": 0.765366865, "even_3": 1.847759065, "all": 1.175875602,
        "near_0": 0.298631336, "near_1": 2.053119869, "near_2": 3.072711026, "near_3": 1.501321110,
        "pair_0": 0.899976223, "pair_1": 2.562915447, "pair_2": 1.961570560, "pair_3": 0.390180644,
    }.items()
}  # fmt: skip
"""The constants of Loeffler, Ligtenberg and Moschytz's 8-point transform, in units of 2**-13 [Loeffler1989]."""


def _odd(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The odd half of the transform, which is its own transpose."""
    k = _COSINES
    z1, z2, z3, z4 = (a + d) * k["pair_0"], (b + c) * k["pair_1"], a + c, b + d
    z5 = (z3 + z4) * k["all"]
    z3, z4 = z5 - z3 * k["pair_2"], z5 - z4 * k["pair_3"]
    return (
        a * k["near_0"] - z1 + z3,
        b * k["near_1"] - z2 + z4,
        c * k["near_2"] - z2 + z3,
        d * k["near_3"] - z1 + z4,
    )


def _forward(x: Sequence[Tensor]) -> list[Tensor]:
    """The 8-point transform, times sqrt(8) 2**13."""
    s = [x[i] + x[7 - i] for i in range(4)]
    o7, o5, o3, o1 = _odd(*(x[i] - x[7 - i] for i in (3, 2, 1, 0)))
    e0, e1, d0, d1 = s[0] + s[3], s[1] + s[2], s[0] - s[3], s[1] - s[2]
    z = (d0 + d1) * _COSINES["even_1"]
    o2, o6 = z + d0 * _COSINES["even_2"], z - d1 * _COSINES["even_3"]
    return [(e0 + e1) * 2**_BITS, o1, o2, o3, (e0 - e1) * 2**_BITS, o5, o6, o7]


def _inverse(x: Sequence[Tensor]) -> list[Tensor]:
    """The inverse of the 8-point transform, times sqrt(8) 2**13."""
    z = (x[2] + x[6]) * _COSINES["even_1"]
    e2, e3 = z - x[6] * _COSINES["even_3"], z + x[2] * _COSINES["even_2"]
    e0, e1 = (x[0] + x[4]) * 2**_BITS, (x[0] - x[4]) * 2**_BITS
    even = [e0 + e3, e1 + e2, e1 - e2, e0 - e3]
    odd = _odd(x[7], x[5], x[3], x[1])[::-1]
    return [e + o for e, o in zip(even, odd, strict=True)] + [e - o for e, o in zip(even[::-1], odd[::-1], strict=True)]


def _along(x: Tensor, dim: int, transform: Callable[[Sequence[Tensor]], list[Tensor]], bits: int) -> Tensor:
    return torch.stack([_descale(line, bits) for line in transform(x.unbind(dim))], dim)


def forward_dct(blocks: Tensor) -> Tensor:
    """Coefficients of blocks (8, 8, ...) of samples centred on 0: 8 times the orthonormal transform.

    Whole numbers are rounded after each of the two passes, along rows and then along columns: libjpeg's ``islow``.
    """
    return _along(_along(blocks, 1, _forward, _BITS - _EXTRA), 0, _forward, _BITS + _EXTRA)


def inverse_dct(coefficients: Tensor) -> Tensor:
    """Samples centred on 0 of coefficients (8, 8, ...) of the orthonormal transform. Does not clip.

    Whole numbers are rounded after each of the two passes, along columns and then along rows: libjpeg's ``islow``.
    """
    return _along(_along(coefficients, 0, _inverse, _BITS - _EXTRA), 1, _inverse, _BITS + _EXTRA + 3)


# -- compression -----------------------------------------------------------------------------------------------


def _blocks(planes: Tensor) -> Tensor:
    batch, count, height, width = planes.shape
    x = planes.reshape(batch, count, height // SIZE, SIZE, width // SIZE, SIZE)
    return x.permute(3, 5, 0, 1, 2, 4).contiguous()


def _planes(blocks: Tensor) -> Tensor:
    _, _, batch, count, rows, columns = blocks.shape
    return blocks.permute(2, 3, 4, 0, 5, 1).reshape(batch, count, rows * SIZE, columns * SIZE)


def _steps(tables: Tensor, which: int) -> Tensor:
    """One table of each sample, (8, 8, B, 1, 1, 1)."""
    return tables[:, which].permute(1, 2, 0)[..., None, None, None]


def quantise(coefficients: Tensor, steps: Tensor, rounding: Rounding | None = None) -> Tensor:
    """Levels of coefficients, which are scaled by 8 as `forward_dct` leaves them.

    Whole numbers go to the nearest level, halves away from 0; others by `rounding`, or are not rounded at all.
    """
    if coefficients.is_floating_point():
        levels = coefficients / (8 * steps)
        return levels if rounding is None else rounding(levels)
    size = torch.div(coefficients.abs() + 4 * steps, 8 * steps, rounding_mode="floor")
    return torch.where(coefficients < 0, -size, size)


def _through(planes: Tensor, steps: Tensor, rounding: Rounding | None) -> Tensor:
    """Planes of whole blocks after transform, quantisation and back; clips to 0 to 255.

    Coarse tables can send samples beyond -512 or 511. They saturate here, as in libjpeg-turbo's vector code; its plain
    C looks them up modulo 1024.
    """
    levels = quantise(forward_dct(_blocks(planes) - CENTRE), steps, rounding)
    return (_planes(inverse_dct(levels * steps)) + CENTRE).clamp(0, TOP)


def jpeg(rgb: Tensor, tables: Tensor, subsampling: str, rounding: Rounding | None = None) -> Tensor:
    """A picture after JPEG compression and decompression. R'G'B' code values from 0 to 255 in and out; clips.

    Parameters
    ----------
    rgb
        (B, 3, H, W) of any size. Of dtype int32, the result is libjpeg-turbo's to the last bit; in floating point,
        nothing is rounded but what `rounding` does.
    tables
        Quantisation steps (B, 2, 8, 8) of each sample: luma, chroma. See `quality_tables`.
    subsampling
        Of chroma: ``4:4:4``, ``4:2:2`` or ``4:2:0``.
    rounding
        What rounds the levels of floating point coefficients: `straight_through`, or a `smooth_rounding`.

    Notes
    -----
    T.81 [T81]; rounding, borders and upsampling are those of libjpeg-turbo [libjpegturbo].

    Examples
    --------
    >>> grey = torch.full((1, 3, 5, 7), 130, dtype=torch.int32)
    >>> jpeg(grey, quality_tables(torch.tensor([10])), "4:2:0").unique().tolist()
    [128]
    """
    height, width = rgb.shape[-2:]
    across, down = FACTORS[subsampling]
    ycbcr = rgb_to_ycbcr(rgb)
    steps = tables.to(rgb.dtype)
    luma = _through(downsample(ycbcr[:, :1], 1, 1), _steps(steps, 0), rounding)
    chroma = _through(downsample(ycbcr[:, 1:], across, down), _steps(steps, 1), rounding)
    chroma = upsample(chroma[..., : -(-height // down), : -(-width // across)], across, down)
    return ycbcr_to_rgb(torch.cat([luma[..., :height, :width], chroma[..., :height, :width]], dim=1))
