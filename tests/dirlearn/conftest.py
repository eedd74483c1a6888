"""A training so small that it takes a second."""

from pathlib import Path

import pytest

TINY = """\
# dirlearn
version: 1
seed: 3
views: {seed: 2, stages: [{gaussian_noise: {sigma: {uniform: [0.05, 0.1]}}}, clip]}
data:
  train: {dead_leaves: {count: 6, size: 24, leaves: 12}}
  validation: {dead_leaves: {count: 2, size: 24, leaves: 12, seed: 9}}
  patch: 16
networks:
  encoder: {light: {width: 8, channels: 4, blocks: 1}}
  decoder: {light: {width: 8, blocks: 1}}
  estimator: jsd
  critic: {local: {width: 8, embedding: 8, offsets: 2}}
stage1: {steps: 4, batch: 4, ema: 0.9, lambda: {linear: {from: 0, to: 1, steps: 3}}}
stage2: {steps: 4, batch: 4, ema: 0.9, alignment: {guided: {width: 4, m1: 1, m2: 1, m3: 1}}}
methods:
  degraded: degraded
  r0: r0
  aligned: refine
evaluation:
  sets: {leaves: {dead_leaves: {count: 2, size: 24, leaves: 12, seed: 5}}}
  probes: {patches: 2, copies: 4, shown: {scenes: 2, copies: 4}}
run: {path: RUN, device: cpu, log_every: 2, validate_every: 2, checkpoint_every: 2}
"""


@pytest.fixture
def tiny(tmp_path: Path):
    """Makes a recipe of a tiny training in a folder of its own; overrides as on the command line."""
    from dirlearn import recipe

    def make(*overrides: str, folder: str = "run", text: str = TINY):
        return recipe.parse(text.replace("RUN", str(tmp_path / folder)), "tiny.yaml", tmp_path, overrides)

    return make


@pytest.fixture
def tiny_text() -> str:
    return TINY
