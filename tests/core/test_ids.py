"""Our TypeIDs are those of the specification's own library."""

from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typeid import TypeID, from_uuid

from core.ids import decode, encode, new_id


@given(st.uuids())
def test_an_id_is_written_as_the_reference_library_writes_it(value: UUID) -> None:
    assert encode("pst", value) == str(from_uuid(value, "pst"))


@given(st.uuids())
def test_an_id_comes_back(value: UUID) -> None:
    assert decode("acc", encode("acc", value)) == value


def test_new_ids_are_version_7_and_sort_by_time() -> None:
    ids = [new_id() for _ in range(100)]
    assert {value.version for value in ids} == {7}
    assert ids == sorted(ids)
    assert [encode("pst", value) for value in ids] == sorted(encode("pst", value) for value in ids)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "pst_",
        "acc_01h455vb4pex5vsknk084sn02q",
        "pst_81h455vb4pex5vsknk084sn02q",
        "pst_01H455VB4PEX5VSKNK084SN02Q",
        "pst_01h455vb4pex5vsknk084sn02",
        "pst_01h455vb4pex5vsknk084sn0il",
        "pst_01h455vb4pex5vsknk084sn02q ",
        "' OR 1=1--",
    ],
)
def test_what_is_no_id_of_the_kind_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"TypeID|begins with"):
        decode("pst", text)


def test_the_reference_library_reads_ours() -> None:
    assert TypeID.from_string(encode("pst", new_id())).prefix == "pst"
