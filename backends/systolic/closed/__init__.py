"""Time and counts of a compiled network in closed form, for many designs at once.

Nothing is compiled: what the compiler would send layer by layer (tiles, shifts, loads,
transfers) is counted by formula, as NumPy arrays with an entry for each design. `network` has
what of a model the formulas read, `tiles` what a product becomes on an array, `timing` the
recurrence from layer to layer, `counting` what the energy is made of. How near it comes to the
machine is measured: docs/decisions/0022-closed-form.md.
"""
