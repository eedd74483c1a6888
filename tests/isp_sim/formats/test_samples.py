from pathlib import Path

import numpy as np
import pytest
import skimage.data
from PIL import Image
from pydantic import ValidationError

from isp_sim.formats.reader import InputFault
from isp_sim.formats.samples import PHOTOS, Samples
from isp_sim.signal import IMAGE


def samples(**values):
    return Samples(Samples.Params(**values))


def stored(name):
    with Image.open(Path(skimage.data.__file__).parent / PHOTOS[name]) as image:
        return np.asarray(image)


@pytest.mark.parametrize("name", PHOTOS)
def test_photos_are_scikit_images(name):
    reader = samples(names=(name,))
    (item,) = reader.items()
    reading = reader.read(item)
    codes = np.round(reading.frame.pixels[0].numpy().transpose(1, 2, 0) * 255)
    assert item.key == name
    assert reading.frame.keys == (name,)
    assert reading.frame.signal.bit_depth == 8
    assert (reading.frame.signal.layout, reading.frame.signal.transfer) == (IMAGE.layout, IMAGE.transfer)
    if name == "rocket.jpg":
        assert reading.notes == ("ICC profile 'Adobe RGB (1998)' converted to sRGB",)
        assert 0.5 < np.abs(codes - stored(name)).mean() < 20
    else:
        assert reading.notes == ()
        np.testing.assert_array_equal(codes, stored(name))


def test_all_photos_in_order():
    assert [item.key for item in samples().items()] == sorted(PHOTOS)
    assert [i.key for i in samples(names=("rocket.jpg", "coffee.png", "rocket.jpg")).items()] == [
        "coffee.png",
        "rocket.jpg",
    ]


def test_unknown_photo():
    with pytest.raises(InputFault, match=r"no sample photo cat.png; there are astronaut.png, "):
        samples(names=("cat.png", "coffee.png")).items()


def test_no_photo():
    with pytest.raises(ValidationError):
        samples(names=())


def test_photo_that_did_not_come(monkeypatch):
    monkeypatch.setitem(PHOTOS, "coffee.png", "missing.png")
    reader = samples(names=("coffee.png",))
    with pytest.raises(InputFault, match="scikit-image comes without it: No such file"):
        reader.read(reader.items()[0])
