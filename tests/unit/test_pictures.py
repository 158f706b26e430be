"""Folders of pictures as people have them."""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFile

from unlearn_lib import data, pictures
from unlearn_lib.data import DataError

UPSIDE = np.repeat(np.array([255, 0], np.uint8), 4)[:, None].repeat(6, 1)  # white above black, 8 x 6
DRAW = np.random.default_rng(0)
PIXEL = struct.pack(">IIBBBBB", 60_000, 60_000, 1, 0, 0, 0, 0)


def noise(size: tuple[int, int] = (6, 8)) -> Image.Image:
    return Image.fromarray(DRAW.integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


@pytest.fixture
def pets(tmp_path: Path) -> Path:
    """Two classes of five pictures."""
    fill(tmp_path / "pets")
    return tmp_path / "pets"


def fill(root: Path, classes: tuple[str, ...] = ("cat", "dog"), count: int = 5) -> None:
    for name in classes:
        (root / name).mkdir(parents=True)
        for i in range(count):
            noise().save(root / name / f"{i}.png")


def of(root: Path, image: Image.Image, ending: str = "png", **options: Any) -> np.ndarray:
    """This picture as it is read [3, h, w], once in a class beside another one."""
    for name in ("a", "b"):
        (root / name).mkdir(parents=True)
        image.save(root / name / f"0.{ending}", **options)
    found = pictures.read(root).train.x
    assert (found[0] == found[1]).all()
    return found[0].numpy()


TURNS = [(1, None), *((k, Image.Transpose(t)) for k, t in {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}.items())]


@pytest.mark.parametrize("ending", ["jpg", "png", "tif", "webp"])
@pytest.mark.parametrize(("orientation", "turn"), TURNS, ids=[str(k) for k, _ in TURNS])
def test_a_picture_stands_upright_whatever_the_camera_did(
    tmp_path: Path, ending: str, orientation: int, turn: Image.Transpose | None
) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    upright = Image.fromarray(UPSIDE).convert("RGB")
    stored = upright if turn is None else upright.transpose(turn)
    x = of(tmp_path, stored, ending, exif=exif, **{"lossless": True} if ending == "webp" else {})
    assert x.shape == (3, 8, 6)
    assert np.abs(x.astype(int) - UPSIDE).max() < 5


@pytest.mark.parametrize("ending", ["png", "tif", "pgm"])
def test_sixteen_bits_become_eight_by_scaling(tmp_path: Path, ending: str) -> None:
    ramp = np.linspace(0, 65_535, 48).astype(np.uint16).reshape(8, 6)
    image = Image.fromarray(ramp)
    x = of(tmp_path, image.convert("I") if ending == "pgm" else image, ending)
    assert np.abs(x[0] - ramp / 257).max() <= 0.5
    assert (x[0] == x[1]).all()


def test_twelve_bits_of_a_tiff_are_scaled_by_what_twelve_bits_hold(tmp_path: Path) -> None:
    values = np.array([[0, 4_095], [2_048, 1]])
    packed = b"".join(int(a << 12 | b).to_bytes(3, "big") for a, b in values)
    tags = [
        (256, 2),
        (257, 2),
        (258, 12),
        (259, 1),
        (262, 1),
        (273, 8),
        (277, 1),
        (278, 2),
        (279, len(packed)),
    ]
    entries = b"".join(struct.pack("<HHII", tag, 4 if tag in (273, 279) else 3, 1, v) for tag, v in tags)
    head = b"II*\0" + struct.pack("<I", 8 + len(packed))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        content = head + packed + struct.pack("<H", len(tags)) + entries + bytes(4)
        (tmp_path / name / "0.tif").write_bytes(content)
    assert pictures.read(tmp_path).train.x[0, 0].tolist() == [[0, 255], [128, 0]]


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_numbers_without_a_known_range_are_refused(tmp_path: Path, kind: type) -> None:
    with pytest.raises(DataError, match=r"0\.tif.*no range"):
        of(tmp_path, Image.fromarray(UPSIDE.astype(kind)), "tif")


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA", "CMYK"])
def test_pictures_of_every_mode_come_out_alike(tmp_path: Path, mode: str) -> None:
    image = Image.fromarray(UPSIDE).convert("RGB").convert(mode)
    x = of(tmp_path, image, "tif" if mode == "CMYK" else "png")
    assert (x == UPSIDE).all()


def test_what_is_transparent_lies_on_white(tmp_path: Path) -> None:
    below = np.stack([UPSIDE * 0, UPSIDE * 0, UPSIDE * 0, 255 - UPSIDE], -1)  # black, half of it unseen
    assert (of(tmp_path / "alpha", Image.fromarray(below)) == UPSIDE).all()
    palette = Image.fromarray((UPSIDE < 9).astype(np.uint8), "P")
    palette.putpalette([200, 0, 0, 0, 0, 0])
    assert (of(tmp_path / "palette", palette, transparency=0) == UPSIDE).all()


def test_of_an_animation_the_first_frame_is_taken_and_said(tmp_path: Path) -> None:
    frames = {"save_all": True, "append_images": [Image.fromarray(255 - UPSIDE)]}
    with pytest.warns(UserWarning, match=r"animations.*0\.gif"):
        assert (of(tmp_path, Image.fromarray(UPSIDE), "gif", **frames) == UPSIDE).all()


HIDDEN = [".ipynb_checkpoints", "cat/.ipynb_checkpoints", ".git", "__MACOSX", "dog/__MACOSX/cat", "@eaDir"]


@pytest.mark.parametrize("name", HIDDEN)
def test_hidden_folders_are_as_if_they_were_not_there(pets: Path, name: str) -> None:
    before = pictures.read(pets)
    (pets / name).mkdir(parents=True)
    noise().save(pets / name / "0-checkpoint.png")
    after = pictures.read(pets)
    assert after.classes == before.classes == ("cat", "dog")
    assert (after.train.x == before.train.x).all()


@pytest.mark.parametrize("name", [".DS_Store", "Thumbs.db", "desktop.ini", "._0.png", ".hidden.png"])
def test_hidden_files_are_as_if_they_were_not_there(pets: Path, name: str) -> None:
    (pets / "cat" / name).write_bytes(b"\0\5\26\7")
    assert len(pictures.read(pets).train.y) == 10


def test_a_hidden_folder_may_itself_be_named(tmp_path: Path) -> None:
    fill(tmp_path / ".cache" / "pets")
    assert len(pictures.read(tmp_path / ".cache" / "pets").train.y) == 10


def test_files_that_are_no_pictures_are_left_out_and_named(pets: Path) -> None:
    (pets / "cat" / "notes.txt").write_text("meow")
    (pets / "cat" / "phone.heic").write_bytes(b"?")
    noise().save(pets / "loose.png")
    with pytest.warns(UserWarning, match=r"notes\.txt, .*phone\.heic.*loose\.png"):
        assert len(pictures.read(pets).train.y) == 10


@pytest.mark.parametrize("target", [".", "cat", "..", "/"])
def test_links_to_folders_are_not_followed(pets: Path, target: str) -> None:
    (pets / "dog" / "loop").symlink_to(pets / target)
    with pytest.warns(UserWarning, match=r"links to folders.*loop"):
        assert len(pictures.read(pets).train.y) == 10


def test_a_link_to_itself_is_named(pets: Path) -> None:
    (pets / "dog" / "loop.png").symlink_to(pets / "dog" / "loop.png")
    with pytest.raises(DataError, match=r"loop\.png"):
        pictures.read(pets)


def test_a_second_link_to_a_picture_is_left_out(pets: Path) -> None:
    (pets / "cat" / "again.png").symlink_to(pets / "cat" / "0.png")
    with pytest.warns(UserWarning, match=r"second links"):
        assert len(pictures.read(pets).train.y) == 10


def test_one_picture_cannot_have_two_labels(pets: Path) -> None:
    (pets / "dog" / "again.png").symlink_to(pets / "cat" / "0.png")
    with pytest.raises(DataError, match=r"again\.png.*0\.png are one picture"):
        pictures.read(pets)


def test_links_to_pictures_elsewhere_are_followed(pets: Path, tmp_path: Path) -> None:
    noise().save(tmp_path / "elsewhere.png")
    (pets / "dog" / "here.png").symlink_to(tmp_path / "elsewhere.png")
    assert len(pictures.read(pets).train.y) == 11


def cut(path: Path) -> None:
    noise((64, 64)).save(path.with_suffix(".jpg"))
    path.write_bytes(path.with_suffix(".jpg").read_bytes()[:700])
    path.with_suffix(".jpg").unlink()


def flipped(path: Path) -> None:
    noise().save(path)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(bytes(content))


def bomb(path: Path) -> None:
    chunk = b"IHDR" + PIXEL
    body = struct.pack(">I", len(PIXEL)) + chunk + struct.pack(">I", zlib.crc32(chunk))
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + body)


def script(path: Path) -> None:
    path.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 6 8\nshowpage\n")


BROKEN = {
    "cut off": cut,
    "one bit flipped": flipped,
    "huge": bomb,
    "a program for a printer": script,
    "empty": lambda path: path.write_bytes(b""),
    "a page of the web": lambda path: path.write_text("<html>404</html>"),
    "a link to nothing": lambda path: path.symlink_to("gone.png"),
    "a pipe": lambda path: os.mkfifo(path),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_file_that_cannot_be_read_is_named(pets: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile, "LOAD_TRUNCATED_IMAGES", True)  # whatever else the process wants
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)
    BROKEN[kind](pets / "cat" / "odd.png")
    with pytest.raises(DataError, match=r"cat.odd\.png"):
        pictures.read(pets)
    assert (ImageFile.LOAD_TRUNCATED_IMAGES, Image.MAX_IMAGE_PIXELS) == (True, None)


def test_pictures_that_do_not_fit_into_memory_are_refused(
    pets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "MOST_BYTES", 10 * 3 * 6 * 8 - 1)
    with pytest.raises(DataError, match=r"0\.png has 6x8 pixels; 10 such pictures"):
        pictures.read(pets)
    assert pictures.read(pets, size=4).train.x.shape == (10, 3, 4, 4)


def test_several_sizes_are_refused_with_sizes_and_files(pets: Path) -> None:
    noise((9, 7)).save(pets / "dog" / "big.png")
    with pytest.raises(DataError, match=r"6x8 \(10, such as .*cat.0\.png\), 9x7 \(1, such as .*big\.png\)"):
        pictures.read(pets)


def test_pictures_are_scaled_on_request_and_only_if_they_must(pets: Path) -> None:
    as_they_are = pictures.read(pets)
    small_enough = pictures.read(pets, size=8)
    assert not small_enough.scaled
    assert (small_enough.train.x == as_they_are.train.x).all()
    noise((30, 20)).save(pets / "dog" / "big.png")
    both = pictures.read(pets, size=8)
    assert both.scaled
    assert both.train.x.shape == (11, 3, 8, 8)


def test_a_scaled_picture_keeps_its_proportions(tmp_path: Path) -> None:
    wide = Image.new("RGB", (90, 30))
    wide.paste((255, 255, 255), (30, 0, 60, 30))  # the middle is a white square
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        wide.save(tmp_path / name / "0.png")
    assert int(pictures.read(tmp_path, size=8).train.x[..., 1:-1].min()) > 250


def test_sizes_of_train_and_test_must_agree(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    fill(tmp_path / "test")
    noise((9, 7)).save(tmp_path / "test" / "dog" / "0.png")
    with pytest.raises(DataError, match=r"test.dog.0\.png"):
        pictures.read(tmp_path)


def test_train_and_test_need_the_same_classes(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    fill(tmp_path / "test", ("cat", "mouse"))
    with pytest.raises(DataError, match="only in train: dog, only in test: mouse"):
        pictures.read(tmp_path)


@pytest.mark.parametrize("other", ["Test", "test", "TEST"])
def test_the_folders_train_and_test_are_known_in_any_spelling(tmp_path: Path, other: str) -> None:
    fill(tmp_path / "Train")
    fill(tmp_path / other, count=2)
    found = pictures.read(tmp_path)
    assert found.test is not None
    assert (len(found.train.y), len(found.test.y), found.classes) == (10, 4, ("cat", "dog"))


@pytest.mark.parametrize("other", ["val", "test"])
def test_a_train_folder_without_a_labeled_test_folder_is_refused(tmp_path: Path, other: str) -> None:
    fill(tmp_path / "train")
    (tmp_path / other).mkdir()
    if other == "test":
        noise().save(tmp_path / other / "0.png")
    with pytest.raises(DataError, match="class folders in train only"):
        pictures.read(tmp_path)


def test_folders_beside_train_and_test_are_named(tmp_path: Path) -> None:
    for part in ("train", "test", "val"):
        fill(tmp_path / part)
    with pytest.warns(UserWarning, match="beside train and test.*val"):
        pictures.read(tmp_path)


def test_a_class_may_be_called_train(tmp_path: Path) -> None:
    fill(tmp_path, ("train", "plane", "test"))
    assert pictures.read(tmp_path).classes == ("plane", "test", "train")


def test_pictures_further_down_belong_to_the_class(pets: Path) -> None:
    (pets / "dog" / "big" / "brown").mkdir(parents=True)
    noise().save(pets / "dog" / "big" / "brown" / "0.png")
    assert pictures.read(pets).train.y.tolist() == [0] * 5 + [1] * 6


def test_a_class_without_pictures_is_refused(pets: Path) -> None:
    (pets / "mouse").mkdir()
    with pytest.raises(DataError, match=r"class mouse .* has no picture"):
        pictures.read(pets)


def test_one_folder_too_high_is_noticed(pets: Path) -> None:
    with pytest.raises(DataError, match=r"two classes or more; found only pets.*name .*pets as the folder"):
        pictures.read(pets.parent)


@pytest.mark.parametrize("name", ["a b", "Käse", "$\\frac{$", "<b>", "日本", "-n", "%s {0}", "..."])
def test_a_class_may_have_any_name(tmp_path: Path, name: str) -> None:
    fill(tmp_path, ("zebra", f"x{name}"))
    assert pictures.read(tmp_path).classes == (f"x{name}", "zebra")


def test_a_name_that_is_no_text_can_be_printed(tmp_path: Path) -> None:
    fill(tmp_path, ("zebra", os.fsdecode(b"caf\xe9")))
    assert pictures.read(tmp_path).classes == ("caf\ufffd", "zebra")


# As a data set ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("counts", [(2, 2, 2), (2, 9), (5, 5), (30, 3)])
def test_training_and_test_part_have_every_class(tmp_path: Path, counts: tuple[int, ...]) -> None:
    for k, count in enumerate(counts):
        fill(tmp_path, (f"class {k}",), count)
    found = data.load("image_folder", tmp_path)
    for part in (found.train, found.test):
        assert (part.y.bincount(minlength=len(counts)) > 0).all()
    assert len(found.train) + len(found.test) == sum(counts)


def test_a_class_of_one_picture_is_refused_by_name(pets: Path) -> None:
    (pets / "lone").mkdir()
    noise().save(pets / "lone" / "0.png")
    with pytest.raises(DataError, match=r"class lone .* has only one picture"):
        data.load("image_folder", pets)


def test_a_test_picture_that_is_a_training_picture_is_named(tmp_path: Path) -> None:
    fill(tmp_path / "train")
    fill(tmp_path / "test")
    (tmp_path / "test/cat/1.png").write_bytes((tmp_path / "train/cat/3.png").read_bytes())
    with pytest.warns(UserWarning, match=r"1 test picture is in the training set too.*1\.png.*3\.png"):
        data.load("image_folder", tmp_path)


def test_the_path_of_a_folder_is_a_name_of_a_data_set(pets: Path) -> None:
    by_name = data.load("image_folder", pets)
    for path in (pets, str(pets)):
        found = data.load(path)
        assert found.name == "image_folder"
        assert (found.train.x == by_name.train.x).all()


def test_what_was_scaled_says_so(pets: Path) -> None:
    assert data.load(pets, size=4).source == f"{pets}, scaled to 4x4"
    assert data.load(pets, size=64).source == str(pets)


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="gone: there is no such folder"):
        data.load(tmp_path / "gone")


@pytest.mark.parametrize("name", ["pets\0", "/pets\0", "x" * 5_000, "/" + "x" * 5_000])
def test_a_path_that_cannot_be_is_refused(name: str) -> None:
    with pytest.raises(DataError):
        data.load(name)


def test_a_path_and_a_root_are_one_too_many(pets: Path) -> None:
    with pytest.raises(ValueError, match="`root` must be None"):
        data.load(pets, pets.parent)
