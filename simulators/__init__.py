"""The machines: what they compute, how long it takes, which units act; and what that costs."""
