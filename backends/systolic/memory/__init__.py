"""Where values are when: homes in the unified buffer or in DRAM, and stages in strips."""
