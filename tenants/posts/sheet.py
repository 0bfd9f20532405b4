"""A sheet of posts: CSV in UTF-8, one post a row. Pure.

What a cell holds is text and stays text: nothing is computed, so a formula is published as it stands. A file that cannot
be read with certainty is refused as a whole; a row that is no post is refused by itself, later.
"""

import csv
import io
import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from core.errors import Fault, InvalidInput, Malformed, TooLarge

BYTES_MAX = 5 * 1024 * 1024
ROWS_MAX = 10_000
COLUMNS = ("client_ref", "text", "account_ids", "at", "time_zone", "media", "external_ref", "duplicate_policy")
REQUIRED = "account_ids"
CLIENT_REF_LENGTH_MAX = 255
LISTED = re.compile(r"[\s,;]+")
"""Between the ids of one cell."""
BYTE_ORDER_MARKS = (b"\xff\xfe", b"\xfe\xff", b"\x00")
"""UTF-16 and UTF-32, or what looks like them."""


@dataclass(frozen=True, slots=True)
class Row:
    """One row; `number` is the one that a spreadsheet shows (the names of the columns are row 1)."""

    number: int
    cells: dict[str, str]
    whole: bool = True
    """False: it has more cells than there are columns."""

    @property
    def client_ref(self) -> str | None:
        """The sender's own name for the row."""
        return self.cells.get("client_ref", "").strip()[:CLIENT_REF_LENGTH_MAX] or None

    def wish(self) -> dict[str, Any]:
        """Write the row as the body of a post: what is empty is left out."""
        given = {name: value for name, value in self.cells.items() if value.strip()}
        body: dict[str, Any] = {"account_ids": _listed(given.get("account_ids", ""))}
        if "text" in given:
            body["text"] = given["text"]
        for name in ("external_ref", "duplicate_policy"):
            if name in given:
                body[name] = given[name].strip()
        if "media" in given:
            body["media"] = [_file(id) for id in _listed(given["media"])]
        if "at" in given:
            at = given["at"].strip()
            zone = {"time_zone": given["time_zone"].strip()} if "time_zone" in given else {}
            body["schedule"] = "now" if at == "now" else {"at": at} | zone
        return body


def _listed(cell: str) -> list[str]:
    return [id for id in LISTED.split(cell.strip()) if id]


def _file(id: str) -> dict[str, str]:
    return {"asset_version_id" if id.startswith("asv_") else "asset_id": id}


def _refuse(detail: str) -> Malformed:
    return Malformed(detail, code="invalid_csv")


def read(data: bytes) -> list[Row]:
    """Read a sheet. Raises Malformed (`invalid_csv`), InvalidInput (columns) or TooLarge (bytes, rows)."""
    if len(data) > BYTES_MAX:
        raise TooLarge(f"A sheet may have {BYTES_MAX} bytes.")
    if data.startswith(BYTE_ORDER_MARKS) or b"\0" in data:
        raise _refuse("The sheet must be text in UTF-8.")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise _refuse("The sheet must be text in UTF-8.") from error
    head = text.split("\n", 1)[0]
    # The module itself refuses a cell of more than 131,072 characters; the longest text of any network has 63,206.
    lines = csv.reader(io.StringIO(text, newline=""), delimiter=";" if ";" in head and "," not in head else ",", strict=True)
    try:
        names = [name.strip() for name in next(lines, [])]
        _check_columns(names)
        return _rows(lines, names)
    except csv.Error as error:
        raise _refuse(f"A quotation mark is wrong or missing, or a cell is too long, near line {lines.line_num}.") from error


def _check_columns(names: list[str]) -> None:
    if not any(names):
        raise _refuse("The first line must name the columns.")
    if len(names) > len(COLUMNS):
        raise _refuse(f"There are more columns than the {len(COLUMNS)} that exist.")
    faults = []
    for position, name in enumerate(names):
        if name not in COLUMNS:
            near = get_close_matches(name, COLUMNS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            faults.append(Fault(f"/columns/{position}", "unknown_field", f"It does not exist.{hint}"))
        elif name in names[:position]:
            faults.append(Fault(f"/columns/{position}", "duplicate_key", "It is given twice."))
    if REQUIRED not in names:
        faults.append(Fault("/columns", "validation_failed", f"The column {REQUIRED} is missing."))
    if faults:
        raise InvalidInput("The columns are not those of a sheet of posts.", faults=faults)


def _rows(lines: Any, names: list[str]) -> list[Row]:
    rows: list[Row] = []
    for number, cells in enumerate(lines, 2):
        if not any(cell.strip() for cell in cells):
            continue
        if len(rows) >= ROWS_MAX:
            raise TooLarge(f"A sheet may have {ROWS_MAX} rows.")
        rows.append(Row(number, dict(zip(names, cells, strict=False)), len(cells) <= len(names)))
    return rows
