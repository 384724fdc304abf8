"""Resistive crossbars with DACs and ADCs: spec, devices, program, crossbar, machine, timing."""
