// DRAM is not on the chip: whoever runs the machine gives its bytes.
package dram_pkg;
  import "DPI-C" function byte unsigned dram_read(input longint unsigned address);
  import "DPI-C" function void dram_write(
    input longint unsigned address, input byte unsigned value);
endpackage
