"""Image files as users upload them: rotated by EXIF, with metadata, transparent, or hostile."""

from io import BytesIO
from typing import Any

from PIL import Image

ORIENTATION, ARTIST = 0x0112, 0x013B
SECRET = "48.8584 N, 2.2945 E"


def encoded_image(format_: str = "JPEG", size: tuple[int, int] = (80, 40), mode: str = "RGB", **options: Any) -> bytes:
    """An image with a red upper left quarter, the rest green; if `mode` has alpha, the lower right is transparent."""
    image = Image.new("RGBA", size, "lime")
    image.paste("red", (0, 0, size[0] // 2, size[1] // 2))
    if mode.endswith("A"):
        image.paste((0, 0, 0, 0), (size[0] // 2, size[1] // 2, *size))
    encoded = BytesIO()
    image.convert(mode).save(encoded, format_, **options)
    return encoded.getvalue()


def exif_data() -> bytes:
    """EXIF with a secret, and an orientation that turns the upper left into the upper right."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[ARTIST] = SECRET
    return exif.tobytes()


def decode(content: bytes) -> Image.Image:
    image = Image.open(BytesIO(content))
    image.load()
    return image


def decompression_bomb(format_: str = "PNG") -> bytes:
    """A few kilobytes that decode to a hundred million pixels."""
    encoded = BytesIO()
    Image.new("1", (10_000, 10_000)).save(encoded, format_)
    return encoded.getvalue()
