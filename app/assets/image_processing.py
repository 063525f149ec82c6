"""Uploaded images: checked by content, turned upright, re-encoded without metadata, scaled down."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from threading import BoundedSemaphore

import structlog
from PIL import Image, ImageOps

from app.core.messages import tr

log = structlog.get_logger()

MAX_PIXELS = 50_000_000
"""Decoding an image of this size takes 200 MB. A file of a few kilobytes can declare any size (decompression bomb)."""
FORMATS = {"JPEG": ("jpg", "image/jpeg"), "PNG": ("png", "image/png"), "WEBP": ("webp", "image/webp")}
"""Extension and content type of each accepted format, by Pillow's name."""
QUALITY = 90

# MAX_PIXELS is an error; Pillow's own limit is only a warning at first.
Image.MAX_IMAGE_PIXELS = None
# Two decoders at a time: memory depends on the pixels, which a small file may declare in millions.
_decoders = BoundedSemaphore(2)


class InvalidImage(Exception):
    """The file is no image that we accept; the message is one sentence that may be shown to the user."""


@dataclass(frozen=True, slots=True)
class EncodedImage:
    """An image file that we have encoded ourselves."""

    content: bytes
    extension: str
    content_type: str


def sanitize(content: bytes) -> EncodedImage:
    """Decode a JPEG, PNG or WebP file and encode its pixels anew in the same format.

    Metadata such as GPS position and author, further frames, and data appended to the file are dropped. Raises
    InvalidImage.
    """
    with _decoded(content) as image:
        format_ = image.format if image.format in FORMATS else "JPEG"
        upright = ImageOps.exif_transpose(image)
        plain = upright.convert(_mode_of(upright, format_))
        # Pillow would write some of these entries, such as comments, into the new file.
        plain.info.clear()
        encoded = BytesIO()
        plain.save(encoded, format_, quality=QUALITY)
    return EncodedImage(encoded.getvalue(), *FORMATS[format_])


def thumbnail(content: bytes, size: int) -> bytes:
    """A JPEG of the image, at most `size` pixels wide and high; raises InvalidImage."""
    with _decoded(content) as image:
        # Lets the JPEG decoder scale down while it decodes, which saves time and memory.
        image.draft("RGB", (size, size))
        image.thumbnail((size, size))
        upright = ImageOps.exif_transpose(image).convert("RGBA")
        background = Image.new("RGBA", upright.size, "white")
        background.alpha_composite(upright)
        encoded = BytesIO()
        background.convert("RGB").save(encoded, "JPEG", quality=QUALITY)
    return encoded.getvalue()


def _mode_of(image: Image.Image, format_: str) -> str:
    if image.has_transparency_data and format_ != "JPEG":
        return "RGBA"
    return "L" if image.mode in ("1", "L") else "RGB"


@contextmanager
def _decoded(content: bytes) -> Iterator[Image.Image]:
    with _decoders:
        try:
            # Named, because Pillow opens dozens of formats, some of them by running other programs.
            with Image.open(BytesIO(content), formats=list(FORMATS)) as image:
                if image.width * image.height > MAX_PIXELS:
                    raise InvalidImage(
                        tr(
                            "The image has more than {megapixels} million pixels. Please scale it down.",
                            rule="image",
                            megapixels=MAX_PIXELS // 1_000_000,
                        )
                    )
                yield image
        except InvalidImage:
            raise
        except Exception as error:  # noqa: BLE001 - a hostile file makes a decoder raise anything
            log.info("image_refused", error=repr(error)[:500])
            raise InvalidImage(
                tr("The file is not a JPEG, PNG or WebP image, or it is damaged.", rule="image")
            ) from None
