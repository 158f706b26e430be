"""Examples, splits, the keyed order and `load`."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.toys import blobs
from unlearn_lib import data
from unlearn_lib.data import DataError, Examples, Scale, Split


def test_digits_are_embedded_and_split_by_class_share(digits):
    assert (len(digits.train), len(digits.test), digits.shape) == (1437, 360, (1, 8, 8))
    assert digits.train.x.dtype == torch.uint8
    shares = [part.y.bincount() / len(part) for part in (digits.train, digits.test)]
    assert (shares[0] - shares[1]).abs().max() < 0.005


def test_training_and_test_digits_share_no_image(digits):
    train, test = ({x.numpy().tobytes() for x in part.x} for part in (digits.train, digits.test))
    assert len(train) == 1437
    assert not train & test


def test_network_inputs_are_standardized_once_on_the_device(digits):
    ready = digits.train.to("cpu")
    assert ready.x.dtype == torch.float32
    assert abs(float(ready.x.mean())) < 0.02
    assert float(ready.x.std()) == pytest.approx(1, abs=0.02)
    assert ready.to("cpu") is ready
    torch.testing.assert_close(digits.train.batch(slice(0, 5)).x, ready.x[:5])


def test_scaling_can_be_undone(digits):
    x = digits.train.x[:20]
    torch.testing.assert_close(digits.train.scale.undo(digits.train.scale(x)), x.float(), atol=1e-4, rtol=0)


def test_ids_survive_every_cut():
    whole = blobs(30)
    part = whole.where(whole.y == 1).without([4, 7])
    assert part.ids.tolist() == [i for i in range(1, 30, 3) if i not in (4, 7)]
    joined = part + whole.select([7, 4])
    assert joined.ids.tolist() == [*part.ids.tolist(), 4, 7]
    assert all(torch.equal(whole.x[i], x) for i, x in zip(joined.ids.tolist(), joined.x, strict=True))


def test_a_share_keeps_the_class_shares_and_the_order(digits):
    part = digits.train.head(200)
    assert len(part) == 200
    assert part.y.bincount().max() - part.y.bincount().min() <= 2
    assert part.ids.tolist() == sorted(part.ids.tolist())
    assert digits.train.head(10_000) is digits.train


def test_split_by_class_and_by_ids_part_the_data():
    whole = blobs(30)
    by_class, by_ids = Split.by_class(whole, 0, 2), Split.by_ids(whole, [5, 3, 5])
    assert set(by_class.forget.y.tolist()) == {0, 2}
    assert set(by_class.retain.y.tolist()) == {1}
    assert by_ids.forget.ids.tolist() == [3, 5]
    assert len(by_ids.retain) == 28


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        (lambda whole: Split.by_ids(whole, []), "`forget` must hold at least one sample"),
        (lambda whole: Split.by_ids(whole, range(30)), "`retain` must hold at least one sample"),
        (lambda whole: Split.by_ids(whole, [3, 30, 31]), r"2 are not, among them \[30, 31\]"),
        (lambda whole: Split.by_class(whole, 7), r"`classes` must be among \[0, 1, 2\]; got 7"),
        (lambda whole: Split.by_class(whole, 0, 1, 2), "`retain` must hold at least one sample"),
        (lambda whole: Split.by_class(whole), "`forget` must hold at least one sample"),
    ],
    ids=["nothing", "everything", "unknown ids", "unknown class", "every class", "no class"],
)
def test_a_bad_request_is_refused(request_, message):
    with pytest.raises(ValueError, match=message):
        request_(blobs(30))


def test_a_nan_is_refused_and_its_sample_named():
    x = torch.zeros(4, 2)
    x[2, 1] = torch.nan
    with pytest.raises(ValueError, match="1 samples are not, the first has id 2"):
        Examples.of(x, torch.zeros(4).long())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((torch.zeros(3, 1), torch.zeros(3).long(), torch.tensor([0, 1, 1])), "`ids` must be unique"),
        ((torch.zeros(3, 1, dtype=torch.uint8), torch.zeros(3).long(), torch.arange(3)), "needs a `scale`"),
    ],
)
def test_inconsistent_examples_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        Examples(*arguments)


def test_columns_of_different_length_are_refused():
    with pytest.raises((ValueError, TypeError)):  # run-time shape checks come first in tests
        Examples(torch.zeros(3, 1), torch.zeros(2).long(), torch.arange(3))


def test_fractional_ids_are_refused():
    with pytest.raises(TypeError, match="whole numbers"):
        blobs(30).select(torch.tensor([1.5]))


def test_an_unknown_data_set_is_refused_with_the_right_names():
    with pytest.raises(DataError, match=r"must be one of digits, mnist, .*; got 'digit'"):
        data.load("digit")


@pytest.mark.parametrize("name", ["mnist", "fashion_mnist", "svhn", "cifar10", "cifar100", "location30"])
def test_a_missing_data_set_says_which_files_where_and_how_to_get_them(name, tmp_path):
    with pytest.raises(DataError) as error:
        data.load(name, tmp_path)
    assert str(tmp_path) in str(error.value)
    assert "UNLEARN_DATA" in str(error.value)
    assert any(part in str(error.value) for part in ("files)", ".mat", ".npz"))
    assert not list(tmp_path.iterdir())  # nothing was fetched or made


def test_a_damaged_file_is_named(tmp_path):
    (tmp_path / "location30").mkdir()
    (tmp_path / "location30" / "location30.npz").write_bytes(b"PK\x03\x04 not an archive")
    with pytest.raises(DataError, match=r"location30.npz is damaged"):
        data.load("location30", tmp_path)


def test_location30_is_read_from_the_named_folder(tmp_path, monkeypatch):
    (tmp_path / "location30").mkdir()
    x = np.random.default_rng(0).integers(0, 2, (120, 446)).astype(np.uint8)
    np.savez(tmp_path / "location30" / "location30.npz", x=x, y=np.arange(120) % 30)
    monkeypatch.setenv("UNLEARN_DATA", str(tmp_path))
    found = data.load("location30")
    assert (len(found.train), len(found.test), found.shape) == (96, 24, (446,))
    assert set(found.train.to("cpu").x.unique().tolist()) == {0.0, 1.0}


def image_folder(root, classes="ab", count=5, size=(6, 4), blue=0):
    from PIL import Image

    for number, name in enumerate(classes):
        (root / name).mkdir(parents=True)
        for i in range(count):
            Image.new("RGB", size, (50 * number, 10 * i, blue)).save(root / name / f"{i}.png")


def test_an_image_folder_is_read_whole(tmp_path):
    image_folder(tmp_path)
    found = data.load("image_folder", tmp_path)
    assert (len(found.train), len(found.test), found.shape) == (8, 2, (3, 4, 6))
    assert found.classes == ("a", "b")


def test_an_image_folder_with_its_own_split_is_respected(tmp_path):
    image_folder(tmp_path / "train")
    image_folder(tmp_path / "test", count=2, blue=99)
    found = data.load("image_folder", tmp_path)
    assert (len(found.train), len(found.test)) == (10, 4)


def test_images_of_several_sizes_are_refused(tmp_path):
    image_folder(tmp_path)
    image_folder(tmp_path / "more", classes="c")
    (tmp_path / "more" / "c").rename(tmp_path / "c")
    (tmp_path / "more").rmdir()
    from PIL import Image

    Image.new("RGB", (9, 9)).save(tmp_path / "c" / "big.png")
    with pytest.raises(DataError, match="must have one size"):
        data.load("image_folder", tmp_path)


def test_an_empty_image_folder_is_refused(tmp_path):
    with pytest.raises(DataError, match="one folder of images per class"):
        data.load("image_folder", tmp_path)


@pytest.mark.parametrize(("a", "b"), [((0, 1), (1, 0)), ((1,), (0, 1)), ((-1,), (1,))])
def test_mixed_keys_tell_their_parts_apart(a, b):
    assert data.mix(*a) != data.mix(*b)


def test_a_mixed_key_can_be_mixed_again():
    again = [data.mix(data.mix(seed, 1)) for seed in range(20)]
    assert len(set(again)) == 20
    assert max(data.mix(seed, 1) for seed in range(20)) >= 2**63, "too large for a signed number"
    assert data.mix(-1) == data.mix(2**64 - 1)


def test_scale_of_a_constant_channel_stays_finite():
    x = torch.full((4, 1, 2, 2), 7, dtype=torch.uint8)
    assert Scale.of(x)(x).abs().max() == 0


@pytest.mark.data
def test_real_mnist_cifar10_and_location30_have_their_official_sizes(unlearn_data):
    sizes = {"mnist": (60_000, 10_000), "cifar10": (50_000, 10_000), "location30": (4008, 1002)}
    for name, wanted in sizes.items():
        found = data.load(name, unlearn_data)
        assert (len(found.train), len(found.test)) == wanted
        assert len(found.classes) == int(found.train.y.max()) + 1


def test_a_mixed_key_is_splitmix64_by_its_published_numbers():
    # the first outputs of Vigna's C code for the state 1234567
    golden, numbers = 0x9E3779B97F4A7C15, [6457827717110365317, 3203168211198807973, 9817491932198370423]
    assert [data.mix((1234567 + k * golden) % 2**64) for k in range(3)] == numbers
    assert data.mix(3, 5) == data.mix(data.mix(3) ^ 5)
    assert data.mix() == 0


def test_a_keyed_order_sorts_the_mixed_numbers_of_the_ids():
    ids = torch.tensor([5, 900, -3, 7])
    numbers = [data.mix((i ^ data.mix(1, 2)) % 2**64) for i in ids.tolist()]
    assert data.keyed_order(ids, 1, 2).tolist() == sorted(range(4), key=numbers.__getitem__)


def test_a_scale_is_the_mean_and_deviation_of_each_channel():
    x = torch.tensor([[[[0, 4]], [[1, 1]]], [[[0, 4]], [[1, 3]]]], dtype=torch.uint8)  # two channels
    found = Scale.of(x)
    assert (found.mean, found.std) == ((2.0, 1.5), (2.0, pytest.approx(0.75**0.5)))
    assert found(x)[:, 0].flatten().tolist() == [-1, 1, -1, 1]
    torch.testing.assert_close(found.undo(found(x)), x.float())
    one_for_all = Scale((1.0,), (2.0,))
    assert one_for_all(x)[0].flatten().tolist() == [-0.5, 1.5, 0, 0]
    assert Scale.of(torch.full((3, 1), 7, dtype=torch.uint8)) == Scale((7.0,), (1.0,))
    with pytest.raises(ValueError, match="the scale has 2 channels"):
        found(torch.zeros(1, 3, 1, 2))


@pytest.mark.parametrize(
    ("mean", "std"), [((), ()), ((1.0, 2.0), (1.0,)), ((0.0,), (0.0,)), ((0.0,), (-1.0,))]
)
def test_a_scale_has_one_mean_and_one_positive_deviation_a_channel(mean, std):
    with pytest.raises(ValueError, match="`std"):
        Scale(mean, std)


def test_a_batch_can_be_cut_into_parts():
    batch = blobs(6).batch(slice(None))
    parts = list(batch.split([1, 3, 2]))
    assert [part.ids.tolist() for part in parts] == [[0], [1, 2, 3], [4, 5]]
    assert all(
        torch.equal(torch.cat([getattr(p, f) for p in parts]), getattr(batch, f)) for f in ("x", "y", "ids")
    )


def test_samples_of_one_shape_and_scale_can_be_joined_and_no_others():
    a = Examples.of(torch.zeros(2, 3), [0, 1])
    b = Examples(torch.ones(1, 3), torch.tensor([2]), torch.tensor([9]))
    both = a + b
    assert (both.x.sum(1).tolist(), both.y.tolist(), both.ids.tolist()) == ([0, 0, 3], [0, 1, 2], [0, 1, 9])
    scaled = Examples(
        torch.ones(1, 3, dtype=torch.uint8), torch.tensor([2]), torch.tensor([9]), Scale((0.0,), (1.0,))
    )
    with pytest.raises(ValueError, match="one scale"):
        scaled + Examples(scaled.x, scaled.y, torch.tensor([8]), Scale((1.0,), (1.0,)))
    with pytest.raises(ValueError, match=r"one shape.*got \[3\] and \[4\]"):
        a + Examples(torch.ones(1, 4), torch.tensor([2]), torch.tensor([9]))
    with pytest.raises(ValueError, match="`ids` must be unique"):
        a + a


def test_a_share_is_chosen_by_keyed_order_class_by_class():
    whole = blobs(30)
    assert torch.equal(whole.head(7).ids, whole.head(7, seed=0).ids)
    assert not torch.equal(whole.head(7).ids, whole.head(7, seed=1).ids)
    assert whole.head(6).y.bincount().tolist() == [2, 2, 2]
    assert len(whole.head(0)) == 0
    assert whole.head(30) is whole
    order = data.keyed_order(whole.ids, 4)
    first = [next(int(i) for i in order if whole.y[i] == label) for label in range(3)]
    assert set(whole.head(3, seed=4).ids.tolist()) == set(first)
    rare = whole.where((whole.y != 2) | (whole.ids == 2))
    shares = [rare.head(n).y.bincount(minlength=3).tolist() for n in (10, 11)]
    assert shares == [[5, 5, 0], [5, 5, 1]], "a class of one sample comes when the others are half full"


def test_a_fifth_is_held_out_the_same_on_every_machine(tmp_path):
    (tmp_path / "location30").mkdir()
    x = np.arange(44, dtype=np.uint8)[:, None].repeat(2, 1) % 2
    np.savez(tmp_path / "location30" / "location30.npz", x=x, y=np.arange(44) % 2)
    found = data.load("location30", tmp_path)
    assert (len(found.train), len(found.test)) == (35, 9), "the fifth is rounded up"
    whole = Examples.of(torch.from_numpy(x), np.arange(44) % 2, Scale((0.0,), (1.0,)))
    assert torch.equal(found.test.y, whole.head(9, seed=0).y)
    assert found.train.ids.tolist() == list(range(35))
    assert found.test.ids.tolist() == list(range(9))
    assert (found.train.scale, found.shape, len(found.classes)) == (Scale((0.0,), (1.0,)), (2,), 30)


def test_digits_keep_their_labels_and_are_scaled_as_one(digits):
    from sklearn.datasets import load_digits

    raw = load_digits()
    wanted = {x.astype(np.uint8).tobytes(): y for x, y in zip(raw.images, raw.target, strict=True)}
    for part in (digits.train, digits.test):
        assert all(wanted[x.numpy().tobytes()] == y for x, y in zip(part.x, part.y.tolist(), strict=True))
    assert digits.train.scale == digits.test.scale == Scale.of(torch.from_numpy(raw.images[:, None]))
    assert digits.classes == tuple("0123456789")


@pytest.mark.parametrize(
    "x",
    [
        torch.zeros(3),
        torch.zeros(3, 2, dtype=torch.complex64),
        torch.zeros(3, 2).to(torch.uint8),
        torch.zeros(3, 2).short(),
    ],
)
def test_inputs_are_vectors_or_more_and_real_and_bytes_have_a_scale(x):
    with pytest.raises((ValueError, TypeError), match="`x`"):
        Examples.of(x, [0, 1, 2])


def test_a_split_shares_no_sample_and_says_which():
    whole = blobs(9)
    with pytest.raises(ValueError, match=r"2 ids are in both, among them \[3, 4\]"):
        Split(whole.select([3, 4, 5]), whole.select([0, 3, 4]))


def test_moving_keeps_what_is_there_and_scales_what_is_stored():
    stored = Examples.of(torch.full((2, 1), 3, dtype=torch.uint8), [0, 1], Scale((1.0,), (4.0,)))
    moved = stored.to("cpu")
    assert (moved.x.tolist(), moved.scale, moved.y.tolist()) == ([[0.5], [0.5]], None, [0, 1])
    assert blobs(4).to("cpu").x.dtype == torch.float64
    same = blobs(4)
    assert same.to("cpu", torch.float64) is same


def test_the_name_of_a_data_set_is_that_one_beside_a_folder_of_that_name(tmp_path, monkeypatch):
    image_folder(tmp_path / "digits")
    image_folder(tmp_path / "mine")
    monkeypatch.chdir(tmp_path)
    assert not any(data.is_path(name) for name in data.names())
    assert data.load("digits").shape == (1, 8, 8)
    assert all(data.is_path(name) for name in ("mine", "./digits", "any/where", tmp_path))
    assert not any(data.is_path(name) for name in ("yours", 3, None))


@pytest.mark.parametrize("classes", [[0, 2], (2, 0), {0, 2}, np.array([0, 2]), torch.tensor([0, 2])])
def test_classes_may_come_as_one_sequence(classes):
    whole = blobs(30)
    assert torch.equal(Split.by_class(whole, classes).forget.ids, Split.by_class(whole, 0, 2).forget.ids)


def test_a_sequence_of_one_class_is_no_mask():
    whole = blobs(30)
    assert set(Split.by_class(whole, [1]).forget.y.tolist()) == {1}
    with pytest.raises(TypeError, match="a mask of yes and no"):
        Split.by_class(whole, whole.y == 1)


@pytest.mark.parametrize(
    ("dtype", "shape"),
    [(torch.uint8, (2, 32, 32, 3)), (torch.uint8, (2, 8, 8, 1)), (torch.float32, (2, 32, 32, 3))],
)
def test_pictures_with_their_channels_last_are_refused(dtype, shape):
    x = torch.zeros(shape, dtype=dtype)
    with pytest.raises(ValueError, match=r"got \[2, .*x\.permute\(0, 3, 1, 2\)"):
        Examples.of(x, [0, 1])
    with pytest.raises(ValueError, match=r"x\.permute\(0, 3, 1, 2\)"):
        Examples.of_dataset((x, [0, 1]))
    Examples.of_dataset((x.permute(0, 3, 1, 2), [0, 1]))


@pytest.mark.parametrize("shape", [(2, 64, 3, 3), (2, 3, 32, 3), (2, 64, 7, 4)])
def test_maps_of_features_are_no_pictures(shape):
    assert len(Examples.of(torch.zeros(shape), [0, 1])) == 2


def test_samples_are_shown_in_one_short_line(digits):
    assert repr(digits.train) == "Examples(1,437 samples of [1, 8, 8], 10 classes)"
    one = digits.train.head(1)
    assert repr(one) == "Examples(1 sample of [1, 8, 8], 1 class)"
    assert repr(Split.by_ids(digits.train.head(30), one.ids)) == (
        "Split(forget=Examples(1 sample of [1, 8, 8], 1 class), "
        "retain=Examples(29 samples of [1, 8, 8], 10 classes))"
    )
    assert repr(one.batch(slice(0, 1))) == "Batch(1 sample of [1, 8, 8])"
    label, name = int(one.y), int(one.ids)
    assert repr(one[0]) == f"Batch(a sample of [1, 8, 8], label {label}, id {name})"
