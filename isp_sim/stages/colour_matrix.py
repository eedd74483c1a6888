"""From a camera's own primaries to a standard RGB space by a 3x3 matrix."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, field_validator
from torch import Tensor

from isp_sim.elementary import apply_matrix
from isp_sim.frame import Frame
from isp_sim.parameters import StageParams, Static
from isp_sim.randomness import Randomness
from isp_sim.signal import Signal
from isp_sim.stage import Stage

XYZ_FROM_SRGB: Final[NDArray[np.float64]] = np.array(
    [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
)
"""Linear sRGB to CIE XYZ at D65, from the primaries of BT.709."""

Coefficient = Annotated[float, Field(ge=-100, le=100)]
Row = tuple[Coefficient, Coefficient, Coefficient]


def ccm_from_xyz_to_camera(xyz_to_camera: NDArray[np.float64]) -> NDArray[np.float64]:
    """The matrix from white-balanced camera RGB to linear sRGB.

    The camera's answer to the sRGB primaries is scaled so that white gives (1, 1, 1), then inverted; the rows of
    the result sum to 1, so grey stays grey.

    Parameters
    ----------
    xyz_to_camera
        (3, 3), CIE XYZ to camera RGB, as DNG's ColorMatrix at an illuminant near D65.

    Raises
    ------
    ValueError
        If the matrix has no inverse, or turns white into something not positive.

    Notes
    -----
    Coffin's dcraw and LibRaw take the same way; no chromatic adaptation is made, so the matrix should be the one
    for daylight.
    """
    return np.asarray(camera_to_srgb(torch.tensor(xyz_to_camera, dtype=torch.float64)[None])[0])


def camera_to_srgb(xyz_to_camera: Tensor) -> Tensor:
    """`ccm_from_xyz_to_camera` for a batch (B, 3, 3) of float64, differentiable."""
    # not by a matrix product, whose last bit depends on the batch
    primaries = torch.from_numpy(XYZ_FROM_SRGB)
    parts = [xyz_to_camera[:, :, k, None] * primaries[k] for k in range(3)]
    camera_from_srgb = parts[0] + parts[1] + parts[2]
    white = camera_from_srgb[..., :1] + camera_from_srgb[..., 1:2] + camera_from_srgb[..., 2:]
    balanced = camera_from_srgb / white
    is_camera = (white > 0).all(dim=(1, 2)) & (torch.linalg.det(balanced).abs() >= 1e-9)
    if not bool(is_camera.all()):
        raise ValueError(
            f"{xyz_to_camera[~is_camera][0].tolist()} is no camera matrix: white must become positive RGB, "
            "and the matrix must have an inverse"
        )
    inverse: Tensor = torch.linalg.inv(balanced)
    return inverse


class ColourMatrix(Stage):
    """Multiplies white-balanced camera RGB by the matrix to linear sRGB. Out-of-gamut colours leave [0, 1]; does
    not clip."""

    needs = Signal.where(layout="rgb", colour="camera", white_balanced=True, levels="unit", transfer="linear")
    gives = Signal.change(colour="srgb")
    halo = 0
    source = "DNG 1.7.1, Mapping Camera Color Space to CIE XYZ Space [DNG2023]"

    class Params(StageParams):
        to: Annotated[Literal["srgb"], Static] = Field("srgb", description="the space to convert to, linear")
        matrix: tuple[Row, Row, Row] | None = Field(
            None,
            description="white-balanced camera RGB to the target, row by row [1]; the camera's own if not given",
            json_schema_extra={"fact": "ccm"},
        )

        @field_validator("matrix")
        @classmethod
        def _invertible(cls, matrix: tuple[Row, Row, Row] | None) -> tuple[Row, Row, Row] | None:
            if matrix is not None and abs(np.linalg.det(np.asarray(matrix))) < 1e-9:
                raise ValueError("the matrix has no inverse")
            return matrix

    def facts_read(self, p: Any) -> tuple[str, ...]:
        return ("ccm",) if p.matrix is None else ()

    def apply(self, frame: Frame, p: Any, rng: Randomness) -> Tensor:
        return apply_matrix(frame.pixels, self._matrix(frame, p))

    def inverse(self, frame: Frame, p: Any) -> Tensor:
        matrix = self._matrix(frame, p)
        inverse = torch.linalg.inv(matrix.to("cpu", torch.float64))
        return apply_matrix(frame.pixels, inverse.to(matrix))

    @staticmethod
    def _matrix(frame: Frame, p: Any) -> Tensor:
        matrix: Tensor = frame.capture["ccm"] if p.matrix is None else p.matrix
        return matrix
