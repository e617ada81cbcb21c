import numpy as np
from skimage.color import rgb2lab

from saliency_core.colour.lab import lab_planes


def test_every_third_colour_as_scikit_image_converts_it() -> None:
    values = np.arange(0, 256, 3, dtype=np.uint8)
    image = np.stack(np.meshgrid(values, values, values), axis=-1).reshape(len(values), -1, 3)
    planes = lab_planes(image)
    assert planes.dtype == np.float32
    np.testing.assert_allclose(np.moveaxis(planes, 0, -1), rgb2lab(image), atol=0.01)


def test_white_is_100_and_greys_have_no_colour() -> None:
    greys = np.repeat(np.arange(256, dtype=np.uint8)[:, None, None], 3, axis=2)
    light, red, yellow = lab_planes(greys)
    assert abs(light[0, 0]) < 1e-6
    np.testing.assert_allclose(light[255, 0], 100, atol=1e-4)
    assert (np.diff(light[:, 0]) > 0).all()
    assert max(np.abs(red).max(), np.abs(yellow).max()) < 0.02


def test_images_that_are_views_and_read_only() -> None:
    image = np.random.default_rng(0).integers(0, 256, (30, 40, 3), dtype=np.uint8)
    image.flags.writeable = False
    np.testing.assert_array_equal(lab_planes(image[::-1, ::2]), lab_planes(image[::-1, ::2].copy()))
