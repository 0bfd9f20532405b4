"""Sealed values open in their own place and nowhere else."""

import os

import pytest

from core.crypto import KeyRing, SealBroken, new_data_key, seal, unseal
from core.ids import new_id

A, B, ROW, OTHER = (new_id() for _ in range(4))


def test_a_sealed_value_opens_in_its_place() -> None:
    key = new_data_key()
    assert unseal(key, seal(key, b"token", A, "connections", ROW, "sealed"), A, "connections", ROW, "sealed") == b"token"


@pytest.mark.parametrize(
    "place",
    [
        (B, "connections", ROW, "sealed"),
        (A, "accounts", ROW, "sealed"),
        (A, "connections", OTHER, "sealed"),
        (A, "connections", ROW, "other"),
    ],
)
def test_a_sealed_value_copied_elsewhere_does_not_open(place: tuple) -> None:  # type: ignore[type-arg]  # a place, whatever it is
    key = new_data_key()
    sealed = seal(key, b"token", A, "connections", ROW, "sealed")
    with pytest.raises(SealBroken):
        unseal(key, sealed, *place)


def test_a_changed_byte_is_noticed() -> None:
    key = new_data_key()
    sealed = bytearray(seal(key, b"token", A, "t", ROW, "c"))
    sealed[-1] ^= 1
    with pytest.raises(SealBroken):
        unseal(key, bytes(sealed), A, "t", ROW, "c")


def test_a_rotated_ring_opens_what_the_old_key_sealed_and_seals_with_the_new() -> None:
    old, new = os.urandom(32).hex(), os.urandom(32).hex()
    before, after = KeyRing(f"k1:{old}"), KeyRing(f"k2:{new},k1:{old}")
    data_key = new_data_key()
    wrapped = before.wrap(A, data_key)
    assert after.unwrap(A, wrapped) == data_key
    assert KeyRing.key_id(after.wrap(A, data_key)) == "k2"
    with pytest.raises(SealBroken):
        KeyRing(f"k2:{new}").unwrap(A, wrapped)
    with pytest.raises(SealBroken):
        after.unwrap(B, wrapped)
