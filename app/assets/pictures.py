"""Pictures that somebody sent: known by their content, turned upright, and rid of all that is no picture."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from threading import BoundedSemaphore

import structlog
from PIL import Image, ImageOps

log = structlog.get_logger()

MAX_PIXELS = 50_000_000
"""A picture of this size takes 200 MB while it is read; a few kilobytes can claim to be one of any size."""
KINDS = {"JPEG": ("jpg", "image/jpeg"), "PNG": ("png", "image/png"), "WEBP": ("webp", "image/webp")}
QUALITY = 90

# Our own limit is an error where Pillow's is a warning first.
Image.MAX_IMAGE_PIXELS = None
_turns = BoundedSemaphore(2)


class NotAPicture(Exception):
    """The file is no picture that we take; one sentence, safe to show, says why."""


@dataclass(frozen=True, slots=True)
class Picture:
    """An encoded picture."""

    content: bytes
    extension: str
    content_type: str


def clean_picture(content: bytes) -> Picture:
    """The picture in a JPEG, PNG or WebP file, as a file of the same kind that holds nothing but its pixels.

    Metadata (where it was taken, by whom), further frames and whatever else may hide in a file are left behind. Raises
    NotAPicture.
    """
    with _opened(content) as image:
        kind = image.format if image.format in KINDS else "JPEG"
        upright = ImageOps.exif_transpose(image)
        plain = upright.convert(_mode_of(upright, kind))
        # Pillow would write some of it into the new file.
        plain.info.clear()
        encoded = BytesIO()
        plain.save(encoded, kind, quality=QUALITY)
    return Picture(encoded.getvalue(), *KINDS[kind])


def _mode_of(image: Image.Image, kind: str) -> str:
    if image.has_transparency_data and kind != "JPEG":
        return "RGBA"
    return "L" if image.mode in ("1", "L") else "RGB"


def thumbnail(content: bytes, size: int) -> bytes:
    """A picture as a JPEG of at most `size` pixels in each direction; raises NotAPicture."""
    with _opened(content) as image:
        # A JPEG is decoded at a fraction of its size at once.
        image.draft("RGB", (size, size))
        image.thumbnail((size, size))
        upright = ImageOps.exif_transpose(image).convert("RGBA")
        ground = Image.new("RGBA", upright.size, "white")
        ground.alpha_composite(upright)
        encoded = BytesIO()
        ground.convert("RGB").save(encoded, "JPEG", quality=QUALITY)
    return encoded.getvalue()


@contextmanager
def _opened(content: bytes) -> Iterator[Image.Image]:
    """A picture to work with, two at a time at most: each takes memory by its pixels, not by its bytes."""
    with _turns:
        try:
            # Pillow opens dozens of formats, some by running other programs.
            with Image.open(BytesIO(content), formats=list(KINDS)) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise NotAPicture(f"The picture has more than {MAX_PIXELS // 1_000_000} million pixels.")
                yield image
        except NotAPicture:
            raise
        except Exception as error:  # noqa: BLE001 - a hostile file makes a decoder raise anything
            log.info("picture_refused", error=repr(error)[:500])
            raise NotAPicture("The file is no JPEG, PNG or WebP picture, or it is damaged.") from None
