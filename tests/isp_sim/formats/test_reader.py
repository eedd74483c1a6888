import os
from contextlib import contextmanager
from pathlib import Path

import pytest

from isp_sim.formats.headerless import Headerless
from isp_sim.formats.images import Images
from isp_sim.formats.raw import Raw
from isp_sim.formats.reader import InputFault, Item, one_line

READERS = [
    Images(Images.Params()),
    Raw(Raw.Params()),
    Headerless(Headerless.Params(width=4, height=4, bits=8)),
]


def items(path):
    return Images(Images.Params(path=str(path))).items()


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_items_of_a_folder(tmp_path):
    touch(
        tmp_path,
        "b.png",
        "a.JPG",
        "a/z.tiff",
        "a/deep/er/c.Webp",
        "B.bmp",
        "a.b/x.jpeg",
        "no suffix",
        "a.txt",
        "png",
    )
    assert items(tmp_path) == [
        Item(key, str(tmp_path / key))
        for key in ("B.bmp", "a.JPG", "a.b/x.jpeg", "a/deep/er/c.Webp", "a/z.tiff", "b.png")
    ]


def test_order_is_that_of_the_keys_not_of_the_file_system(tmp_path):
    names = [f"{n % 7}/{n * 37 % 101:03}.png" for n in range(101)]
    touch(tmp_path, *names)
    assert [item.key for item in items(tmp_path)] == sorted(names)


def test_hidden_files_and_folders_are_skipped(tmp_path):
    # ._a.png is what macOS leaves beside a.png on other file systems
    touch(tmp_path, "a.png", "._a.png", ".cache/b.png", "c/.d/e.png", ".f.png")
    assert [item.key for item in items(tmp_path)] == ["a.png"]


def test_a_folder_that_is_hidden_itself_is_read(tmp_path):
    touch(tmp_path, ".photos/a.png")
    assert [item.key for item in items(tmp_path / ".photos")] == ["a.png"]


def test_folders_that_look_like_pictures_are_none(tmp_path):
    touch(tmp_path, "a.png/b.png")
    assert [item.key for item in items(tmp_path)] == ["a.png/b.png"]


def test_a_circle_of_links_ends(tmp_path):
    touch(tmp_path, "a/b.png")
    (tmp_path / "a" / "round").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "a" / "itself.png").symlink_to(tmp_path / "a" / "itself.png")
    assert [item.key for item in items(tmp_path)] == ["a/b.png"]


@pytest.mark.parametrize("name", ["a.png", "a.xyz", "noname", ".hidden.png"])
def test_a_file_given_directly_is_taken_whatever_its_name(tmp_path, name):
    touch(tmp_path, name, "other.png")
    assert items(tmp_path / name) == [Item(name, str(tmp_path / name))]


def test_relative_path(tmp_path, monkeypatch):
    touch(tmp_path, "photos/a.png")
    monkeypatch.chdir(tmp_path)
    assert items("photos") == [Item("a.png", str(Path("photos/a.png")))]
    assert items("photos/a.png") == [Item("a.png", str(Path("photos/a.png")))]


def test_nothing_to_read(tmp_path):
    touch(tmp_path, "a.txt")
    with pytest.raises(InputFault, match=r"no pictures in .*: this reader looks for \.png, \.jpg"):
        items(tmp_path)
    with pytest.raises(InputFault, match=r"input .*missing does not exist"):
        items(tmp_path / "missing")
    with pytest.raises(InputFault, match="no input: give a file or folder with --input"):
        Images(Images.Params()).items()
    with pytest.raises(InputFault, match="can't look into"):
        items(tmp_path / ("x" * 300))


def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "a.png")
    with pytest.raises(InputFault, match="is neither a file nor a folder"):
        items(tmp_path / "a.png")
    with pytest.raises(InputFault, match="no pictures"):
        items(tmp_path)


def test_names_of_any_script_and_of_none(tmp_path):
    touch(tmp_path, "schön.png", "写真　1.png", "shot\u202fam.png")
    assert len(items(tmp_path)) == 3
    name = os.fsdecode(b"caf\xe9.png")
    try:
        touch(tmp_path, name)
    except OSError:
        pytest.skip("this file system takes no names that are not UTF-8")
    assert Item(name, str(tmp_path / name)) in items(tmp_path)


@contextmanager
def no_privileges():
    """As root nothing is forbidden."""
    if os.geteuid() != 0:
        yield
        return
    try:
        os.seteuid(65534)
    except OSError:
        pytest.skip("root may read everything")
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: type(reader).__name__)
def test_files_that_cannot_be_opened(reader, tmp_path):
    def refused(path):
        with pytest.raises(InputFault) as caught:
            reader.read(Item(path.name, str(path)))
        return str(caught.value)

    assert refused(tmp_path / "missing.png") == "can't read the file: No such file or directory"
    assert refused(tmp_path) == "can't read the file: Is a directory"
    forbidden = tmp_path / "forbidden.png"
    forbidden.write_bytes(bytes(99))
    forbidden.chmod(0)
    with no_privileges():
        reason = refused(forbidden)
    assert reason == "can't read the file: Permission denied"


def test_one_line():
    assert one_line(ValueError("two\n  lines ")) == "two lines"
    assert one_line(KeyError("name")) == "KeyError 'name'"
    assert one_line(MemoryError()) == "MemoryError"
