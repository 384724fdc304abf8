"""The systolic machine in SystemVerilog: how it is built, filled, run and compared."""
