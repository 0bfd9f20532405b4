"""Bad forms: bodies, types, queries, ids, keys and headers that are none of this API's."""

from typing import Any

from tests.contract.bad_input import JSON, LATER, POSTS, Bad, post


def _bodies() -> list[Bad]:
    raw: list[tuple[str, str, bytes, dict[str, str], int, str]] = [
        ("B01", "NaN", b'{"text":NaN}', JSON, 400, "invalid_json"),
        ("B01", "Infinity", b'{"text":Infinity}', JSON, 400, "invalid_json"),
        ("B01", "-Infinity", b'{"text":-Infinity}', JSON, 400, "invalid_json"),
        ("B01", "1e999", b'{"text":1e999}', JSON, 400, "invalid_json"),
        ("B10", "5,000 digits", b'{"text":' + b"9" * 5_000 + b"}", JSON, 422, "validation_failed"),
        ("B02", "a lone surrogate", b'{"text":"\\ud800"}', JSON, 422, "invalid_unicode"),
        ("B02", "a lone surrogate as a name", b'{"\\udfff":1}', JSON, 422, "invalid_unicode"),
        ("B02", "surrogates the wrong way round", b'{"text":"\\udc00\\ud800"}', JSON, 422, "invalid_unicode"),
        ("B02", "a surrogate in UTF-8", b'{"text":"\xed\xa0\x80"}', JSON, 400, "invalid_json"),
        ("B02", "bytes that are no UTF-8", b'{"text":"\xff"}', JSON, 400, "invalid_json"),
        ("B03", "NUL", b'{"text":"a\\u0000b"}', JSON, 422, "invalid_character"),
        ("B03", "NUL as it is", b'{"text":"a\x00b"}', JSON, 400, "invalid_json"),
        ("B03", "NUL in a name", b'{"a\\u0000":1}', JSON, 422, "invalid_character"),
        ("B03", "NUL deep inside", b'{"variants":[{"options":{"a":["\\u0000"]}}]}', JSON, 422, "invalid_character"),
        ("B04", "a name twice", b'{"text":"a","text":"b"}', JSON, 400, "duplicate_key"),
        ("B04", "a name twice, written in two ways", b'{"text":"a","t\\u0065xt":"b"}', JSON, 400, "duplicate_key"),
        ("B04", "a name twice inside", b'{"metadata":{"a":"1","a":"2"}}', JSON, 400, "duplicate_key"),
        ("B05", "100,000 arrays", b"[" * 100_000, JSON, 400, "too_deep"),
        ("B05", "100,000 objects, cut at the limit", (b'{"a":' * 100_000)[:250_000], JSON, 400, "too_deep"),
        ("B05", "33 levels", b'{"a":' * 33 + b"1" + b"}" * 33, JSON, 400, "too_deep"),
        ("B06", "300 kB", b'{"text":"' + b"x" * 300_000 + b'"}', JSON, 413, "body_too_large"),
        ("B06", "10 MB", b'{"text":"' + b"x" * 10_000_000 + b'"}', JSON, 413, "body_too_large"),
        ("B06", "300 kB as multipart", b"x" * 300_000, {"Content-Type": "multipart/x"}, 413, "body_too_large"),
        *(
            ("B07", how, b"{}", JSON | {"Content-Encoding": how}, 415, "unsupported_encoding")
            for how in ("gzip", "deflate", "br", "zstd", "gzip, identity")
        ),
        *(
            ("B08", kind or "no content type", b"{}", {"Content-Type": kind} if kind else {}, 415, "unsupported_content_type")
            for kind in (
                "text/plain",
                "application/json; charset=utf-16",
                "application/json; charset=latin-1",
                "",
                "text/csv",
                "application/x-www-form-urlencoded",
                "multipart/form-data; boundary=b",
                "application/jsonx",
                "json",
            )
        ),
        ("B09", "a byte order mark", b"\xef\xbb\xbf{}", JSON, 400, "invalid_json"),
        ("B09", "two documents", b"{} {}", JSON, 400, "invalid_json"),
        ("B09", "something behind it", b"{}x", JSON, 400, "invalid_json"),
        ("B09", "single quotes", b"{'text':'x'}", JSON, 400, "invalid_json"),
        ("B09", "a comma at the end", b'{"text":"x",}', JSON, 400, "invalid_json"),
        ("B78", "nothing", b"", JSON, 400, "body_required"),
        ("B78", "blanks", b"  \n", JSON, 400, "invalid_json"),
        ("B78", "null", b"null", JSON, 422, "validation_failed"),
        ("B78", "an array", b"[]", JSON, 422, "validation_failed"),
        ("B78", "a string", b'"text"', JSON, 422, "validation_failed"),
        ("B78", "a number", b"1", JSON, 422, "validation_failed"),
    ]
    rows = [Bad(kind, name, status, code, body=body, headers=dict(headers)) for kind, name, body, headers, status, code in raw]
    large = b'{"text":"' + b"x" * 300_000 + b'"}'
    return [*rows, Bad("B06", "300 kB in chunks", 413, "body_too_large", body=large, headers=dict(JSON), chunked=True)]


def _types() -> list[Bad]:
    window = [
        ("2^63", 2**63, "validation_failed"),
        ("2^53+1", 2**53 + 1, "validation_failed"),
        ("1.0", 3600.0, "validation_failed"),
        ("a string", "3600", "validation_failed"),
        ("true", True, "validation_failed"),
        ("null", None, "validation_failed"),
        ("59", 59, "validation_failed"),
    ]
    path = "/v1/workspaces/{workspace}"
    rows = [Bad("B10", name, 422, code, method="PATCH", path=path, body={"late_window_s": value}) for name, value, code in window]
    rows += [
        Bad("B10", f"{name} for a text", 422, "validation_failed", "/text", body=post(text=value))
        for name, value in (("a number", 1), ("an array", ["x"]), ("an object", {"x": 1}), ("null", None))
    ]
    unknown = ("tenant_id", "agency_id", "state", "published_at", "livemode", "version", "id", "__proto__", "text ")
    rows += [Bad("B11", name, 422, "unknown_field", f"/{name}", body=post(**{name: 1})) for name in unknown]
    rows += [Bad("B11", "inside", 422, "unknown_field", "/schedule/tz", body=post(schedule=LATER | {"tz": "UTC"}))]
    return rows


def _queries() -> list[Bad]:
    rows = [
        *(
            ("B13", f"limit={value}", 400, "invalid_parameter")
            for value in ("0", "-1", "101", "1e9", "abc", "", "1.0", "%2B5", "1_0", "%205", "%D9%A5", "9" * 5_000)
        ),
        ("B13", "limit=5&limit=7", 400, "repeated_parameter"),
        ("B13", "limti=5", 400, "unknown_parameter"),
        ("B13", "offset=5", 400, "unknown_parameter"),
        ("B13", "LIMIT=5", 400, "unknown_parameter"),
        ("B02", "external_ref=%ED%A0%80", 422, "invalid_unicode"),
        ("B02", "external_ref=%FF", 422, "invalid_unicode"),
        ("B03", "state=%00", 422, "invalid_character"),
        ("B03", "external_ref=a%00b", 422, "invalid_character"),
        ("B13", "cursor=abc", 400, "invalid_cursor"),
        ("B13", "cursor=%0A", 400, "invalid_cursor"),
        ("B13", "cursor=" + "A" * 201, 400, "invalid_parameter"),
        ("B15", "account_id={workspace}", 400, "invalid_parameter"),
        ("B15", "account_id=' OR 1=1--", 400, "invalid_parameter"),
        ("B32", "due_at[gte]=2026-01-01T00:00:00", 400, "invalid_parameter"),
        ("B32", "due_at[gte]=1", 400, "invalid_parameter"),
        ("B32", "due_at[gt]=2026-01-01T00:00:00Z", 400, "unknown_parameter"),
        ("B56", "sort=tenant_id;drop table posts", 400, "unknown_parameter"),
        ("B56", "state=' OR 1=1--", 400, "invalid_parameter"),
        ("B56", "state=faild", 400, "invalid_parameter"),
        ("B57", "expand=*", 400, "unknown_parameter"),
        ("B57", "expand=a.b.c.d.e.f.g.h.i.j", 400, "unknown_parameter"),
        ("B21", "key=oct_live_abc", 400, "key_in_query"),
        ("B21", "key=oct%5Ftest_abc", 400, "key_in_query"),
    ]
    return [Bad(kind, query[:60], status, code, method="GET", path=f"{POSTS}?{query}") for kind, query, status, code in rows] + [
        Bad(
            "B10",
            f"dry_run={value}",
            400,
            "invalid_parameter",
            path=f"{POSTS}/import?dry_run={value}",
            body=b"text,account_ids\n",
            headers={"Content-Type": "text/csv"},
        )
        for value in ("1", "yes", "True", "")
    ]


def _ids() -> list[Bad]:
    wrong = (
        "pst_' OR 1=1--",
        "..%2f..%2fx",
        "%2e%2e%2f",
        "pst_" + "0" * 10_000,
        "{workspace}",
        "ws_01kazm3v9sfa4t2tq9gk1x7c5e",
        "PST_01kazm3v9sfa4t2tq9gk1x7c5e",
        "pst_01KAZM3V9SFA4T2TQ9GK1X7C5E",
        "pst_81kazm3v9sfa4t2tq9gk1x7c5e",
        "pst_",
        "_",
        "null",
        "pst_01kazm3v9sfa4t2tq9gk1x7c5e%0A",
        "pst_%00",
        "%00",
        "%ED%A0%80",
        "1",
        "00000000-0000-0000-0000-000000000000",
    )
    kinds = {"%00": "B03", "pst_%00": "B03", "%ED%A0%80": "B02"}
    rows = [Bad(kinds.get(id, "B15"), f"/{id[:60]}", 404, "not_found", method="GET", path=f"{POSTS}/{id}") for id in wrong]
    rows += [
        Bad(
            "B15",
            f"{method} /{wrong[0]}",
            404,
            "not_found",
            method=method,
            path=f"{POSTS}/{wrong[0]}",
            body={"text": "x"},
            headers={"If-Match": "*"},
        )
        for method in ("PATCH", "DELETE")
    ]
    rows += [
        Bad("B15", f"account {id[:40]}", 422, "validation_failed", "/account_ids/0", body=post(account_ids=[id]))
        for id in ("{post}", "' OR 1=1--", "", "acc_" + "0" * 10_000)
    ]
    return rows


def _keys() -> list[Bad]:
    me: dict[str, Any] = {"method": "GET", "path": "/v1/me"}
    refused = ("none", "garbage", "truncated", "wrong checksum", "expired", "revoked", "of nobody", "other mode", "basic", "twice")
    rows = [Bad("B21", f"key: {which}", 401, "unauthenticated", key=which, **me) for which in refused]
    rows += [Bad("B21", f"POST, key: {which}", 401, "unauthenticated", key=which, body=post()) for which in refused]
    idempotency: dict[str, str | bytes] = {
        "empty": "",
        "300 characters": "k" * 300,
        "a quote at one end": '"abc',
        "a blank inside": "a b",
        "no ASCII": "ключ".encode(),
        "a backslash": "a\\b",
        "quotes around nothing": '""',
        "a surrogate": b"\xed\xa0\x80",
        "a tab": "a\tb",
    }
    rows += [
        Bad("B26", name, 400, "invalid_idempotency_key", body=post(), headers={"Idempotency-Key": value})
        for name, value in idempotency.items()
    ]
    one = f"{POSTS}/{{post}}"
    patch: dict[str, Any] = {"method": "PATCH", "path": one, "body": {"text": "y"}}
    rows += [Bad("B31", "no If-Match", 428, "precondition_required", **patch)]
    rows += [
        Bad("B31", f"If-Match: {tag}", 400, "invalid_if_match", headers={"If-Match": tag}, **patch)
        for tag in ("1", 'W/"1"', '"abc"', '"1", "2"', '""', "garbage")
    ]
    rows += [Bad("B31", "a version that is over", 412, "precondition_failed", headers={"If-Match": '"999"'}, **patch)]
    rows += [Bad("B24", "a key without the permission", 403, "permission_denied", key="reader", body=post())]
    rows += [
        Bad(
            "B25",
            "a key that holds more than its maker",
            403,
            "permission_denied",
            key="maker",
            path="/v1/api-keys",
            body={"name": "k", "scopes": ["post:delete"]},
        )
    ]
    rows += [
        Bad(
            "B25", "a scope that does not exist", 422, "validation_failed", path="/v1/api-keys", body={"name": "k", "scopes": ["*"]}
        )
    ]
    return rows


def _requests() -> list[Bad]:
    rows = [
        Bad("B65", f"Host: {host}", 421, "misdirected_request", method="GET", path="/v1/me", headers={"Host": host})
        for host in ("evil.example", "octavo.test.evil.example", "", "octavo.test@evil.example")
    ]
    rows += [
        Bad("B69", method, 405, "method_not_allowed", method=method, path="/v1/me")
        for method in ("TRACE", "PROPFIND", "PUT", "DELETE", "POST", "FOO")
    ]
    rows += [Bad("B69", "a method by header", 405, "method_not_allowed", path="/v1/me", headers={"X-HTTP-Method-Override": "GET"})]
    rows += [
        Bad("B69", path, 404, "not_found", method="GET", path=path)
        for path in ("/v1/workspaces/", "/v1/me/", "//v1/me", "/v2/me", "/v1/Workspaces")
    ]
    rows += [
        Bad(
            "B79",
            f"Octavo-Version: {value}",
            400,
            "invalid_version_header",
            method="GET",
            path="/v1/me",
            headers={"Octavo-Version": value},
        )
        for value in ("garbage", "", "2026-1-1", "../..")
    ]
    return rows


FORMS = [*_bodies(), *_types(), *_queries(), *_ids(), *_keys(), *_requests()]
