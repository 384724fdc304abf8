"""The systolic machine in SystemVerilog; `tetrapla.simulators.rtl` builds and runs it."""
