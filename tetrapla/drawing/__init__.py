"""Drawings as inline SVG: lines and texts, charts, and pictures of a spiking machine."""
