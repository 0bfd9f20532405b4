"""HTTP only: parse, authorise, call one domain function, answer. No SQL, no Stripe, no network calls."""
