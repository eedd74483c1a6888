"""What a demosaicing algorithm is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Final

from torch import Tensor

from isp_sim.signal import is_bayer

GROUP: Final = "isp_sim.demosaicers"


class Demosaicer(ABC):
    """Interpolates the colours that each site of a mosaic lacks.

    The class facts are promises that the conformance kit checks.
    """

    preserves_samples: ClassVar[bool] = True
    """Whether ``mosaic(demosaic(m)) == m``: exactly at R, G and B sites, up to rounding where a site mixes colours."""
    linear: ClassVar[bool] = False
    """Whether the result is a linear function of the mosaic."""
    border: ClassVar[str] = ""
    """How the picture is continued beyond its edge."""
    halo: ClassVar[int | None] = None
    """How many sites around it a pixel depends on; of one that is made of several sites, beyond those."""
    smallest: ClassVar[int] = 1
    """The least height and width it can process."""
    source: ClassVar[str] = ""
    """BibTeX key or title of the paper."""

    @classmethod
    def accepts(cls, cfa: str) -> bool:
        """Whether it can interpolate this pattern; the four Bayer phases unless overridden."""
        return is_bayer(cfa)

    @classmethod
    def scale(cls, cfa: str) -> int:
        """How many sites of this pattern make one pixel, down and across; 1 unless overridden.

        Rows at the bottom and columns at the right that do not fill a pixel are dropped.
        """
        return 1

    @abstractmethod
    def demosaic(self, mosaic: Tensor, cfa: str) -> Tensor:
        """Interpolate a mosaic (B, 1, H, W) of pattern `cfa` to RGB (B, 3, H // scale, W // scale).

        Any range; does not clip.
        """
