"""File names that people and programs send (reliability B52)."""

import pytest

from api.v1.media import content_disposition
from tenants.media.names import NAME_LENGTH_MAX, clean_name


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("buns.jpg", "buns.jpg"),
        ("Buns.JPEG", "Buns.JPEG"),
        ("../../etc/passwd", "passwd.jpg"),
        ("..\\..\\windows\\x.jpg", "x.jpg"),
        ("/", "file.jpg"),
        ("..", "file.jpg"),
        ("", "file.jpg"),
        (".jpg", "jpg.jpg"),
        (" . jpg", "jpg.jpg"),
        ("con.jpg", "_con.jpg"),
        ("COM1.x.jpg", "_COM1.x.jpg"),
        ("concert.jpg", "concert.jpg"),
        ("page.html", "page.html.jpg"),
        ("run.exe", "run.exe.jpg"),
        ("photo\u202egpj.exe", "photogpj.exe.jpg"),
        ("a\r\nSet-Cookie: x=1.jpg", "aSet-Cookie_ x=1.jpg"),
        ('a"b;c.jpg', "a_b;c.jpg"),
        ("nul\0byte.jpg", "nulbyte.jpg"),
        ("\ud800.jpg", "jpg.jpg"),
        ("Bro\u0308tchen.jpg", "Brötchen.jpg"),
        ("фото.jpg", "фото.jpg"),
        ("🥐.jpg", "🥐.jpg"),
    ],
)
def test_names(given: str, kept: str) -> None:
    assert clean_name(given, "image/jpeg") == kept


def test_the_suffix_is_that_of_the_bytes() -> None:
    assert clean_name("buns.jpg", "image/png") == "buns.jpg.png"


@pytest.mark.parametrize("given", ["x" * 4_096, "ж" * 4_096 + ".jpg", "a." * 2_000 + "jpg", "🥐" * 1_000])
def test_long_names_are_cut(given: str) -> None:
    kept = clean_name(given, "image/jpeg")
    assert len(kept) <= NAME_LENGTH_MAX
    assert len(kept.encode()) <= 255 * 2
    assert kept.endswith(".jpg")
    kept.encode()


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("buns.jpg", "attachment; filename=\"buns.jpg\"; filename*=UTF-8''buns.jpg"),
        ("Brötchen.jpg", "attachment; filename=\"Bro_tchen.jpg\"; filename*=UTF-8''Br%C3%B6tchen.jpg"),
        ("a b'%.jpg", "attachment; filename=\"a b'_.jpg\"; filename*=UTF-8''a%20b%27%25.jpg"),
        ('"; x="y', "attachment; filename=\"_; x=_y\"; filename*=UTF-8''%22%3B%20x%3D%22y"),
        ("a\r\nb", "attachment; filename=\"a__b\"; filename*=UTF-8''a%0D%0Ab"),
    ],
)
def test_content_disposition(name: str, header: str) -> None:
    assert content_disposition(name) == header
