"""The domain: what an agency owns and the rules for it. Knows database sessions, not requests or brokers."""
