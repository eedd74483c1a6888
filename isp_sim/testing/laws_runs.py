"""Laws on one run: it runs at all, on what it accepts, and what comes back is what was announced."""

from __future__ import annotations

import itertools
from dataclasses import replace

import torch

from isp_sim.frame import MOVED
from isp_sim.stage import StageFault
from isp_sim.testing.cases import NoValue, holds_number, made_up
from isp_sim.testing.comparing import not_finite, other_frame
from isp_sim.testing.law import RUNS, Broken, NotApplicable, law, raised
from isp_sim.testing.pictures import SHAPES, keyed, signals
from isp_sim.testing.subject import KEYS, SMALL, Setting, Subject


@law(
    "runs",
    "it runs on the signals that it needs, with the facts that it reads and the parameters that it accepts; a "
    "picture too small is refused by a ValueError that says so",
    "parameters used as plain numbers, while they come as (B, 1, 1, 1), (B, n, 1, 1) or (B, n, m)",
    after=("class facts", "algorithm facts", "recipe"),
)
def runs(s: Subject) -> str | None:
    return f"in {len(s.settings)} settings"


@law(
    "output",
    "pixels come back in the dtype that they had, and in their size or that of the warp, with the channels of the "
    "signal after the stage; maps are (B, n, H, W) in that size",
    "a tensor made without dtype=, such as torch.zeros or torch.tensor; a reduction without keepdim",
    after=("runs",),
)
def output(s: Subject) -> str | None:
    for setting in s.settings:
        for dtype in (torch.float32, torch.float64):
            frame = s.frame(setting, KEYS[:3], dtype=dtype)
            try:
                out = s.apply(setting, frame, s.values(setting, KEYS[:3]))
            except StageFault as error:
                raise Broken(f"{setting}: {error}") from None
            for name, value in out.maps.items():
                if value.ndim != 4 or value.shape[0] != 3 or tuple(value.shape[-2:]) != out.size:
                    expected = f"(3, n, {out.size[0]}, {out.size[1]})"
                    raise Broken(f"{setting}: the map {name!r} is {tuple(value.shape)}, not {expected}")
    return None


@law(
    "finite",
    "finite pixels stay finite, also somewhat below 0 and above 1, where noise and bright light put them",
    "a square root, logarithm or power of a negative number, or a division by one that may be 0",
    after=RUNS,
)
def finite(s: Subject) -> str | None:
    for setting in s.settings:
        if text := not_finite(s.run(setting, KEYS[:3], setting.size(SMALL))):
            raise Broken(f"{setting}: {text}")
    return None


@law(
    "ends",
    "it runs at both ends of every parameter, with a finite result",
    "a bound that includes the value at which a formula breaks down: use gt= and lt=, or a tighter bound",
    after=(*RUNS, "finite"),
)
def ends(s: Subject) -> str | None:
    tried = 0
    for name, info in s.model.model_fields.items():
        if not holds_number(info.annotation) or info.examples:
            continue
        for end, setting in itertools.product((0, 1), s.settings):
            try:
                value = made_up(info.annotation, info.metadata, keyed("ends", name), end)
            except NoValue:
                continue
            case = setting.case.with_value(name, value)
            if not case.is_valid:
                continue  # the model's own validator refuses it beside the other values
            at_end = s.fitted(replace(setting, case=case))
            if text := not_finite(s.run(at_end, KEYS[:2])):
                raise Broken(f"{at_end}: {text}")
            tried += 1
    if not tried:
        raise NotApplicable("it has no number with bounds")
    return None


@law(
    "signals",
    "it runs on every signal that it accepts, and the CFA that it leaves is the one announced",
    "a `needs` that names too little, or a branch on the signal that forgets a case",
    after=(*RUNS, "finite"),
)
def every_signal(s: Subject) -> str | None:
    number = 0
    for signal in itertools.chain(*signals(s.stage, s.cases[0].constants)):
        setting = s.fitted(Setting(s.cases[0], signal))
        out = s.run(setting, KEYS[:2])
        if text := not_finite(out):
            raise Broken(f"[{signal}]: {text}")
        announced = s.stage.output_signal(signal, setting.constants)
        if out.signal != announced:
            raise Broken(f"[{signal}]: the move leaves [{out.signal}], output_signal says [{announced}]")
        number += 1
    return f"on {number} signals"


@law(
    "sizes",
    "it takes pictures of any size, odd ones too, from the smallest that it does not refuse by a ValueError",
    "an even size taken for granted; padding wider than the picture",
    after=RUNS,
)
def sizes(s: Subject) -> str | None:
    tried = [
        (1, 1),
        (1, 6),
        (6, 1),
        (2, 2),
        (3, 3),
        (2, 7),
        (4, 8),
        (5, 5),
        (8, 8),
        (9, 14),
        (14, 9),
        (33, 32),
    ]
    for setting in s.settings:
        height, width = setting.smallest
        taken = [setting.smallest]
        for size in [*tried, (height + 1, width), (height, width + 1)]:
            where = f"{setting}, {size[0]}x{size[1]}"
            try:
                s.run(setting, KEYS[:2], size)
            except ValueError as error:
                smaller = [f"{h}x{w}" for h, w in taken if h <= size[0] and w <= size[1]]
                if smaller:
                    raise Broken(f"{where}: it refuses that, though it takes {smaller[0]}: {raised(error)}") from error
            except Exception as error:
                raise Broken(f"{where}: {raised(error)}") from error
            else:
                taken.append(size)
    return None


@law(
    "codes",
    "where the signal after the stage has a bit depth, the pixels lie on the codes of that many bits",
    "a bit depth in `gives`, or keeps_codes = True, without the rounding that belongs to it",
    after=RUNS,
)
def codes(s: Subject) -> str | None:
    tried = 0
    for case in s.cases:
        for signal in itertools.chain(*signals(s.stage, case.constants)):
            depth = s.stage.output_signal(signal, case.constants).bit_depth
            if depth is None:
                continue
            setting = s.fitted(Setting(case, signal))
            if setting.is_large and tried:
                continue
            pixels = s.run(setting, KEYS[:2]).pixels.double()
            found = pixels * (2.0 ** int(depth) - 1) if signal.levels == "unit" else pixels
            off = float((found - found.round()).abs().max())
            if off > 2**-8:  # what float32 leaves of a 16 bit code
                raise Broken(f"{case.label}, [{signal}]: a pixel lies {off:.3g} of a {depth} bit code off")
            tried += 1
    if not tried:
        raise NotApplicable("its pixels are not quantised")
    return None


@law(
    "capture facts",
    "it reads only the facts that facts_read names, and sets exactly those that facts_written names, each in its "
    "documented shape with a leading batch",
    "frame.capture['...'] without its name in `reads`, or Result(capture=...) without its name in `writes`",
    after=RUNS,
)
def capture_facts(s: Subject) -> str | None:
    if s.undeclared:
        raise Broken(f"it reads {', '.join(sorted(s.undeclared))}, which facts_read does not name")
    for setting in s.settings:
        if setting.backward:
            continue
        frame = s.frame(setting, KEYS[:3])
        out = s.apply(setting, frame, s.values(setting, KEYS[:3]))
        changed = {name for name, fact in out.capture.items() if fact is not frame.capture.get(name)}
        declared = set(s.stage.facts_written(setting.constants))
        # the engine notes that pixels have left their place when a stage returns a warp
        if surplus := changed - declared - (set(MOVED) if s.moves else {"placement"}):
            raise Broken(f"{setting}: it sets {', '.join(sorted(surplus))}, which facts_written does not name")
        if missing := declared - set(out.capture):
            raise Broken(f"{setting}: it does not set {', '.join(sorted(missing))}, which facts_written names")
        for name in sorted(declared & set(SHAPES)):
            shape, expected = tuple(out.capture[name].shape), SHAPES[name]
            if len(shape) != len(expected) + 1 or any(
                e not in (None, n) for e, n in zip(expected, shape[1:], strict=True)
            ):
                raise Broken(f"{setting}: it sets {name} of shape {shape}; see isp_sim.frame.FACTS")
    return None


@law(
    "input untouched",
    "the frame that goes in is the same, bit for bit, after the run: pixels, facts and maps",
    "an operation in place on frame.pixels or on a view of it: add_, clamp_, out=, x[...] = ...",
    after=RUNS,
)
def input_untouched(s: Subject) -> str | None:
    for setting in s.settings:
        frame = s.frame(setting, KEYS[:2])
        s.apply(setting, frame, s.values(setting, KEYS[:2]))
        if text := other_frame(frame, s.frame(setting, KEYS[:2])):
            raise Broken(f"{setting}: {text}")
    return None
