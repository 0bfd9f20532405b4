"""Technique that knows no business: settings, database, duties, errors, crypto, clock, ids, logging."""
