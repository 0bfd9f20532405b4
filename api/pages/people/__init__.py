"""Pages on which people act: server-rendered, in three languages, outside the contract; without a script, but for passkeys.

`frame` gives a page its looks and its headers, `routes` makes routes that answer errors with a page, `forms` reads what was
filled in, `language` chooses the words of `texts/`. docs/architecture.md says how to add a page.
"""
