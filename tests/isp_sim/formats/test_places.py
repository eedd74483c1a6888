import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from isp_sim.formats.images import Images
from isp_sim.formats.places import items
from isp_sim.formats.reader import InputFault, Item
from tests.isp_sim.render.photos import photo

PNG = (".png", ".jpg")


def png_bytes(offset: int = 0) -> bytes:
    buffer = io.BytesIO()
    photo("astronaut", (9, 11), offset).save(buffer, "PNG")
    return buffer.getvalue()


def tar(path: Path, members: dict[str, bytes], mode: str = "w", form: int = tarfile.PAX_FORMAT) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, mode, format=form) as file:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            file.addfile(info, io.BytesIO(data))
    return path


def keys(root: Path) -> list[str]:
    return [item.key for item in items(root, PNG)]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_members_of_a_tar_file_are_read_where_they_lie(tmp_path: Path, form: int) -> None:
    long = "a/" * 130 + "ü.png"
    members = {
        "./b.png": png_bytes(3),
        "cls.txt": b"1",
        long: png_bytes(5),
        "x/c.jpg": png_bytes(7),
        ".hidden.png": b"",
    }
    found = items(tar(tmp_path / "set.tar", members, form=form), PNG)
    assert [item.key for item in found] == [long, "b.png", "x/c.jpg"]
    reader = Images(Images.Params())
    for item, offset in zip(found, (5, 3, 7), strict=True):
        expected = np.asarray(photo("astronaut", (9, 11), offset))
        frame = reader.read(item).frame
        assert frame.keys == (item.key,)
        np.testing.assert_array_equal((frame.pixels[0].permute(1, 2, 0) * 255).round().byte().numpy(), expected)


def test_a_folder_of_tar_files_has_their_names_in_the_keys(tmp_path: Path) -> None:
    tar(tmp_path / "b.tar", {"1.png": b"", "2.png": b""})
    tar(tmp_path / "deep" / "a.tar", {"1.png": b""})
    assert keys(tmp_path) == ["b/1.png", "b/2.png", "deep/a/1.png"]
    (tmp_path / "photo.png").touch()
    assert keys(tmp_path) == ["photo.png"], "a backup beside the pictures is no input"


def test_labels_in_a_tar_file_are_no_pictures_and_that_is_said(tmp_path: Path) -> None:
    place = tar(tmp_path / "set.tar", {"1.png": b"", "1.mask.png": b""})
    with pytest.warns(UserWarning, match=r"1\.mask\.png"):
        assert keys(place) == ["1.png"]


def test_damaged_and_compressed_tar_files_are_refused(tmp_path: Path) -> None:
    place = tar(tmp_path / "set.tar", {"1.png": bytes(2000)})
    place.write_bytes(place.read_bytes()[:1500])
    with pytest.raises(InputFault, match="ends within"):
        items(place, PNG)
    packed = tar(tmp_path / "packed.tar", {"1.png": bytes(2000)}, mode="w:gz")
    with pytest.raises(InputFault, match="without compression"):
        items(packed, PNG)


def test_a_member_that_was_cut_off_after_listing_is_noticed(tmp_path: Path) -> None:
    place = tar(tmp_path / "set.tar", {"1.png": png_bytes()})
    (item,) = items(place, PNG)
    place.write_bytes(place.read_bytes()[:600])
    with pytest.raises(InputFault, match="ends within"):
        Images(Images.Params()).read(item)


def test_a_list_names_files_from_its_own_folder(tmp_path: Path) -> None:
    for name in ("set/a.png", "set/x/b c.png", "elsewhere/d.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    listed = tmp_path / "set" / "list.txt"
    listed.write_text(f"# mine\n x/b c.png \n\n{tmp_path}/set/a.png\n../elsewhere/d.png\n")
    outside = f"{tmp_path}/elsewhere/d.png".lstrip("/")
    assert items(listed, PNG) == sorted(
        [
            Item("a.png", str(tmp_path / "set" / "a.png")),
            Item("x/b c.png", str(tmp_path / "set" / "x" / "b c.png")),
            Item(outside, str(tmp_path / "elsewhere" / "d.png")),
        ],
        key=lambda item: item.key,
    )


def test_a_list_with_a_missing_or_a_doubled_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    listed = tmp_path / "list.txt"
    listed.write_text("a.png\nb.png\n")
    with pytest.raises(InputFault, match=r"list\.txt:2: there is no file"):
        items(listed, PNG)
    listed.write_text("a.png\n./a.png\n")
    with pytest.raises(InputFault, match=r"two pictures of the key a\.png"):
        items(listed, PNG)


def test_raw_and_headerless_files_are_read_from_tar_files(tmp_path: Path) -> None:
    from isp_sim.formats.headerless import Headerless

    samples = np.arange(6, dtype=np.uint16)
    place = tar(tmp_path / "set.tar", {"a.raw": samples.tobytes()})
    reader = Headerless(Headerless.Params(width=3, height=2, bits=12))
    (item,) = items(place, (".raw",))
    assert reader.read(item).frame.pixels.flatten().tolist() == samples.tolist()
