"""Pictures as people have them: turned on their side, with metadata, transparent, animated, damaged."""

from io import BytesIO
from typing import Any

from PIL import Image

ORIENTATION, ARTIST = 0x0112, 0x013B
SECRET = "48.8584 N, 2.2945 E"


def picture(kind: str = "JPEG", size: tuple[int, int] = (80, 40), mode: str = "RGB", **options: Any) -> bytes:
    """A picture whose upper left quarter is red, and the rest green. The lower right is transparent, if it can."""
    image = Image.new("RGBA", size, "lime")
    image.paste("red", (0, 0, size[0] // 2, size[1] // 2))
    if mode.endswith("A"):
        image.paste((0, 0, 0, 0), (size[0] // 2, size[1] // 2, *size))
    encoded = BytesIO()
    image.convert(mode).save(encoded, kind, **options)
    return encoded.getvalue()


def told() -> bytes:
    """EXIF that says where it was taken, and that it stands on its side: the upper left is to be the upper right."""
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    exif[ARTIST] = SECRET
    return exif.tobytes()


def opened(content: bytes) -> Image.Image:
    image = Image.open(BytesIO(content))
    image.load()
    return image


def bomb(kind: str = "PNG") -> bytes:
    """A few kilobytes that unpack to a hundred million pixels."""
    encoded = BytesIO()
    Image.new("1", (10_000, 10_000)).save(encoded, kind)
    return encoded.getvalue()
