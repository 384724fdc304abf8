"""Wired arrays of conductances: exact currents, power and noise, in plain float64."""
