"""Files for the tests, good and bad: made with Pillow, or by hand where Pillow would refuse."""

import io
import struct
import zipfile
import zlib
from typing import Any

from PIL import Image, ImageCms, TiffImagePlugin

GPS_TEXT = b"Octavo Street 8"


def picture(kind: str = "JPEG", size: tuple[int, int] = (64, 48), mode: str = "RGB", **options: Any) -> bytes:
    """A small picture with some structure in it."""
    image = Image.linear_gradient("L").resize(size).convert(mode)
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def animation(kind: str = "GIF", frames: int = 3, size: tuple[int, int] = (20, 20), **options: Any) -> bytes:
    """Frames that differ, each 70 ms."""
    images = [Image.new("RGB", size, (number * 7 % 256, 10, 200)) for number in range(frames)]
    out = io.BytesIO()
    images[0].save(out, kind, save_all=True, append_images=images[1:], duration=70, **options)
    return out.getvalue()


def photo_with_position() -> bytes:
    """A JPEG that lies on its side (orientation 6) and tells where it was taken, in EXIF and in a comment."""
    exif = Image.Exif()
    exif[0x0112] = 6
    exif[0x010E] = GPS_TEXT.decode()
    rational = TiffImagePlugin.IFDRational
    exif.get_ifd(0x8825).update({1: "N", 2: (rational(52), rational(30), rational(0)), 29: GPS_TEXT.decode()})
    return picture(size=(64, 48), exif=exif, comment=GPS_TEXT)


def profile() -> bytes:
    """The bytes of an sRGB profile."""
    return ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """One chunk with its checksum."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_bomb(width: int = 65_535, height: int = 65_535) -> bytes:
    """A PNG whose header promises four thousand million pixels, in some kilobytes."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(4_000_000), 9)
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + png_chunk(b"IDAT", rows) + png_chunk(b"IEND", b"")


def png_text_bomb() -> bytes:
    """A PNG whose compressed text grows to 50 MB."""
    text = b"Comment\0\0" + zlib.compress(bytes(50_000_000), 9)
    whole = picture("PNG")
    return whole[:33] + png_chunk(b"zTXt", text) + whole[33:]


def gif_of_many_frames(count: int = 100_000) -> bytes:
    """One pixel, a hundred thousand times."""
    frame = b"\x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00"
    return b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff" + frame * count + b"\x3b"


def webp_bomb() -> bytes:
    """A WebP whose extended header promises 16,384 x 16,384."""
    side = (16_383).to_bytes(3, "little")
    chunks = b"VP8X" + struct.pack("<I", 10) + b"\x02\0\0\0" + side + side + b"ANIM" + struct.pack("<I", 6) + bytes(6)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WEBP" + chunks


def jpeg_segments(marker: int, payload: bytes) -> bytes:
    """`payload` in as many APPn segments as it takes."""
    pieces = [payload[at : at + 65_000] for at in range(0, len(payload), 65_000)]
    return b"".join(bytes((0xFF, marker)) + struct.pack(">H", len(piece) + 2) + piece for piece in pieces)


def jpeg_with_huge_profile(size_bytes: int = 15_000_000) -> bytes:
    """A JPEG with a colour profile of 15 MB (ICC allows 255 segments) that is none."""
    head, count = b"ICC_PROFILE\0", size_bytes // 64_000 + 1
    segments = [head + bytes((number + 1, count)) + b"x" * 64_000 for number in range(min(count, 255))]
    whole = picture()
    return whole[:2] + b"".join(jpeg_segments(0xE2, segment) for segment in segments) + whole[2:]


def jpeg_with_huge_exif(size_bytes: int = 15_000_000) -> bytes:
    """A JPEG with 15 MB of EXIF in segments."""
    whole = picture()
    return whole[:2] + b"".join(jpeg_segments(0xE1, b"Exif\0\0" + b"M" * 60_000) for _ in range(size_bytes // 60_000)) + whole[2:]


def archive(comment: bytes = b"") -> bytes:
    """A ZIP with one class file in it, as a JAR has."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as opened:
        opened.writestr("Evil.class", b"\xca\xfe\xba\xbe")
        opened.comment = comment
    return out.getvalue()


def gifar(comment: bytes = b"") -> bytes:
    """A GIF that is a JAR as well."""
    return animation() + archive(comment)


SVG = b'<?xml version="1.0"?><svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'
HTML = b"<!doctype html><script>alert(1)</script>"
PDF = b"%PDF-1.7\n1 0 obj\n"
EXE = b"MZ\x90\x00" + bytes(200)
MP4 = b"\x00\x00\x00\x20ftypisom\x00\x00\x02\x00isomiso2avc1mp41"
TIFF = b"II*\x00" + bytes(100)
HEIC = b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic"
