"""Laws on numbers within a bound: precision, gradient, inverse, and CUDA beside the CPU."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

import torch
from torch import Tensor

from isp_sim.frame import Frame
from isp_sim.parameters import said
from isp_sim.testing.comparing import apart
from isp_sim.testing.law import BITS, Broken, NotApplicable, law
from isp_sim.testing.pictures import keyed
from isp_sim.testing.subject import KEYS, MEDIUM, SIZES, SMALL, Setting, Subject

DECIDED: Final = 1e-3
"""Share of numbers that may differ by more, because a last bit decides a photon, a code or a direction."""


def _random_like(x: Tensor, purpose: str) -> Tensor:
    """Uniform in [-1, 1)."""
    return torch.from_numpy(keyed(purpose, "").uniform(-1, 1, tuple(x.shape))).to(x)


def _on_pixels(
    s: Subject, setting: Setting, frame: Frame, values: Sequence[Mapping[str, Any]]
) -> Callable[[Tensor], Tensor]:
    """The stage as a function of the pixels alone. It works on copies, in case it works in place."""

    def run(pixels: Tensor) -> Tensor:
        capture = frame.capture.map(torch.clone)
        return s.apply(setting, replace(frame, pixels=pixels.clone(), capture=capture), values).pixels

    return run


def _sensitivity(run: Callable[[Tensor], Tensor], x: Tensor) -> float:
    """How far the result moves when each pixel moves by the last bit that float32 has for it."""
    return float((run(x * (1 + 2.0**-23 * _random_like(x, "last bit").sign())) - run(x)).abs().max())


def _quantises(s: Subject, setting: Setting) -> bool:
    return not setting.backward and s.stage.output_signal(setting.signal, setting.constants).bit_depth is not None


@law(
    "precision",
    "float32 and float64 agree within 1e-5 of the largest number, plus a hundred times what the last bit of the "
    "pixels makes, in all but one number in a thousand, where a last bit may decide",
    "a detour through half, bfloat16 or 8 bit codes, or a difference of two large numbers",
    after=BITS,
)
def precision(s: Subject) -> str | None:
    tested = 0
    for setting in s.settings:
        if _quantises(s, setting):
            continue
        size, values = setting.size(SMALL), s.values(setting, KEYS[:3])
        single = s.run(setting, KEYS[:3], size).pixels
        frame = s.frame(setting, KEYS[:3], size, torch.float64)
        run = _on_pixels(s, setting, frame, values)
        double = run(frame.pixels)
        bound = 1e-5 * max(1.0, float(double.abs().max())) + 100 * _sensitivity(run, frame.pixels)
        if text := apart(single, double, bound, DECIDED):
            raise Broken(f"{setting}: {text}")
        tested += 1
    if not tested:
        raise NotApplicable("it quantises, so a last bit may decide which code is the nearest")
    return None


# -- gradient --------------------------------------------------------------------------------------------------


@law(
    "gradient",
    "a differentiable stage has the gradient of what it computes, finite everywhere and not zero everywhere; where it "
    "draws, that of its mean will do; one that says differentiable = False, or is_differentiable says so of its "
    "parameters, has none",
    "detach, .data, NumPy or rounding on the way; a square root or power at 0, whose infinite slope turns into NaN; "
    "differentiable = False forgotten, or left over",
    after=BITS,
)
def gradient(s: Subject) -> str | None:
    sloped = [setting for setting in s.settings if s.stage.is_differentiable(setting.constants)]
    for setting in s.settings:
        if setting not in sloped:
            slope = slope_of(s, setting, inside=True)
            if slope is not None and bool((slope != 0).any()):
                raise Broken(f"{setting}: differentiable is False, yet slopes of up to {slope.abs().max():.3g} flow")
    if not sloped:
        return "none flows, as declared"
    remarks: dict[str, None] = {}
    flat = True
    for setting in sloped:
        for inside in (True, False):
            slope = slope_of(s, setting, inside)
            if slope is None:
                raise Broken(f"{setting}: no gradient flows from the output back to the pixels")
            if number := int((~slope.isfinite()).sum()):
                where = "well within the range" if inside else "of a picture with pixels at 0, below 0 and above 1"
                raise Broken(f"{setting}: {number} of {slope.numel()} slopes are NaN or infinite, {where}")
            flat = flat and not bool((slope != 0).any())
        if getattr(setting.constants, "mode", None) == "straight_through":
            remarks["in mode straight_through, another function's on purpose"] = None
        elif setting.smallest > SIZES[1]:
            remarks["not compared with differences where it needs large pictures"] = None
        elif text := _unlike_differences(s, setting):
            if s.drawn_by(setting):
                remarks["of the mean, not of each draw, in some settings"] = None
                text = _unlike_mean(s, setting)
            if text:
                raise Broken(f"{setting}: {text}")
    if flat:
        raise Broken("the gradient is zero everywhere; if that is its nature, say differentiable = False")
    return "; ".join(remarks)


def _projection(run: Callable[[Tensor], Tensor]) -> Callable[[Tensor], Tensor]:
    """One number in which every pixel of the result has a random part."""

    def projected(x: Tensor) -> Tensor:
        out = run(x)
        return (out * _random_like(out, "projection")).sum()

    return projected


def slope_of(s: Subject, setting: Setting, inside: bool) -> Tensor | None:
    """The gradient of a projection of the result by the pixels; None if there is none."""
    names = KEYS[:2]
    frame = s.frame(setting, names, dtype=torch.float64, inside=inside)
    leaf = frame.pixels.clone().requires_grad_()
    out = _projection(_on_pixels(s, setting, frame, s.values(setting, names)))(leaf)
    return torch.autograd.grad(out, leaf, allow_unused=True)[0] if out.requires_grad else None


def _unlike_differences(s: Subject, setting: Setting) -> str | None:
    """Compare the slope with central differences, along random directions and at single pixels."""
    names = KEYS[:2]
    frame = s.frame(setting, names, dtype=torch.float64, inside=True)
    run = _projection(_on_pixels(s, setting, frame, s.values(setting, names)))
    slope = slope_of(s, setting, inside=True)
    if slope is None:
        return "no gradient flows"
    x, rng = frame.pixels, keyed("directions", "")
    step = 1e-6 * float(x.abs().max())
    for i in range(20):
        at = int(rng.integers(x.numel()))
        if i % 2:
            what, direction = "along a random direction", _random_like(x, f"direction {i}")
        else:
            what, direction = f"at pixel {at}", torch.zeros_like(x)
            direction.view(-1)[at] = 1
        with torch.no_grad():
            ahead, behind = float(run(x + step * direction)), float(run(x - step * direction))
        measured, claimed = (ahead - behind) / (2 * step), float((slope * direction).sum())
        rounding = 2.0**-52 * (abs(ahead) + abs(behind)) * math.sqrt(x.numel()) / step
        least = 1e-6 * float(slope.abs().max()) * float(direction.norm())
        if abs(measured - claimed) > 1e-4 * max(abs(measured), abs(claimed)) + least + rounding:
            return f"{what} the slope is {claimed:.6g}, central differences give {measured:.6g}"
    return None


def _unlike_mean(s: Subject, setting: Setting) -> str | None:
    """Compare the slope of the mean over many draws with a difference of means, by its standard error."""
    names = KEYS[:1] * 8
    frame = s.frame(setting, names, setting.size((41, 43)), torch.float64, inside=True, keys=KEYS[:8])
    run = _on_pixels(s, setting, frame, s.values(setting, names))
    leaf = frame.pixels.clone().requires_grad_()
    claimed = float(torch.autograd.grad(run(leaf).sum(), leaf)[0].mean())
    step = 0.02 * float(frame.pixels.abs().max())
    with torch.no_grad():
        each = (run(frame.pixels + step) - run(frame.pixels - step)) / (2 * step)
    measured, error = float(each.mean()), float(each.std() / math.sqrt(each.numel()))
    if abs(measured - claimed) > 5 * error + 1e-3 * abs(claimed):
        return f"the slope of the mean is {claimed:.6g}, differences of means give {measured:.6g} +- {error:.2g}"
    return None


@law(
    "parameter gradient",
    "a differentiable stage has the gradient of what it computes by each of its floating parameters, too; where it "
    "draws, that of its mean will do; a parameter that has none, though the picture depends on it, says "
    "json_schema_extra={'differentiable': False}",
    "detach, float(p.x), NumPy or rounding on the way from a parameter to the pixels",
    after=(*BITS, "input untouched", "gradient"),
)
def parameter_gradient(s: Subject) -> str | None:
    tested: dict[str, None] = {}
    remarks: dict[str, None] = {}
    for setting in s.settings:
        if not s.stage.is_differentiable(setting.constants) or setting.smallest > SIZES[1]:
            continue
        if getattr(setting.constants, "mode", None) == "straight_through":  # another function's on purpose
            continue
        frame = s.frame(setting, KEYS[:1], dtype=torch.float64, inside=True)
        for name, start in s.floating(frame, s.values(setting, KEYS[:1])).items():
            if name in s.model.model_fields and said(s.model.model_fields[name], "differentiable") is False:
                if bool((_by_parameter(s, setting, name)[1] != 0).any()):
                    raise Broken(f"{setting}: {name} says differentiable False, yet a gradient flows to it")
                continue
            text = _unlike_by_parameter(s, setting, name, start)
            if text and s.drawn_by(setting):
                remarks["of the mean, not of each draw, in some settings"] = None
                text = _unlike_mean_by_parameter(s, setting, name)
            if text:
                raise Broken(f"{setting}: {name}: {text}")
            tested[name] = None
    if not tested:
        raise NotApplicable("it has no floating parameter, or is not differentiable")
    return "; ".join([", ".join(tested), *remarks])


def _by_parameter(
    s: Subject, setting: Setting, name: str, names: Sequence[str] = KEYS[:1], keys: Sequence[str] | None = None
) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """The stage as a function of one parameter alone, and the gradient of a projection of its result."""
    size = None if keys is None else setting.size((41, 43))
    values = s.values(setting, names)

    def run(parameter: Tensor) -> Tensor:
        frame = s.frame(setting, names, size, torch.float64, inside=True, keys=keys)
        return s.apply(setting, frame, values, given={name: parameter}).pixels

    frame = s.frame(setting, names, size, torch.float64, inside=True, keys=keys)
    leaf = s.floating(frame, values)[name].clone().requires_grad_()
    out = _projection(run)(leaf) if keys is None else run(leaf).mean()
    slope = torch.autograd.grad(out, leaf, allow_unused=True)[0] if out.requires_grad else None
    return run, torch.zeros_like(leaf) if slope is None else slope


def _unlike_by_parameter(s: Subject, setting: Setting, name: str, start: Tensor) -> str | None:
    """Compare the slope by a parameter with central differences, in each of its numbers."""
    run, slope = _by_parameter(s, setting, name)
    projected = _projection(run)
    for at in range(min(start.numel(), 60)):
        size = float(start.flatten()[at].abs()) or float(start.abs().max()) or 1.0
        step, direction = 1e-6 * size, torch.zeros_like(start)
        direction.view(-1)[at] = 1
        with torch.no_grad():
            ahead, behind = float(projected(start + step * direction)), float(projected(start - step * direction))
            spread = float(run(start).abs().sum())
        measured, claimed = (ahead - behind) / (2 * step), float(slope.flatten()[at])
        rounding = 2.0**-52 * spread / step
        if not math.isfinite(claimed) or abs(measured - claimed) > 1e-4 * max(abs(measured), abs(claimed)) + rounding:
            return f"number {at} has the slope {claimed:.6g}, central differences give {measured:.6g}"
    return None


def _unlike_mean_by_parameter(s: Subject, setting: Setting, name: str) -> str | None:
    """Compare the slope of the mean over many draws with a difference of means, by its standard error."""
    run, slope = _by_parameter(s, setting, name, KEYS[:1] * 8, KEYS[:8])
    frame = s.frame(setting, KEYS[:1] * 8, setting.size((41, 43)), torch.float64, inside=True, keys=KEYS[:8])
    start = s.floating(frame, s.values(setting, KEYS[:1] * 8))[name]
    step = 0.02 * float(start.abs().max())
    with torch.no_grad():
        each = (run(start + step) - run(start - step)) / (2 * step)
    measured, error, claimed = float(each.mean()), float(each.std() / math.sqrt(each.numel())), float(slope.sum())
    if abs(measured - claimed) > 5 * error + 1e-3 * abs(claimed):
        return f"the slope of the mean is {claimed:.6g}, differences of means give {measured:.6g} +- {error:.2g}"
    return None


# -- inverse ---------------------------------------------------------------------------------------------------


@law(
    "inverse",
    "inverse(apply(x)) is x within 1e-6 of the largest number, plus a hundred times what the last bit of the picture "
    "in between makes, in float64 and in float32",
    "a second formula that is not the inverse of the first, a forgotten parameter, or values that the stage clips; a "
    "parameter that is an error on top says json_schema_extra={'undone': False}",
    after=BITS,
)
def inverse(s: Subject) -> str | None:
    if not s.type.is_invertible():
        raise NotApplicable("it has no inverse")
    fields = s.model.model_fields
    kept = {name: info.get_default() for name, info in fields.items() if said(info, "undone") is False}
    for setting in s.settings:
        if setting.backward:
            continue
        for dtype in (torch.float64, torch.float32):
            size, values = setting.size(SMALL), s.values(setting, KEYS[:3], **kept)
            x = s.frame(setting, KEYS[:3], size, dtype, inside=True).pixels
            after = s.apply(setting, s.frame(setting, KEYS[:3], size, dtype, inside=True), values)
            undo = _on_pixels(s, replace(setting, backward=True), after, values)
            # float64 keeps 29 bits more than float32
            last_bit = _sensitivity(undo, after.pixels) * (1 if dtype == torch.float32 else 2.0**-29)
            if text := apart(undo(after.pixels), x, 1e-6 * float(x.abs().max()) + 100 * last_bit):
                raise Broken(f"{setting}, {dtype}: {text}")
    return f"with {', '.join(kept)} at its default" if kept else None


@law(
    "recovery",
    "what a stage offers to undo it gives a picture of the signal and size that was there; where it says that nothing "
    "is lost, that picture itself, within 1e-6; where it offers nothing, it says why",
    "a stage without inverse whose recovery leaves `lost` empty, or forgets what the signal before it was",
    after=BITS,
)
def recovery(s: Subject) -> str | None:
    said_of: dict[str, None] = {}
    for setting in s.settings:
        if setting.backward:
            continue
        offer = s.stage.recovery(setting.constants)
        if offer.undo is None:
            if not offer.lost:
                raise Broken(f"{setting}: nothing is offered, and `lost` does not say why")
            said_of[f"nothing to offer: {offer.lost}"] = None
            continue
        values, size = s.values(setting, KEYS[:3]), setting.size(SMALL)
        before = s.frame(setting, KEYS[:3], size, inside=True)
        after = s.apply(setting, before, values)
        back = s.recovered(setting, before, after, values)
        if back.pixels.shape != before.pixels.shape:
            raise Broken(f"{setting}: {tuple(back.pixels.shape)} came back of {tuple(before.pixels.shape)}")
        if not bool(back.pixels.isfinite().all()):
            raise Broken(f"{setting}: what comes back is not finite")
        # an inverse has a law of its own
        if offer.is_exact and not s.type.is_invertible() and (text := apart(back.pixels, before.pixels, 1e-6)):
            raise Broken(f"{setting}: it says that nothing is lost, yet {text}")
        said_of[offer.by or "its inverse"] = None
    return "; ".join(said_of)


# -- CUDA ------------------------------------------------------------------------------------------------------


@law(
    "cuda",
    "a CUDA device gives what the CPU gives, on that device, within 1e-5 of the largest number plus a hundred times "
    "what the last bit of the pixels makes, in all but one number in a thousand, where a last bit may decide",
    "a tensor made without device= in `apply`, or a draw made on the device",
    after=BITS,
)
def cuda(s: Subject) -> str | None:
    if not torch.cuda.is_available():
        raise NotApplicable("there is no CUDA device here")
    worst = 0.0
    for setting in s.settings:
        size, values = setting.size(MEDIUM), s.values(setting, KEYS[:3])
        frame = s.frame(setting, KEYS[:3], size)
        run = _on_pixels(s, setting, frame, values)
        expected = run(frame.pixels)
        out = s.apply(setting, frame.to("cuda"), values)
        tensors = {"pixels": out.pixels, **out.maps, **out.capture}
        if stray := [name for name, tensor in tensors.items() if tensor.device.type != "cuda"]:
            raise Broken(f"{setting}: {', '.join(stray)} came back on the CPU")
        found = out.pixels.cpu()
        bound = 1e-5 * max(1.0, float(expected.abs().max())) + 100 * _sensitivity(run, frame.pixels)
        if text := apart(found, expected, bound, DECIDED):
            raise Broken(f"{setting}: {text}")
        worst = max(worst, float((found - expected).abs().max()))
    return f"at most {worst:.2g} apart"
