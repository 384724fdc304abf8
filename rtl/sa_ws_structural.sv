// The weight-stationary array as instances of its PE and chains of registers: what `sa_ws` is
// held against. The ports and their times are those of `sa_ws`.
`default_nettype none
module sa_ws_structural #(
    parameter int unsigned R = 4,
    parameter int unsigned C = 4
) (
    input  wire             clk_i,
    input  wire  [ R*9-1:0] row_i,
    input  wire             swap_i,
    input  wire  [ C*8-1:0] weights_i,
    input  wire             shift_i,
    output logic [C*32-1:0] sums_o
);
  // by row and the column that reads it; the last goes nowhere
  /* verilator lint_off UNUSEDSIGNAL */
  logic signed [8:0] act[R][C+1];
  logic swap[R][C+1], shift[R][C+1];
  logic signed [7:0] weight[R+1][C];
  /* verilator lint_on UNUSEDSIGNAL */
  logic signed [31:0] sum[R+1][C];

  for (genvar r = 0; r < R; r++) begin : g_row_skew
    if (r == 0) begin : g_none
      assign act[0][0]   = row_i[0+:9];
      assign swap[0][0]  = swap_i;
      assign shift[0][0] = shift_i;
    end else begin : g_chain
      logic [10:0] chain[r];
      always_ff @(posedge clk_i) begin
        chain[0] <= {shift_i, swap_i, row_i[9*r+:9]};
        for (int unsigned n = 1; n < r; n++) chain[n] <= chain[n-1];
      end
      assign {shift[r][0], swap[r][0], act[r][0]} = chain[r-1];
    end
  end

  for (genvar c = 0; c < C; c++) begin : g_weight_skew
    assign sum[0][c] = '0;
    if (c == 0) begin : g_none
      assign weight[0][0] = weights_i[0+:8];
    end else begin : g_chain
      logic [7:0] chain[c];
      always_ff @(posedge clk_i) begin
        chain[0] <= weights_i[8*c+:8];
        for (int unsigned n = 1; n < c; n++) chain[n] <= chain[n-1];
      end
      assign weight[0][c] = chain[c-1];
    end
  end

  for (genvar r = 0; r < R; r++) begin : g_row
    for (genvar c = 0; c < C; c++) begin : g_col
      pe_ws pe (
          .clk_i,
          .act_i(act[r][c]),
          .swap_i(swap[r][c]),
          .shift_i(shift[r][c]),
          .weight_i(weight[r][c]),
          .sum_i(sum[r][c]),
          .act_o(act[r][c+1]),
          .swap_o(swap[r][c+1]),
          .shift_o(shift[r][c+1]),
          .pass_o(weight[r+1][c]),
          .sum_o(sum[r+1][c])
      );
    end
  end

  for (genvar c = 0; c < C; c++) begin : g_sum_skew
    if (c == C - 1) begin : g_none
      assign sums_o[32*c+:32] = sum[R][c];
    end else begin : g_chain
      logic [31:0] chain[C-1-c];
      always_ff @(posedge clk_i) begin
        chain[0] <= sum[R][c];
        for (int unsigned n = 1; n < C - 1 - c; n++) chain[n] <= chain[n-1];
      end
      assign sums_o[32*c+:32] = chain[C-2-c];
    end
  end
endmodule
`default_nettype wire
