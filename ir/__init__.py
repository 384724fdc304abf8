"""The language: dialects, types, weights, the reference interpreter and the text form."""
