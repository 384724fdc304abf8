"""How far a plan may be from the reference: derived bounds, and the verdict by them."""
