"""Tar shards in the layout of WebDataset."""

from __future__ import annotations

from pydantic import Field

from isp_sim.formats.files import Files


class Shards(Files):
    """Writes tar files of many pictures each, in the layout of WebDataset.

    Pictures are encoded as `files` encodes them. In the tar file, everything of a picture has one name up to the first
    dot: the picture, its label files, the steps kept, and as ``.json`` its row of the manifest.
    """

    class Params(Files.Params):
        samples: int = Field(1000, ge=1, le=1_000_000, description="pictures in a shard")

    @property
    def shard_size(self) -> int | None:
        return int(self.params.samples)
