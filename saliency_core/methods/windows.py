"""Windows around the superpixels of an image, as multi-context saliency looks at them: cut on the device, in batches.

An image comes squashed to a square in which the local window, two thirds of it, is as large as the network's input: so
no local window is resized at all. The global windows are cut out of one reduction of the whole image. Both are
antialiased once an image, and a window is a copy of pixels, at most half a pixel of the network's input from its place.
"""

import torch
import torch.nn.functional as F  # noqa: N812 -- as in torch's own documentation

LOCAL_SHARE = 2 / 3
"""Side of a local window, in parts of the image's."""
CONTEXT_PADDING = 227 / 195
"""By which the authors' code enlarges a global window, twice the image otherwise."""
MAP_SIDE = 64
"""Cells a side of the first stage's map that belongs to a local window."""


def image_side(input_size: int) -> int:
    """Return the side of the square to which an image is squashed.

    Examples
    --------
    >>> image_side(224)
    336
    """
    return round(input_size / LOCAL_SHARE)


class Canvas:
    """Images with zeros around them, out of which squares are cut.

    Parameters
    ----------
    images : float tensor (B, C, P, P)
    size : int
        Side of the squares.
    """

    def __init__(self, images: torch.Tensor, size: int) -> None:
        self.side, self.size, self.margin = images.shape[2], size, (size + 1) // 2
        canvas = F.pad(images, (self.margin,) * 4).permute(0, 2, 3, 1).contiguous()
        # Every square there is, without a copy: (B, y, x, size, size, C).
        self._squares = canvas.unfold(1, size, 1).unfold(2, size, 1).permute(0, 1, 2, 4, 5, 3)

    def cut(self, which: torch.Tensor, centres: torch.Tensor) -> torch.Tensor:
        """Copy squares.

        Parameters
        ----------
        which : int64 tensor (N,)
            The image of each.
        centres : float tensor (N, 2)
            Its middle (y, x), in parts of the image.

        Returns
        -------
        tensor (N, C, size, size)
            In torch's channels_last layout.
        """
        places = (centres * self.side - self.size / 2).round().long() + self.margin
        places = places.clamp(0, self.side + 2 * self.margin - self.size)
        return self._squares[which, places[:, 0], places[:, 1]].permute(0, 3, 1, 2)


def global_canvas(images: torch.Tensor, size: int) -> Canvas:
    """Return what the windows of the first stage are cut out of.

    They are twice the image, times `CONTEXT_PADDING`, with the mean colour outside.

    Parameters
    ----------
    images : float tensor (B, 3, P, P)
        Normalised: the mean colour is 0.
    size : int
        Side S of the network's input.
    """
    side = max(round(size / (2 * CONTEXT_PADDING)), 1)
    return Canvas(F.interpolate(images, size=(side, side), mode="bilinear", antialias=True), size)


def local_canvas(images: torch.Tensor, size: int) -> Canvas:
    """Return what the windows of the second stage, two thirds of the image, are cut out of; as `global_canvas`."""
    return Canvas(images, size)


def map_canvas(maps: torch.Tensor) -> Canvas:
    """Return what the parts of maps (B, 1, CELLS, CELLS) that lie in local windows are cut out of; 0 outside."""
    return Canvas(maps, MAP_SIDE)
