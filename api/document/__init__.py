"""The published document: what FastAPI collects, brought to the form that integrators live with.

Everything happens here, once for all routes, so that a new one gets it for free:

    build.py      the whole, in its order
    headers.py    the headers of requests and answers, as components
    refusals.py   the answers that are no success: statuses, codes, examples, as components
    schemas.py    limits, descriptions and examples of every shape
    words.py      what fields mean that mean the same everywhere
    events.py     the section `webhooks`: the catalogue of events
    operations.py what one operation may answer, and with which headers
    about.py      the words around it: title, contact, servers, tags, the security scheme

A route says only what nobody can know for it: summary, docstring, models with their fields, permission. Asking for an
idempotency or for If-Match (api/dependencies.py, api/conditions.py) declares a header parameter, and all else follows.
"""
