"""Numpy arrays as Parquet columns: rows of numbers, and images without loss."""

from __future__ import annotations

import io
import zlib

import numpy as np
import pyarrow as pa
from PIL import Image

#: LeRobot's column names that are read as well as written.
IMAGES = "observation.images."
EPISODE = "episode_index"
HUMAN = "complementary_info.is_intervention"
SUCCESS = "next.success"

#: What pyarrow, json and Pillow raise on bytes that are not what they should be.
UNREADABLE = (pa.ArrowException, ValueError, TypeError, KeyError, OSError, SyntaxError, zlib.error)

IMAGE_TYPE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
_COLUMN_OF_KEY = {"state": "observation.state", "objects": "observation.environment_state"}


def is_image(array: np.ndarray) -> bool:
    """Whether an array is a batch of colour images, uint8 of shape (rows, height, width, 3)."""
    return array.dtype == np.uint8 and array.ndim == 4 and array.shape[-1] == 3


def observation_column(key: str, array: np.ndarray) -> str:
    """LeRobot's column name of an observation."""
    if is_image(array):
        return IMAGES + key
    return _COLUMN_OF_KEY.get(key, f"observation.{key}")


def named_column(table: pa.Table, name: str) -> pa.Array:
    """A column of a table, in one piece.

    Raises:
        ValueError: There is none of that name.
    """
    if name not in table.column_names:
        raise ValueError(f"column {name!r} is missing, found {', '.join(table.column_names)}")
    return table.column(name).combine_chunks()


def step_column(table: pa.Table, name: str) -> pa.Array:
    """A column of what belongs to steps, without its last row.

    Raises:
        ValueError: There is none, or it is null elsewhere than in the last row.
    """
    column = named_column(table, name)
    if column.null_count != 1 or column[len(column) - 1].is_valid:
        raise ValueError(f"column {name!r} must be null in the last row and only there")
    return column.slice(0, len(column) - 1)


def encode_rows(array: np.ndarray, *, then_null: bool = False) -> pa.Array:
    """One flat list per row of an array; Parquet does not keep shapes.

    Args:
        array: Numbers of shape (rows, ...).
        then_null: Add one null row at the end.
    """
    width = array[0].size
    offsets = np.arange(0, (len(array) + 1) * width, width, dtype=np.int32)
    rows = pa.ListArray.from_arrays(offsets, pa.array(np.ascontiguousarray(array).reshape(-1)))
    return pa.concat_arrays([rows, pa.nulls(1, rows.type)]) if then_null else rows


def decode_rows(name: str, column: pa.Array, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The array of shape `shape` that `encode_rows` made a column of.

    Raises:
        ValueError: The column is not of that type, or a row is not of that size.
    """
    if not pa.types.is_list(column.type) or column.type.value_type != pa.from_numpy_dtype(dtype):
        raise ValueError(f"column {name!r} is {column.type}, expected lists of {dtype}")
    width = int(np.prod(shape[1:], dtype=np.int64))
    values = column.flatten()
    lengths = np.diff(column.offsets.to_numpy())
    if column.null_count or values.null_count or (lengths != width).any():
        raise ValueError(f"column {name!r} does not hold {width} values in every row")
    return values.to_numpy(zero_copy_only=False).astype(dtype).reshape(shape)


def encode_images(images: np.ndarray) -> pa.Array:
    """One PNG per image, in the struct that LeRobot's readers take for an image.

    Args:
        images: uint8 of shape (rows, height, width, 3).
    """
    rows = []
    for image in images:
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, format="PNG", compress_level=1)
        rows.append({"bytes": buffer.getvalue(), "path": None})
    return pa.array(rows, IMAGE_TYPE)


def decode_images(
    name: str, column: pa.Array, shape: tuple[int, ...], dtype: np.dtype
) -> np.ndarray:
    """The images of shape `shape` that `encode_images` made a column of.

    Raises:
        ValueError: An image is missing, or is not of that shape and type.
        OSError, SyntaxError, zlib.error: A PNG is damaged (Pillow raises any of the three).
    """
    images = np.empty(shape, dtype)
    for index, row in enumerate(column.to_pylist()):
        if row is None or row["bytes"] is None:
            raise ValueError(f"column {name!r} has no image in row {index}")
        image = np.asarray(Image.open(io.BytesIO(row["bytes"]), formats=["PNG"]))
        if image.shape != shape[1:] or image.dtype != dtype:
            raise ValueError(
                f"column {name!r} holds {image.dtype} images of shape {image.shape}, expected "
                f"{dtype} of {shape[1:]}"
            )
        images[index] = image
    return images
