"""What is taken, what is refused under which code, and what a picture has lost when we keep it."""

import asyncio
import io
import resource
import subprocess
import sys
import tempfile
import time

import pytest
from PIL import Image

from core.errors import Problem, TemporarilyUnavailable
from tenants.media import decode, images
from tests.media import files

BOMB_S_MAX = 2.0
"""The table says 1 s on an idle machine; this one runs other tests beside us."""


async def take(data: bytes, declared: str | None = None) -> images.Picture:
    """Hand the bytes over as an upload does: in a file."""
    with tempfile.TemporaryFile() as file:
        file.write(data)
        return await images.take(file, declared)


def opened(picture: images.Picture) -> Image.Image:
    image = Image.open(io.BytesIO(picture.data))
    image.load()
    return image


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (files.picture("JPEG"), "image/jpeg"),
        (files.picture("JPEG", mode="L"), "image/jpeg"),
        (files.picture("JPEG", mode="CMYK"), "image/jpeg"),
        (files.picture("JPEG", progressive=True, quality=100, subsampling=0), "image/jpeg"),
        (files.picture("PNG"), "image/png"),
        (files.picture("PNG", mode="RGBA"), "image/png"),
        (files.picture("PNG", mode="P"), "image/png"),
        (files.picture("PNG", mode="1"), "image/png"),
        (files.picture("PNG", mode="I;16"), "image/png"),
        (files.picture("PNG", icc_profile=files.profile()), "image/png"),
        (files.picture("PNG", mode="RGBA", icc_profile=files.profile()), "image/png"),
        (files.picture("GIF", mode="P"), "image/gif"),
        (files.picture("WEBP"), "image/webp"),
        (files.picture("WEBP", mode="RGBA", lossless=True), "image/webp"),
    ],
)
async def test_a_picture_is_taken(data: bytes, content_type: str) -> None:
    picture = await take(data, content_type)
    assert (picture.content_type, picture.width, picture.height) == (content_type, 64, 48)
    image, before = opened(picture), Image.open(io.BytesIO(data))
    assert image.size == before.size
    assert "icc_profile" not in image.info
    if "A" in before.mode:
        assert "A" in image.mode
    difference = [abs(a - b) for a, b in zip(image.convert("L").tobytes(), before.convert("L").tobytes(), strict=True)]
    assert before.mode == "I;16" or max(difference) <= 8


@pytest.mark.parametrize("kind", ["GIF", "WEBP"])
async def test_an_animation_stays_one(kind: str) -> None:
    picture = await take(files.animation(kind, frames=5, loop=3))
    image = opened(picture)
    assert image.n_frames == 5  # type: ignore[attr-defined]  # animated kinds have it
    image.seek(2)
    image.load()
    assert image.info["duration"] == 70
    assert image.info["loop"] == 3


async def test_a_gif_that_plays_once_still_does() -> None:
    assert "loop" not in opened(await take(files.animation("GIF"))).info


@pytest.mark.parametrize(
    ("data", "declared"),
    [
        (files.SVG, "image/svg+xml"),
        (files.SVG, "image/png"),
        (b"\xef\xbb\xbf" + files.SVG, None),
        (files.HTML, "image/jpeg"),
        (files.PDF, "application/pdf"),
        (files.PDF, "image/png"),
        (files.archive(), "image/png"),
        (files.EXE, "image/gif"),
        (files.MP4, "video/mp4"),
        (files.TIFF, "image/tiff"),
        (files.HEIC, "image/heic"),
        (files.gifar(), "image/gif"),
        (files.gifar(comment=b"and a comment PK\x05\x06"), "image/gif"),
        (files.picture("JPEG") + files.archive(), "image/jpeg"),
        (files.picture("JPEG"), "text/html"),
        (files.picture("JPEG"), "application/pdf; charset=x"),
        (files.picture("PNG"), "image/svg+xml"),
        (b"\xff\xd8", "image/jpeg"),
        (b"GIF88a" + bytes(20), "image/gif"),
        (b"RIFF\0\0\0\0WAVEfmt ", "image/webp"),
    ],
)
async def test_another_kind_of_file_is_refused(data: bytes, declared: str | None) -> None:
    with pytest.raises(Problem) as caught:
        await take(data, declared)
    assert (caught.value.status, caught.value.code) == (415, "unsupported_media")


@pytest.mark.parametrize("declared", [None, "", "application/octet-stream", "image/png", "IMAGE/JPG; q=1"])
async def test_a_kind_of_picture_may_be_mistaken(declared: str | None) -> None:
    assert (await take(files.picture("JPEG"), declared)).content_type == "image/jpeg"


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (files.png_bomb(), 422, "image_too_large"),
        (files.png_bomb(7_072, 7_072), 422, "image_too_large"),
        (files.gif_of_many_frames(), 422, "image_too_large"),
        (files.gif_of_many_frames(301), 422, "image_too_large"),
        (files.webp_bomb(), 422, "image_too_large"),
        (files.png_text_bomb(), 422, "media_invalid"),
        (files.picture("JPEG", size=(640, 480))[:-4_000], 422, "media_invalid"),
        (files.picture("PNG")[:-30], 422, "media_invalid"),
        (files.animation("GIF")[:-30], 422, "media_invalid"),
        (files.picture("WEBP")[:-30], 422, "media_invalid"),
        (b"\xff\xd8\xff\xe0" + bytes(500), 422, "media_invalid"),
        (b"\x89PNG\r\n\x1a\n" + files.HTML, 422, "media_invalid"),
        (b"GIF89a" + files.HTML * 10, 422, "media_invalid"),
        (b"", 422, "media_invalid"),
        (b"\xff\xd8\xff" + bytes(decode.BYTES_MAX), 413, "body_too_large"),
    ],
)
async def test_a_bad_picture_is_refused_quickly(data: bytes, status: int, code: str) -> None:
    begun = time.monotonic()
    with pytest.raises(Problem) as caught:
        await take(data)
    assert (caught.value.status, caught.value.code) == (status, code)
    assert time.monotonic() - begun < BOMB_S_MAX


@pytest.mark.parametrize("data", [files.jpeg_with_huge_profile(), files.jpeg_with_huge_exif()])
async def test_what_hangs_on_a_picture_is_dropped(data: bytes) -> None:
    assert len(data) > 10_000_000
    picture = await take(data)
    assert len(picture.data) < 10_000


async def test_position_and_comment_are_gone_and_the_picture_stands_upright() -> None:
    data = files.photo_with_position()
    assert files.GPS_TEXT in data
    picture = await take(data)
    assert (picture.width, picture.height) == (48, 64)
    image = opened(picture)
    assert files.GPS_TEXT not in picture.data
    assert b"Exif" not in picture.data
    assert not image.getexif()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF"])
async def test_every_kind_loses_what_it_carries(kind: str) -> None:
    exif = Image.Exif()
    exif[0x010E] = files.GPS_TEXT.decode()
    options = {"comment": files.GPS_TEXT} if kind == "GIF" else {"exif": exif}
    for data in (
        files.picture(kind, mode="P" if kind == "GIF" else "RGB", **options),
        files.animation(kind, **options),
    ):
        assert files.GPS_TEXT in data
        assert files.GPS_TEXT not in (await take(data)).data


async def test_what_stands_behind_the_end_is_dropped() -> None:
    assert files.HTML not in (await take(files.picture("JPEG") + files.HTML)).data


async def test_a_wide_gamut_keeps_its_looks() -> None:
    """A profile that swaps red and green must show in the bytes once it is gone."""
    image = Image.new("RGB", (8, 8), (255, 0, 0))
    out = io.BytesIO()
    swapped = bytearray(files.profile())
    red, green = swapped.find(b"rXYZ", 128), swapped.find(b"gXYZ", 128)
    swapped[red : red + 4], swapped[green : green + 4] = b"gXYZ", b"rXYZ"
    image.save(out, "PNG", icc_profile=bytes(swapped))
    red_now, green_now, _ = opened(await take(out.getvalue())).convert("RGB").getpixel((4, 4))
    assert red_now < 100 < green_now


async def test_the_api_never_loads_a_decoder() -> None:
    code = "import sys, tenants.media.images, tenants.media.service; assert 'PIL' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_a_jail_has_no_secrets_and_few_means() -> None:
    code = (
        f"import os, runpy, resource; ns = runpy.run_path({str(images.DECODER)!r}); ns['limit']();"
        "assert resource.getrlimit(resource.RLIMIT_AS)[0] == ns['MEMORY_BYTES_MAX'];"
        "assert resource.getrlimit(resource.RLIMIT_FSIZE) == (0, 0)"
    )
    assert subprocess.run([sys.executable, "-I", "-c", code], check=False).returncode == 0
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] != 0


async def test_a_jail_that_hangs_or_floods_is_ended(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    program = images.Path(str(tmp_path)) / "jail.py"
    monkeypatch.setattr(images, "DECODER", program)
    monkeypatch.setattr(images, "DEADLINE_S", 0.5)
    for text in (
        "import time; time.sleep(60)",
        "import sys\nwhile True: sys.stdout.buffer.write(bytes(1 << 20))",
        "import os; os.kill(os.getpid(), 9)",
        "print('[]')",
        'print(\'{"verdict": "ok", "width": 1, "height": 1}\\n<html>\')',
    ):
        program.write_text(text)
        with pytest.raises(Problem) as caught:
            await take(files.picture())
        assert caught.value.code == "media_invalid"


async def test_a_crowd_waits_and_then_is_told_to_come_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(images, "WAIT_S", 0.05)
    async with images.jail_slot(), images.jail_slot():
        with pytest.raises(TemporarilyUnavailable):
            async with images.jail_slot():
                pass
    async with asyncio.timeout(1), images.jail_slot():
        pass
