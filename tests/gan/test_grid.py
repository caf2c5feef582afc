import numpy as np
from PIL import Image

from gan.grid import write_grid


def numbered(count: int, first: int, channels: int = 1, side: int = 8) -> np.ndarray:
    values = np.arange(first, first + count, dtype=np.uint8)
    return np.broadcast_to(values[:, None, None, None], (count, channels, side, side)).copy()


def read(path) -> np.ndarray:
    with Image.open(path) as image:
        return np.asarray(image)


def test_pixels_are_where_they_belong(tmp_path):
    # 2 rows of 3: real 0..5 on the left, fake 100..105 on the right, a gap of 8 / 4 pixels between.
    path = tmp_path / "grid.png"
    write_grid(path, real=numbered(6, 0), fake=numbered(6, 100), columns=3, zoom=1)
    picture = read(path)
    assert picture.shape == (16, 24 + 2 + 24)
    assert picture[4:16:8, 4:24:8].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert picture[4:16:8, 30::8].tolist() == [[100, 101, 102], [103, 104, 105]]
    assert (picture[:16, 24:26] == 255).all()


def test_an_images_own_pixels_keep_their_order(tmp_path):
    path = tmp_path / "grid.png"
    image = np.arange(64, dtype=np.uint8).reshape(1, 1, 8, 8)
    write_grid(path, real=image, fake=image + 100, columns=1, zoom=1)
    assert (read(path)[:8, :8] == image[0, 0]).all()
    assert (read(path)[:8, 10:] == image[0, 0] + 100).all()


def test_zoom_repeats_pixels(tmp_path):
    path = tmp_path / "grid.png"
    write_grid(path, real=numbered(1, 7), fake=numbered(1, 9), columns=1, zoom=3)
    picture = read(path)
    assert picture.shape == (24, 54)
    assert (picture[:24, :24] == 7).all()


def test_colour_stays_colour(tmp_path):
    path = tmp_path / "grid.png"
    red = np.zeros((1, 3, 8, 8), np.uint8)
    red[:, 0] = 255
    write_grid(path, real=red, fake=255 - red, columns=1, zoom=1)
    assert read(path)[0, 0].tolist() == [255, 0, 0]
    assert read(path)[0, -1].tolist() == [0, 255, 255]


def test_nothing_but_the_picture_is_left(tmp_path):
    write_grid(tmp_path / "epochs" / "a.png", real=numbered(1, 7), fake=numbered(1, 9), columns=1)
    assert [path.name for path in (tmp_path / "epochs").iterdir()] == ["a.png"]
