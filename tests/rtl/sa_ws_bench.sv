// Plays rows and weights into an array, one entry a cycle, and keeps what comes out.
//
// Entry t of `rows` is on the array's input in cycle t + 1, and entry t of `sums` is what was on
// its output in cycle t.
`default_nettype none
module sa_ws_bench #(
    parameter int unsigned R = 16,
    parameter int unsigned C = 16,
    parameter int unsigned LOG_CYCLES = 10,
    parameter bit STRUCTURAL = 1'b0
) (
    input  wire  clk_i,
    input  wire  reset_i,
    output logic done_o
);
  localparam int unsigned CYCLES = 2 ** LOG_CYCLES;
  /* verilator lint_off UNUSEDSIGNAL */
  logic signed [15:0] rows[CYCLES][R]  /* verilator public_flat_rw */;
  logic [7:0] swap[CYCLES]  /* verilator public_flat_rw */;
  logic [7:0] shift[CYCLES]  /* verilator public_flat_rw */;
  /* verilator lint_on UNUSEDSIGNAL */
  logic signed [7:0] weights[CYCLES][C]  /* verilator public_flat_rw */;
  logic [C*32-1:0] sums[CYCLES]  /* verilator public_flat_rw */;

  logic [LOG_CYCLES-1:0] now;
  logic [R*9-1:0] row, row_n;
  logic [C*8-1:0] weight, weight_n;
  logic [C*32-1:0] sum;
  logic swap_q, shift_q;

  function automatic void feed();
    for (int unsigned r = 0; r < R; r++) row_n[9*r+:9] = rows[now][r][8:0];
    for (int unsigned c = 0; c < C; c++) weight_n[8*c+:8] = weights[now][c];
  endfunction
  always_comb feed();

  if (STRUCTURAL) begin : g_structural
    sa_ws_structural #(
        .R(R),
        .C(C)
    ) array (
        .clk_i,
        .row_i(row),
        .swap_i(swap_q),
        .weights_i(weight),
        .shift_i(shift_q),
        .sums_o(sum)
    );
  end else begin : g_loops
    sa_ws #(
        .R(R),
        .C(C)
    ) array (
        .clk_i,
        .row_i(row),
        .swap_i(swap_q),
        .weights_i(weight),
        .shift_i(shift_q),
        .sums_o(sum)
    );
  end

  always_ff @(posedge clk_i)
    if (reset_i) begin
      now <= '0;
      done_o <= 1'b0;
    end else begin
      now <= now + 1'b1;
      done_o <= now == LOG_CYCLES'(CYCLES - 1);
      row <= row_n;
      weight <= weight_n;
      swap_q <= swap[now][0];
      shift_q <= shift[now][0];
      sums[now] <= sum;
    end
endmodule
`default_nettype wire
