from pathlib import Path

import pytest

from tests.isp_sim.render.photos import photo


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Five photos of three sizes in two folders."""
    folder = tmp_path / "photos"
    (folder / "deep" / "er").mkdir(parents=True)
    photo("astronaut", (48, 64)).save(folder / "a.png")
    photo("astronaut", (48, 64), 90).save(folder / "b.png")
    photo("coffee", (48, 64), 50).save(folder / "c.webp", lossless=True)
    photo("chelsea", (33, 47), 60).save(folder / "deep" / "a.png")
    photo("coffee", (40, 40), 120).save(folder / "deep" / "er" / "d.jpg", quality=95)
    return folder
