"""Architecture files of AccelForge and of Timeloop v4, as systolic chips."""
