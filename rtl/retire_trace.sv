// The cycles in which instructions retire: an entry for each cycle in which any does.
//
// What was outstanding, and what was sent, but is not outstanding any more, has retired in the
// cycle before. An engine's instructions retire in order, so counts are enough.
`default_nettype none
module retire_trace
  import tpu_isa_pkg::*;
#(
    parameter int unsigned LOG_WORDS = 12,
    parameter int unsigned CYCLE_W = 40,
    parameter int unsigned COUNT_W = 20
) (
    input wire                             clk_i,
    input wire                             reset_i,
    input wire [CYCLE_W-1:0]               cycle_i,
    input wire [ENGINES-1:0]               sent_i,
    input wire [ENGINES-1:0][COUNT_W-1:0]  outstanding_i
);
  logic [63:0] cycles[2**LOG_WORDS]  /* verilator public_flat_rw */;
  logic [ENGINES-1:0][11:0] counts[2**LOG_WORDS]  /* verilator public_flat_rw */;
  logic [31:0] entries[1]  /* verilator public_flat_rw */;  // how many

  logic [ENGINES-1:0][COUNT_W-1:0] were;
  logic [ENGINES-1:0] sent;
  logic [ENGINES-1:0][11:0] retired;

  always_comb
    for (int unsigned e = 0; e < ENGINES; e++)
      retired[e] = 12'(were[e] + COUNT_W'(sent[e]) - outstanding_i[e]);

  always_ff @(posedge clk_i)
    if (reset_i) begin
      were <= '0;
      sent <= '0;
      entries[0] <= '0;
    end else begin
      were <= outstanding_i;
      sent <= sent_i;
      if (retired != '0) begin
        cycles[LOG_WORDS'(entries[0])] <= 64'(cycle_i) - 64'd1;
        counts[LOG_WORDS'(entries[0])] <= retired;
        entries[0] <= entries[0] + 1;
      end
    end
endmodule
`default_nettype wire
