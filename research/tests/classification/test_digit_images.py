"""The digits as a data set for classifiers."""

import numpy as np
import pytest
from PIL import Image

from pcka_mmdet.demo import digits
from research.classification.digit_images import FEW, build_digit_images, main


def read(root, name):
    lines = (root / f"{name}.txt").read_text().splitlines()
    return {file: int(label) for file, label in (line.split() for line in lines)}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return build_digit_images(tmp_path_factory.mktemp("digits") / "images")


def test_the_lists_divide_the_digits(root):
    train, val, test = (read(root, name) for name in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (1078, 269, 450) and len({**train, **val, **test}) == 1797
    few = read(root, "few")
    assert few.items() <= train.items()
    assert np.bincount(list(few.values())).tolist() == [FEW] * 10


def test_the_images_are_the_digits(root):
    ink, classes = digits.load()
    for index in (0, 900, 1796):
        image = np.asarray(Image.open(root / "images" / f"{index:04d}.png"))
        assert image.shape == (32, 32, 3) and (image == image[..., :1]).all()
        means = image[..., 0].reshape(8, 4, 8, 4).mean((1, 3)) / 255
        assert np.corrcoef(means.ravel(), ink[index].ravel())[0, 1] > 0.97
        name = f"{index:04d}.png"
        assert (
            next(read(root, split)[name] for split in ("train", "val", "test") if name in read(root, split))
            == classes[index]
        )


def test_a_complete_folder_is_left_and_another_refused(root, tmp_path, capsys):
    before = (root / "info.json").stat().st_mtime_ns
    main([str(root)])
    assert (root / "info.json").stat().st_mtime_ns == before and "digit images in" in capsys.readouterr().out
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(SystemExit, match="is not empty and is no complete set of digit images of these settings"):
        main([str(tmp_path)])
    (root / "images" / "0900.png").unlink()
    with pytest.raises(FileExistsError, match="nothing was changed"):
        build_digit_images(root)


@pytest.mark.parametrize(
    ("error", "said"), [(ImportError("no sklearn"), "digit_images: no sklearn"), (KeyboardInterrupt(), "interrupted")]
)
def test_what_stops_it_ends_in_a_sentence(tmp_path, monkeypatch, error, said):
    def fail():
        raise error

    monkeypatch.setattr(digits, "load", fail)
    with pytest.raises(SystemExit, match=said):
        main([str(tmp_path / "set")])
    assert not list(tmp_path.iterdir())
