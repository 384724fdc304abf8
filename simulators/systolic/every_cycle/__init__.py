"""The judge: every register of every PE in every cycle."""
