// The access descriptors that CFG fills, 32 words of 32 bits each.
`default_nettype none
module descriptors
  import tpu_isa_pkg::*;
  import dram_pkg::*;
(
    input  wire                          clk_i,
    input  wire                          reset_i,
    input  wire                          table_i,
    input  wire  [3:0]                   index_i,
    input  wire  [26:0]                  moved_i,
    input  wire  [39:0]                  dram_i,
    input  wire  [31:0]                  count_i,
    output logic [DESCRIPTORS*32*32-1:0] descriptors_o
);
  localparam int unsigned BYTES = 128;

  always_ff @(posedge clk_i)
    if (table_i && !reset_i)
      for (int unsigned n = 0; n < count_i; n++)
        if (32'(moved_i) + n < BYTES)
          descriptors_o[8*(BYTES*32'(index_i)+32'(moved_i)+n)+:8]
              <= dram_read(64'(dram_i) + 64'(n));
endmodule
`default_nettype wire
