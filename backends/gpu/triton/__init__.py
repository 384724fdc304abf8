"""A plan as Triton: its text, and the interpreter that runs it."""
