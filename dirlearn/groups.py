"""The groups of entry points under which parts of a training are found. Imports nothing."""

from __future__ import annotations

from typing import Final

GROUPS: Final = (
    "dirlearn.estimators",
    "dirlearn.critics",
    "dirlearn.encoders",
    "dirlearn.decoders",
    "dirlearn.alignments",
    "dirlearn.restorers",
    "dirlearn.heads",
    "dirlearn.datasets",
    "dirlearn.metrics",
    "dirlearn.picture_metrics",
)
