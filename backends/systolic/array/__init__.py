"""The array's part: products as tiles, their image in DRAM, and the instructions for them."""
