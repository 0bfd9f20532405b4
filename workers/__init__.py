"""Dramatiq only: claim, load, call, record. One file per duty, plus the scheduler that claims due rows."""
