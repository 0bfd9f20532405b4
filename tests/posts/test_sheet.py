"""Sheets: what is read with certainty, what is refused as a whole (B54), and what one row means."""

from typing import Any

import pytest

from core.errors import Problem
from tenants.posts.sheet import BYTES_MAX, ROWS_MAX, read
from tenants.posts.wishes import Refused, read_wish

ACCOUNT = "acc_01kazm3v9sfa4t2tq9gk1x7c5e"


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 400, "invalid_csv"),
        (b"\n", 400, "invalid_csv"),
        ("text,account_ids\nх,y\n".encode("utf-16"), 400, "invalid_csv"),
        ("text,account_ids\nх,y\n".encode("utf-16-le"), 400, "invalid_csv"),
        ("text,account_ids\nх,y\n".encode("utf-32"), 400, "invalid_csv"),
        ("text,account_ids\nх,y\n".encode("cp1251"), 400, "invalid_csv"),
        (b"text,account_ids\nx\0,y\n", 400, "invalid_csv"),
        (b'text,account_ids\n"never closed,acc\nmore\n', 400, "invalid_csv"),
        (b'text,account_ids\n"closed" twice,acc\n', 400, "invalid_csv"),
        (b"text,account_ids\n" + b"x" * 200_000 + b",acc\n", 400, "invalid_csv"),
        (b",".join(b"c%d" % number for number in range(10_000)) + b"\n", 400, "invalid_csv"),
        (b"txet,account_ids\n", 422, "validation_failed"),
        (b"text\nx\n", 422, "validation_failed"),
        (b"text,text,account_ids\n", 422, "validation_failed"),
        (b"text,account_ids\n" + b"x,y\n" * (ROWS_MAX + 1), 413, "body_too_large"),
        (b"x" * (BYTES_MAX + 1), 413, "body_too_large"),
    ],
)
def test_what_cannot_be_read_with_certainty_is_refused_as_a_whole(data: bytes, status: int, code: str) -> None:
    with pytest.raises(Problem) as refusal:
        read(data)
    assert (refusal.value.status, refusal.value.code) == (status, code)


def test_a_column_that_does_not_exist_is_told_with_the_nearest_that_does() -> None:
    with pytest.raises(Problem) as refusal:
        read(b"txet,account_ids\n")
    (fault,) = refusal.value.faults
    assert (fault.pointer, fault.code, "text" in fault.detail) == ("/columns/0", "unknown_field", True)


@pytest.mark.parametrize("formula", ["=1+1", '=HYPERLINK("http://x")', "+49 30 1234", "-5 percent", "@SUM(A1)", "\t=1", "'=1"])
def test_a_formula_is_text_and_stays_as_it_stands(formula: str) -> None:
    import csv
    import io

    sheet = io.StringIO()
    csv.writer(sheet).writerows([["text", "account_ids"], [formula, ACCOUNT]])
    (row,) = read(sheet.getvalue().encode())
    assert row.wish()["text"] == formula


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("separator", [",", ";"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_what_spreadsheets_write_is_read(end: str, separator: str, mark: str) -> None:
    lines = [
        ["text", "account_ids", "at"],
        ['"two\nlines, with; both"', f'"{ACCOUNT} {ACCOUNT}"', "now"],
        ["", "", ""],
        ["b", ACCOUNT, ""],
    ]
    data = mark + end.join(separator.join(line) for line in lines) + end
    first, last = read(data.encode())
    assert (first.number, last.number) == (2, 4)
    assert first.wish() == {"text": "two\nlines, with; both", "account_ids": [ACCOUNT] * 2, "schedule": "now"}
    assert last.wish() == {"text": "b", "account_ids": [ACCOUNT]}


def test_lines_that_end_in_two_ways_are_read_as_one_sheet() -> None:
    assert len(read(f"text,account_ids\r\na,{ACCOUNT}\nb,{ACCOUNT}\r\n".encode())) == 2


@pytest.mark.parametrize(
    ("cells", "pointer"),
    [
        ("x,nonsense,,", "/account_ids/0"),
        (f"x,{ACCOUNT},9,", "/schedule/at"),
        (f"x,{ACCOUNT},,crm", "/duplicate_policy"),
        ("x,,,", "/account_ids"),
    ],
)
def test_a_row_that_is_no_post_is_refused_by_itself_and_says_where(cells: str, pointer: str) -> None:
    (row,) = read(f"text,account_ids,at,duplicate_policy\n{cells}\n".encode())
    wish: Any = read_wish(row.wish())
    assert isinstance(wish, Refused)
    assert pointer in [fault.pointer for fault in wish.problem.faults]


def test_a_row_with_more_cells_than_columns_is_known_as_such() -> None:
    (row,) = read(b"text,account_ids\na,b,c\n")
    assert row.whole is False
