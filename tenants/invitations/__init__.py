"""Invitations: who may come into the agency as what, and coming in."""
