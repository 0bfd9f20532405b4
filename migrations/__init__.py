"""Alembic migrations, and `python -m migrations`, which brings a database to their head."""
