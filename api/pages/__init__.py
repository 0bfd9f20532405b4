"""Pages for people who build on the API: the reference, the guides, and one page for each code of an error.

Public, outside the contract, and made at their first request: a start of the API pays nothing for them.
"""
