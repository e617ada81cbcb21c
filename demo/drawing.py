"""Draws scenes with one object each, their masks and their class, from nothing but a seed.

An object is a *shape* with a *texture*. Each of the four shapes appears with two textures and each of the
four textures with two shapes, so neither alone tells the class; irregular blobs that carry the objects' own
textures and colours lie around it, so neither texture nor colour alone tells where the object is. Colours of
objects, blobs and background come from one distribution.
"""

import csv
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image
from skimage.color import hsv2rgb, rgb2lab

Field = npt.NDArray[np.float32]
"""One value a pixel, (H, W)."""

IMAGE_SIZES: tuple[tuple[int, int], ...] = ((240, 320), (320, 240), (264, 304), (256, 340))
"""Sizes (height, width) in pixels that `draw_indexed_scene` picks from."""

MINIMUM_CONTRAST = 22.0
"""Least Lab distance between the object's colour and any of the background's: it needs an edge."""


@dataclass(frozen=True)
class Scene:
    """A drawn image with its truth.

    Attributes
    ----------
    image
        uint8 (H, W, 3), sRGB.
    mask
        bool (H, W), True where the object is seen.
    class_index
        Index into `CLASS_NAMES`.
    """

    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.bool_]
    class_index: int


# ----------------------------------------------------------------------
# Shapes: functions of the object's own coordinates (u to the right, v down, size about 1) that are <= 0
# inside and grow like the distance outside. All have about the area of the unit disc.


def _disc(u: Field, v: Field) -> Field:
    return np.hypot(u, v) - np.float32(1)


def _triangle(u: Field, v: Field) -> Field:
    cosine, sine = np.float32(math.cos(math.pi / 6)), np.float32(math.sin(math.pi / 6))
    return np.maximum(np.abs(u) * cosine - v * sine, v) - np.float32(0.75)


def _cross(u: Field, v: Field) -> Field:
    u, v = np.abs(u), np.abs(v)
    long, short = np.float32(1.15), np.float32(0.42)
    return np.minimum(np.maximum(u - long, v - short), np.maximum(u - short, v - long))


def _star(u: Field, v: Field) -> Field:
    tip, notch, points = 1.45, 0.68, 5
    sector = 2 * math.pi / points
    half = np.float32(sector / 2)
    angle = np.abs(np.mod(np.arctan2(v, u) + half, np.float32(sector)) - half)
    radius = np.hypot(u, v)
    # The edge runs from the tip at angle 0 to the notch at half a sector: distance to that line.
    edge = np.array([notch * math.cos(sector / 2) - tip, notch * math.sin(sector / 2)])
    normal = (np.array([edge[1], -edge[0]]) / np.hypot(*edge)).astype(np.float32)
    return radius * (np.cos(angle) * normal[0] + np.sin(angle) * normal[1]) - np.float32(tip) * normal[0]


# ----------------------------------------------------------------------
# Textures: functions of the same coordinates with values in [0, 1]: 0 is the object's colour, 1 its second.


def _sharpen(wave: Field) -> Field:
    return np.clip(np.float32(0.5) + np.float32(2.5) * wave, 0, 1)


def _stripes(u: Field, v: Field, period: float) -> Field:
    return _sharpen(np.sin(np.float32(2 * math.pi / period) * u))


def _checks(u: Field, v: Field, period: float) -> Field:
    frequency = np.float32(math.pi / period)
    return _sharpen(np.sin(frequency * u) * np.sin(frequency * v) * np.float32(1.5))


def _dots(u: Field, v: Field, period: float) -> Field:
    frequency = np.float32(2 * math.pi / period)
    return _sharpen(np.float32(0.5) * (np.cos(frequency * u) + np.cos(frequency * v)) - np.float32(0.3))


def _rings(u: Field, v: Field, period: float) -> Field:
    return _sharpen(np.cos(np.float32(2 * math.pi / period) * np.hypot(u, v)))


Shape = Callable[[Field, Field], Field]
Texture = Callable[[Field, Field, float], Field]

_CLASSES: tuple[tuple[str, Shape, Texture], ...] = (
    ("striped disc", _disc, _stripes),
    ("dotted disc", _disc, _dots),
    ("dotted star", _star, _dots),
    ("checked star", _star, _checks),
    ("checked triangle", _triangle, _checks),
    ("ringed triangle", _triangle, _rings),
    ("ringed cross", _cross, _rings),
    ("striped cross", _cross, _stripes),
)

CLASS_NAMES: tuple[str, ...] = tuple(name for name, _, _ in _CLASSES)
"""Names of the classes, in the order of the class index."""


# ----------------------------------------------------------------------
# Parts of a scene


def _colour(generator: np.random.Generator) -> Field:
    """Draw an sRGB colour, (3,) in [0, 1]; one distribution for objects, blobs and background."""
    hsv = generator.uniform((0.0, 0.1, 0.3), (1.0, 0.65, 0.85))
    return np.asarray(hsv2rgb(hsv), np.float32)


def _second_colour(colour: Field, generator: np.random.Generator) -> Field:
    """Return a clearly lighter or darker colour of about the same hue: the texture's other colour."""
    change = generator.uniform(0.16, 0.28) * (1 if colour.mean() < 0.5 else -1)
    return np.clip(colour + np.float32(change) + generator.normal(0, 0.03, 3), 0, 1).astype(np.float32)


def _lab_distance(first: Field, second: Field) -> float:
    return float(np.linalg.norm(rgb2lab(first) - rgb2lab(second)))


def _smooth_noise(size: tuple[int, int], cells: tuple[int, int], generator: np.random.Generator) -> Field:
    """Draw normal noise on a coarse grid of `cells`, interpolated to `size`, (H, W)."""
    grid = Image.fromarray(generator.standard_normal(cells, np.float32))
    return np.asarray(grid.resize((size[1], size[0]), Image.Resampling.BICUBIC), np.float32)


def _pixel_grid(size: tuple[int, int]) -> tuple[Field, Field]:
    """Return coordinates x and y of the pixels, broadcastable, in pixels."""
    x = np.arange(size[1], dtype=np.float32)[None, :]
    y = np.arange(size[0], dtype=np.float32)[:, None]
    return x, y


def _own_coordinates(
    size: tuple[int, int], centre: tuple[float, float], radius: float, angle: float, stretch: float = 1.0
) -> tuple[Field, Field]:
    """Return all pixels' coordinates (u, v) in the frame of a thing at `centre` (x, y), turned by `angle`."""
    x, y = _pixel_grid(size)
    cosine, sine = math.cos(angle) / radius, math.sin(angle) / radius
    u = np.float32(cosine) * (x - np.float32(centre[0])) + np.float32(sine) * (y - np.float32(centre[1]))
    v = np.float32(cosine) * (y - np.float32(centre[1])) - np.float32(sine) * (x - np.float32(centre[0]))
    return u * np.float32(stretch), v * np.float32(1 / stretch)


def _coverage(distance: Field, radius: float) -> Field:
    """Turn an outline's distance (in units of `radius` pixels) into antialiased coverage in [0, 1]."""
    return np.clip(np.float32(0.5) - distance * np.float32(radius), 0, 1)


def _paint(canvas: Field, coverage: Field, first: Field, second: Field, texture: Field) -> None:
    """Lay a textured patch over `canvas` (H, W, 3), in place."""
    patch = first + texture[..., None] * (second - first)
    canvas += coverage[..., None] * (patch - canvas)


def _background(size: tuple[int, int], colours: list[Field], generator: np.random.Generator) -> Field:
    """Draw fields of the given colours with soft borders and a fine grain, (H, W, 3) in about [0, 1]."""
    heights = np.stack([_smooth_noise(size, (4, 5), generator) for _ in colours])
    weights = np.exp(np.float32(4) * (heights - heights.max(axis=0)))
    weights /= weights.sum(axis=0)
    canvas = np.tensordot(weights, np.stack(colours), axes=(0, 0)).astype(np.float32)
    grain = _smooth_noise(size, (size[0] // 8, size[1] // 8), generator)
    canvas += np.float32(generator.uniform(0.02, 0.06)) * grain[..., None]
    return canvas


def _blob_outline(u: Field, v: Field, generator: np.random.Generator) -> Field:
    """Return the outline of an irregular closed blob of radius about 1."""
    angle = np.arctan2(v, u)
    outline = np.hypot(u, v) - np.float32(1)
    for waves in (2, 3, 4):
        outline -= np.float32(generator.uniform(0.08, 0.22)) * np.cos(
            np.float32(waves) * angle + np.float32(generator.uniform(0, 2 * math.pi))
        )
    return outline


def _paint_blob(
    canvas: Field, centre: tuple[float, float], radius: float, colour: Field, generator: np.random.Generator
) -> npt.NDArray[np.bool_]:
    """Lay an irregular blob, plain or in an object's texture, over `canvas`; return where it lies, (H, W)."""
    # Only the window that can hold the blob is drawn: waves of 0.22 at most on a radius of 1.
    reach = 1.7 * radius
    rows = slice(max(int(centre[1] - reach), 0), max(int(centre[1] + reach), 1))
    columns = slice(max(int(centre[0] - reach), 0), max(int(centre[0] + reach), 1))
    window = canvas[rows, columns]
    size = (window.shape[0], window.shape[1])
    place = (centre[0] - columns.start, centre[1] - rows.start)
    u, v = _own_coordinates(size, place, radius, generator.uniform(0, 2 * math.pi))
    coverage = _coverage(_blob_outline(u, v, generator), radius)
    texture: Field
    if generator.random() < 0.5:
        cells = (size[0] // 6 + 2, size[1] // 6 + 2)
        texture = np.clip(np.float32(0.5) + np.float32(0.5) * _smooth_noise(size, cells, generator), 0, 1)
    else:
        _, _, draw_texture = _CLASSES[generator.integers(len(_CLASSES))]
        texture = draw_texture(u + np.float32(generator.uniform(-2, 2)), v, generator.uniform(0.5, 0.8))
    _paint(window, coverage, colour, _second_colour(colour, generator), texture)
    covered = np.zeros(canvas.shape[:2], np.bool_)
    covered[rows, columns] = coverage >= 0.5
    return covered


def _light(canvas: Field, generator: np.random.Generator) -> None:
    """Multiply `canvas` in place by a slope of light and, in half of the scenes, a soft band of shadow."""
    size = (canvas.shape[0], canvas.shape[1])
    centre = (size[1] / 2, size[0] / 2)
    u, _ = _own_coordinates(size, centre, max(size) / 2, generator.uniform(0, 2 * math.pi))
    light = np.float32(1) + np.float32(generator.uniform(0.05, 0.3)) * u
    if generator.random() < 0.5:
        place, width = generator.uniform(-0.8, 0.8), generator.uniform(0.1, 0.3)
        across, _ = _own_coordinates(size, centre, max(size) / 2, generator.uniform(0, 2 * math.pi))
        light *= 1 - np.float32(generator.uniform(0.2, 0.4)) * np.clip(
            (np.float32(width) - np.abs(across - np.float32(place))) * 12, 0, 1
        )
    canvas *= light[..., None]


# ----------------------------------------------------------------------
# Scenes


def draw_scene(class_index: int, generator: np.random.Generator, size: tuple[int, int] = (240, 320)) -> Scene:
    """Draw one scene: background, blobs, object with shadow, perhaps a blob over its edge, light and noise.

    Parameters
    ----------
    class_index
        Class of the object, 0 <= class_index < 8.
    generator
        Source of all chance: the same state gives the same scene.
    size
        Height and width in pixels.

    Returns
    -------
    Scene
        Image, mask of the object's seen part, and the class.

    Raises
    ------
    ValueError
        If there is no such class.

    Examples
    --------
    >>> scene = draw_scene(2, np.random.default_rng(0))
    >>> scene.image.shape, scene.mask.shape, CLASS_NAMES[scene.class_index]
    ((240, 320, 3), (240, 320), 'dotted star')
    """
    if not 0 <= class_index < len(_CLASSES):
        raise ValueError(f"class_index is {class_index}; choose one of 0 to {len(_CLASSES) - 1}.")
    _, draw_shape, draw_texture = _CLASSES[class_index]
    height, width = size
    side = min(size)

    surroundings = [_colour(generator) for _ in range(3)]
    colour = _colour(generator)
    while min(_lab_distance(colour, other) for other in surroundings) < MINIMUM_CONTRAST:
        colour = _colour(generator)
    canvas = _background(size, surroundings, generator)

    for _ in range(generator.integers(4, 9)):
        blob_colour = (colour, _colour(generator), surroundings[generator.integers(3)])[generator.integers(3)]
        place = (generator.uniform(0, width), generator.uniform(0, height))
        _paint_blob(canvas, place, generator.uniform(0.08, 0.2) * side, blob_colour, generator)

    radius = generator.uniform(0.17, 0.32) * side
    centre = (
        float(np.clip(generator.normal(0.5, 0.16), 0.2, 0.8)) * width,
        float(np.clip(generator.normal(0.5, 0.16), 0.2, 0.8)) * height,
    )
    angle = generator.uniform(0, 2 * math.pi)
    stretch = generator.uniform(0.88, 1.14)
    u, v = _own_coordinates(size, centre, radius, angle, stretch)
    shadow_shift = generator.uniform(-0.3, 0.3, 2).astype(np.float32)
    shadow = _coverage(draw_shape(u + shadow_shift[0], v + shadow_shift[1]), 5.0)
    canvas *= 1 - np.float32(generator.uniform(0.1, 0.4)) * shadow[..., None]
    outline = draw_shape(u, v)
    texture = draw_texture(u, v, generator.uniform(0.42, 0.65))
    _paint(canvas, _coverage(outline, radius), colour, _second_colour(colour, generator), texture)
    mask = outline <= 0

    if generator.random() < 0.3:  # something lies over the object's edge
        direction = generator.uniform(0, 2 * math.pi)
        distance, cover_radius = 1.1 * radius, generator.uniform(0.3, 0.5) * radius
        place = (centre[0] + distance * math.cos(direction), centre[1] + distance * math.sin(direction))
        mask &= ~_paint_blob(canvas, place, cover_radius, _colour(generator), generator)

    _light(canvas, generator)
    canvas += np.float32(generator.uniform(0.01, 0.04)) * generator.standard_normal(canvas.shape, np.float32)
    image = np.clip(np.rint(canvas * 255), 0, 255).astype(np.uint8)
    return Scene(image, mask, class_index)


def draw_indexed_scene(index: int, seed: int) -> Scene:
    """Draw scene number `index` of the endless series that `seed` stands for; the classes take turns.

    Parameters
    ----------
    index
        Place in the series, >= 0.
    seed
        Which series, >= 0. Two seeds share no scene.

    Returns
    -------
    Scene
        A scene of one of `IMAGE_SIZES`.

    Examples
    --------
    >>> draw_indexed_scene(9, seed=1).class_index
    1
    """
    generator = np.random.default_rng([seed, index])
    size = IMAGE_SIZES[generator.integers(len(IMAGE_SIZES))]
    return draw_scene(index % len(CLASS_NAMES), generator, size)


def write_data_set(folder: Path, count: int, seed: int) -> Path:
    """Write drawn scenes as a data set: `images/*.jpg`, `masks/*.png` (0 or 255) and `manifest.csv`.

    Parameters
    ----------
    folder
        Where to write; made if missing.
    count
        Number of scenes.
    seed
        Series of scenes, see `draw_indexed_scene`.

    Returns
    -------
    Path
        The manifest, with the columns `uri` and `mask_uri` (absolute paths) and `label` (class index).
    """
    images, masks = folder / "images", folder / "masks"
    images.mkdir(parents=True, exist_ok=True)
    masks.mkdir(parents=True, exist_ok=True)
    manifest = folder / "manifest.csv"
    with manifest.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream)
        writer.writerow(("uri", "mask_uri", "label"))
        for index in range(count):
            scene = draw_indexed_scene(index, seed)
            image_path = images / f"scene_{index:05d}.jpg"
            mask_path = masks / f"scene_{index:05d}.png"
            Image.fromarray(scene.image).save(image_path, quality=92)
            Image.fromarray(scene.mask).save(mask_path)
            writer.writerow((image_path.resolve(), mask_path.resolve(), scene.class_index))
    return manifest
