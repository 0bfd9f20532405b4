"""The jail for images: a program of its own that decodes what nobody trusts and writes it anew.

Run as `python -I decode.py TYPE < file > answer`, in a process without secrets in its environment. It limits itself
before it reads a byte: address space, CPU, no files, no core. The answer is one line of JSON, `{"verdict": "ok",
"width", "height"}` or `{"verdict": CODE}`, and after it the new file. Written anew, a picture has lost EXIF, GPS,
comments, colour profiles (applied first, with the orientation) and whatever was hidden behind or inside it.

Pillow is imported here and nowhere else; `images` imports the limits from here, so the API never loads it.
"""

import io
import json
import resource
import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

BYTES_MAX = 20 * 1024 * 1024
"""Largest file taken. LinkedIn takes 20 MB, every other network of ours less."""
OUTPUT_BYTES_MAX = 32 * 1024 * 1024
"""Largest file written anew: a PNG squeezed by a patient tool grows when we write it with the usual effort."""
PIXELS_MAX = 50_000_000
"""Most pixels of one picture: the largest phone cameras make 50 million."""
FRAMES_MAX = 300
"""Most frames of an animation: ten seconds at 30 a second."""
FRAME_PIXELS_SUM_MAX = 100_000_000
"""Most pixels over all frames: 200 of 700 x 700. An animated WebP of that size takes 5 s and 860 MB, measured."""
MEMORY_BYTES_MAX = 1024 * 1024 * 1024
"""Address space: 50 million pixels of 4 bytes, held three times while the orientation is applied, and the libraries."""
CPU_S_MAX = 20
PROFILE_BYTES_MAX = 4 * 1024 * 1024
"""Largest colour profile applied; those of print shops reach 2 MB. A larger one is dropped unread."""
QUALITY = 92
"""Of a JPEG whose own tables cannot be kept, and of lossy WebP: no visible loss."""
FORMATS = {"image/jpeg": "JPEG", "image/png": "PNG", "image/gif": "GIF", "image/webp": "WEBP"}

OK = "ok"
TOO_LARGE = "image_too_large"
INVALID = "media_invalid"


class VerdictError(Exception):
    """The file is not taken; the argument is the code."""


def limit() -> None:
    """Give up what a decoder does not need, for good."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES_MAX, MEMORY_BYTES_MAX))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S_MAX, CPU_S_MAX))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def count_gif_frames(data: bytes, stop: int) -> int:
    """Count the frames of a GIF by its blocks, decoding nothing, up to `stop`. Raises VerdictError where they break off.

    Pillow's own count takes seconds for a hundred thousand frames, and cannot be stopped.
    """
    try:
        flags, place, frames = data[10], 13, 0
        place += 3 << ((flags & 7) + 1) if flags & 0x80 else 0
        while frames < stop:
            kind = data[place]
            if kind == 0x3B:
                return frames
            if kind == 0x2C:
                frames += 1
                flags = data[place + 9]
                place += 11 + (3 << ((flags & 7) + 1) if flags & 0x80 else 0)
            elif kind == 0x21:
                place += 2
            else:
                raise VerdictError(INVALID)
            while size := data[place]:
                place += size + 1
            place += 1
    except IndexError as error:
        raise VerdictError(INVALID) from error
    return frames


def decode(data: bytes, content_type: str) -> tuple[int, int, bytes]:
    """Decode and write anew: width, height, bytes. Raises VerdictError."""
    if content_type == "image/gif" and count_gif_frames(data, FRAMES_MAX + 1) > FRAMES_MAX:
        raise VerdictError(TOO_LARGE)
    from PIL import GifImagePlugin, Image

    warnings.simplefilter("ignore")
    warnings.simplefilter("error", Image.DecompressionBombWarning)
    Image.MAX_IMAGE_PIXELS = PIXELS_MAX
    # Keeps frames that share a palette as they are; the default makes true colour of them and chooses colours anew.
    GifImagePlugin.LOADING_STRATEGY = GifImagePlugin.LoadingStrategy.RGB_AFTER_DIFFERENT_PALETTE_ONLY
    try:
        with Image.open(io.BytesIO(data), formats=[FORMATS[content_type]]) as image:
            width, height = image.size
            frames = getattr(image, "n_frames", 1) if content_type in {"image/gif", "image/webp"} else 1
            if width * height > PIXELS_MAX or frames > FRAMES_MAX or width * height * frames > FRAME_PIXELS_SUM_MAX:
                raise VerdictError(TOO_LARGE)
            return _animation(image, content_type, frames) if frames > 1 else _still(image, content_type, data)
    except (Image.DecompressionBombWarning, Image.DecompressionBombError, MemoryError) as error:
        raise VerdictError(TOO_LARGE) from error
    except VerdictError:
        raise
    except Exception as error:  # decoders raise whatever the bytes lead them into; none of it is ours to tell apart
        raise VerdictError(INVALID) from error


def _still(image: "Image", content_type: str, data: bytes) -> tuple[int, int, bytes]:
    options: dict[str, Any] = {}
    image.load()
    if content_type == "image/jpeg":
        from PIL import JpegImagePlugin

        options = {"quality": QUALITY}
        if image.mode in {"L", "RGB"} and isinstance(image, JpegImagePlugin.JpegImageFile):
            # The tables of the original: written with them again, a picture loses next to nothing.
            options = {"qtables": image.quantization, "subsampling": JpegImagePlugin.get_sampling(image)}
    elif content_type == "image/webp":
        lossless = b"VP8L" in data[12:16] or (data[12:16] == b"VP8X" and b"VP8L" in data[:4096])
        options = {"quality": QUALITY, "lossless": lossless, "method": 2}
    image = _upright(_in_srgb(image))
    if content_type == "image/jpeg" and image.mode not in {"L", "RGB"}:
        image = image.convert("RGB")
    # Encoders take comments, profiles and EXIF from here; transparency is part of the picture.
    image.info = {key: value for key, value in image.info.items() if key == "transparency"}
    return image.width, image.height, _write(image, content_type, options)


def _upright(image: "Image") -> "Image":
    from PIL import ImageOps

    try:
        return ImageOps.exif_transpose(image)
    except MemoryError:
        raise
    except Exception:  # broken EXIF is no reason to refuse a picture that decodes
        return image


def _in_srgb(image: "Image") -> "Image":
    profile = image.info.get("icc_profile")
    if not profile or len(profile) > PROFILE_BYTES_MAX or image.mode not in {"RGB", "RGBA", "CMYK"}:
        return image
    from PIL import ImageCms

    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        mode = "RGB" if image.mode == "CMYK" else image.mode
        converted = ImageCms.profileToProfile(image, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return image  # a broken profile is dropped
    if converted is None:
        return image
    converted.info.setdefault("exif", image.info.get("exif", b""))
    return converted


def _animation(image: "Image", content_type: str, frames: int) -> tuple[int, int, bytes]:
    options: dict[str, Any] = {"save_all": True, "loop": image.info.get("loop", 0)}
    if content_type == "image/gif":
        # Without `loop` a GIF plays once: that must not turn into "for ever".
        options = {"save_all": True, "comment": b"", "optimize": False}
        if "loop" in image.info:
            options["loop"] = image.info["loop"]
    else:
        durations = []
        for number in range(frames):
            image.seek(number)
            image.load()
            durations.append(image.info.get("duration", 100))
        image.seek(0)
        options |= {"duration": durations, "quality": QUALITY, "method": 0, "icc_profile": b"", "exif": b"", "xmp": b""}
    return image.width, image.height, _write(image, content_type, options)


def _write(image: "Image", content_type: str, options: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    image.save(out, FORMATS[content_type], **options)
    if out.tell() > OUTPUT_BYTES_MAX:
        raise VerdictError(TOO_LARGE)
    return out.getvalue()


def main() -> None:
    """Read the file from stdin, answer on stdout."""
    limit()
    data = b""
    try:
        width, height, data = decode(sys.stdin.buffer.read(BYTES_MAX + 1), sys.argv[1])
        head: dict[str, Any] = {"verdict": OK, "width": width, "height": height}
    except VerdictError as verdict:
        head = {"verdict": str(verdict)}
    except MemoryError:
        head = {"verdict": TOO_LARGE}
    sys.stdout.buffer.write(json.dumps(head).encode() + b"\n" + data)
    sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
