"""Bad values in good forms: times, texts, addresses, files and sheets."""

from tenants.posts.sheet import BYTES_MAX, ROWS_MAX
from tests.contract.bad_input import LATER, POSTS, Bad, post
from tests.media import files

MEDIA = "/v1/workspaces/{workspace}/media"
SESSIONS = "/v1/workspaces/{workspace}/connect-sessions"
RESOLVE = "/v1/workspaces/{workspace}/publications/{publication}/resolve"


def _times() -> list[Bad]:
    when = [
        *(
            ("B32", at, None, code)
            for at, code in (
                ("2020-01-01T00:00:00Z", "in_the_past"),
                ("2036-12-24T09:00:00Z", "too_far_ahead"),
                ("2027-06-01T09:00:00", "naive_instant"),
                ("2027-06-01T24:00:00Z", "validation_failed"),
                ("2027-06-01T09:00:60Z", "validation_failed"),
                ("2027-06-01T09:00:00+25:00", "validation_failed"),
                ("0000-01-01T00:00:00Z", "validation_failed"),
                ("10000-01-01T00:00:00Z", "validation_failed"),
                ("9999-12-31T23:59:59-23:59", "too_far_ahead"),
                ("0001-01-01T00:00:00+23:59", "too_far_ahead"),
                ("2027-02-29T09:00:00Z", "validation_failed"),
                ("2027-06-01", "validation_failed"),
                ("20270601T0900Z", "validation_failed"),
                ("2027-W22-2T09:00:00Z", "validation_failed"),
                ("2027-06-01 09:00:00Z", "validation_failed"),
                ("٢٠٢٧-06-01T09:00:00Z", "validation_failed"),
                ("tomorrow", "validation_failed"),
            )
        ),
        *(
            ("B34", "2027-06-01T09:00:00", zone, "unknown_time_zone")
            for zone in (
                "Mars/Phobos",
                "UTC+2",
                "localtime",
                "../../etc/passwd",
                "/etc/localtime",
                "",
                "Europe/Berlin ",
                "posixrules",
                "x" * 64,
            )
        ),
    ]
    rows = []
    for kind, at, zone, code in when:
        schedule = {"at": at} | ({} if zone is None else {"time_zone": zone})
        place = "/schedule/time_zone" if kind == "B34" else "/schedule/at"
        rows.append(Bad(kind, f"{at} {zone or ''}", 422, code, place, body=post(schedule=schedule)))
    rows += [
        Bad("B32", f"{value!r} for a schedule", 422, "validation_failed", body=post(schedule=value))
        for value in (1, True, "soon", [], {}, {"at": 1_800_000_000})
    ]
    rows += [
        Bad("B34", zone, 422, "validation_failed", "/time_zone", path="/v1/workspaces", body={"name": "w", "time_zone": zone})
        for zone in ("Mars/Phobos", "UTC+2", "../UTC", "")
    ]
    return rows


def _texts() -> list[Bad]:
    rows = [
        Bad("B38", name, 422, "post_invalid", body=post(text=text, schedule=LATER))
        for name, text in (
            ("nothing", ""),
            ("blanks", "   "),
            ("a space of no width", "\u200b"),
            ("joiners", "\u200d\u2060"),
            ("501 characters", "x" * 501),
            ("a family too many", "👨‍👩‍👧‍👦" * 100),
            ("Zalgo", "x" + "\u0301" * 1_000),
            ("63,206 characters", "x" * 63_206),
        )
    ]
    rows += [Bad("B38", "63,207 characters", 422, "validation_failed", "/text", body=post(text="x" * 63_207))]
    rows += [Bad("B38", "a million characters", 413, "body_too_large", body=post(text="x" * 1_000_000))]
    rows += [
        Bad(
            "B38",
            f"a workspace called {name!r}",
            422,
            "validation_failed",
            "/name",
            path="/v1/workspaces",
            body={"name": name, "time_zone": "UTC"},
        )
        for name in ("", " ", "\u200b", "x" * 201)
    ]
    return rows


SCHEMES = (
    "javascript:alert(1)", "data:text/html,x", "file:///etc/passwd", "gopher://example.com/", "//example.com/a", "https://",
    "http:\\\\example.com", "http://example.com/a.png", "ftp://example.com/a", "example.com/a.png",
)  # fmt: skip
HOSTS = {
    "B41": ("127.0.0.1", "localhost", "0.0.0.0", "[::1]", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::ffff:127.0.0.1]"),
    "B43": ("169.254.169.254", "metadata.google.internal", "100.100.100.200", "192.0.0.192", "[64:ff9b::a9fe:a9fe]", "10.0.0.1"),
    "B46": (
        "user:pass@example.com", "example.com:22", "example.com:6379", "exa_mple.com", "localhost.", "x" * 300 + ".com",
    ),
}  # fmt: skip


def _addresses() -> list[Bad]:
    rows = [Bad("B40", url, 422, "url_not_allowed", "/url", path=MEDIA, body={"url": url}) for url in SCHEMES]
    rows += [Bad("B40", "no address", 422, "validation_failed", "/url", path=MEDIA, body={"url": ""})]
    rows += [
        Bad(kind, host[:40], 422, "url_not_allowed", "/url", path=MEDIA, body={"url": f"https://{host}/a.png"})
        for kind, hosts in HOSTS.items()
        for host in hosts
    ]
    for url in ("javascript:alert(1)", "//example.com", "http://example.com", "https://user:pass@example.com", "data:,x"):
        body = {"network": "sandbox", "return_url": url}
        rows += [Bad("B40", f"to {url}", 422, "validation_failed", "/return_url", "url_not_allowed", path=SESSIONS, body=body)]
    for url in ("javascript:alert(1)", "data:,x", "//example.com"):
        body = {"outcome": "published", "external_url": url}
        rows += [Bad("B40", f"at {url}", 422, "validation_failed", "/external_url", path=RESOLVE, body=body)]
    return rows


def _files() -> list[Bad]:
    uploads = [
        ("B50", "SVG", files.SVG, "image/svg+xml", 415, "unsupported_media"),
        ("B50", "HTML as JPEG", files.HTML, "image/jpeg", 415, "unsupported_media"),
        ("B50", "a GIF that is a JAR", files.gifar(), "image/gif", 415, "unsupported_media"),
        ("B50", "PDF", files.PDF, "application/pdf", 415, "unsupported_media"),
        ("B50", "ZIP", files.archive(), "image/png", 415, "unsupported_media"),
        ("B50", "EXE", files.EXE, "image/gif", 415, "unsupported_media"),
        ("B51", "MP4", files.MP4, "video/mp4", 415, "unsupported_media"),
        ("B51", "a playlist as MP4", b"#EXTM3U\nfile:///etc/passwd", "video/mp4", 415, "unsupported_media"),
        ("B49", "65,535 x 65,535", files.png_bomb(), "image/png", 422, "image_too_large"),
        ("B49", "301 frames", files.gif_of_many_frames(301), "image/gif", 422, "image_too_large"),
        ("B49", "a WebP bomb", files.webp_bomb(), "image/webp", 422, "image_too_large"),
        ("B49", "a text bomb", files.png_text_bomb(), "image/png", 422, "media_invalid"),
        ("B49", "cut short", files.picture("PNG")[:-30], "image/png", 422, "media_invalid"),
        ("B48", "no bytes", b"", "image/png", 422, "media_invalid"),
        ("B49", "21 MB", b"\xff\xd8\xff" + bytes(21 * 1024 * 1024), "image/jpeg", 413, "body_too_large"),
    ]
    rows = [
        Bad(kind, name, status, code, path=MEDIA, sent={"files": {"file": ("a", data, declared)}})
        for kind, name, data, declared, status, code in uploads
    ]
    form: dict[str, str | bytes] = {"Content-Type": "multipart/form-data; boundary=b"}
    part = b'--b\r\nContent-Disposition: form-data; name="%s"\r\n\r\nx\r\n'
    parts = [
        ("10,000 parts", b"".join(part % (b"f%d" % number) for number in range(10_000)) + b"--b--", 400, "invalid_multipart"),
        ("a header of 1 MB", b"--b\r\n" + b"X" * 1_000_000 + b": y\r\n", 400, "invalid_multipart"),
        ("no end", part % b"file", 400, "invalid_multipart"),
        ("a preamble of 20 MB", b"no dash at all" * 1_500_000, 400, "invalid_multipart"),
        ("nothing", b"", 400, "invalid_multipart"),
        ("no file", part % b"alt_text" + b"--b--\r\n", 422, "validation_failed"),
    ]
    return rows + [Bad("B53", name, status, code, path=MEDIA, body=body, headers=form) for name, body, status, code in parts]


def _sheets() -> list[Bad]:
    sheets = [
        ("UTF-16", "text,account_ids\nх,y\n".encode("utf-16"), 400, "invalid_csv"),
        ("another encoding", "text\nх".encode("cp1251"), 400, "invalid_csv"),
        ("a quote that never ends", b'text,account_ids\n"x,y\n', 400, "invalid_csv"),
        ("NUL", b"text,account_ids\nx\0,y\n", 400, "invalid_csv"),
        ("10,000 columns", b",".join(b"c%d" % number for number in range(10_000)) + b"\n", 400, "invalid_csv"),
        ("a cell of 200 kB", b"text,account_ids\n" + b"x" * 200_000 + b",y\n", 400, "invalid_csv"),
        ("one row too many", b"text,account_ids\n" + b"x,y\n" * (ROWS_MAX + 1), 413, "body_too_large"),
        ("one byte too many", b"x" * (BYTES_MAX + 1), 413, "body_too_large"),
        ("nothing", b"", 400, "body_required"),
        ("no columns that we know", b"txet,account_ids\n", 422, "validation_failed"),
        ("a column twice", b"text,text,account_ids\n", 422, "validation_failed"),
    ]
    csv: dict[str, str | bytes] = {"Content-Type": "text/csv"}
    rows = [Bad("B54", name, status, code, path=f"{POSTS}/import", body=body, headers=csv) for name, body, status, code in sheets]
    rows += [
        Bad(
            "B08",
            f"a sheet as {kind}",
            415,
            "unsupported_content_type",
            path=f"{POSTS}/import",
            body=b"text\n",
            headers={"Content-Type": kind},
        )
        for kind in ("application/json", "text/plain", "text/csv; charset=utf-16")
    ]
    rows += [
        Bad(
            "B07",
            "a sheet in gzip",
            415,
            "unsupported_encoding",
            path=f"{POSTS}/import",
            body=b"text\n",
            headers=csv | {"Content-Encoding": "gzip"},
        )
    ]
    return rows


VALUES = [*_times(), *_texts(), *_addresses(), *_files(), *_sheets()]
