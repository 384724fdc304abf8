// Plays activations and sums into one PE that holds a weight; for what toggles in it.
`default_nettype none
module activity_bench #(
    parameter int unsigned LOG_CYCLES = 12
) (
    input  wire  clk_i,
    input  wire  reset_i,
    output logic done_o
);
  localparam int unsigned CYCLES = 2 ** LOG_CYCLES;
  /* verilator coverage_off */
  logic signed [15:0] acts[CYCLES]  /* verilator public_flat_rw */;
  logic signed [31:0] sums[CYCLES]  /* verilator public_flat_rw */;
  logic signed [7:0] weights[1]  /* verilator public_flat_rw */;

  logic [LOG_CYCLES:0] now;
  logic [8:0] act;
  logic [7:0] weight;
  logic [31:0] sum;
  logic shift, swap;
  /* verilator coverage_on */

  pe_ws pe (
      .clk_i,
      .act_i(act),
      .swap_i(swap),
      .shift_i(shift),
      .weight_i(weight),
      .sum_i(sum),
      .act_o(),
      .swap_o(),
      .shift_o(),
      .pass_o(),
      .sum_o()
  );

  always_ff @(posedge clk_i)
    if (reset_i) begin
      now <= '0;
      done_o <= 1'b0;
      shift <= 1'b1;
      swap <= 1'b0;
      act <= '0;
      sum <= '0;
      weight <= weights[0];
    end else begin
      now <= now + 1'b1;
      done_o <= now[LOG_CYCLES];
      shift <= 1'b0;
      swap <= now == 0;
      act <= acts[now[LOG_CYCLES-1:0]][8:0];
      sum <= sums[now[LOG_CYCLES-1:0]];
    end
endmodule
`default_nettype wire
