"""The vector unit's part: which operators become which instructions and routines."""
