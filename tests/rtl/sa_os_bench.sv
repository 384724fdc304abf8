// As sa_ws_bench, for the output-stationary array: entry t is on its inputs in cycle t + 1.
`default_nettype none
module sa_os_bench #(
    parameter int unsigned R = 16,
    parameter int unsigned C = 16,
    parameter int unsigned LOG_CYCLES = 10
) (
    input  wire  clk_i,
    input  wire  reset_i,
    output logic done_o
);
  localparam int unsigned CYCLES = 2 ** LOG_CYCLES;
  /* verilator lint_off UNUSEDSIGNAL */
  logic signed [15:0] taps[CYCLES][R]  /* verilator public_flat_rw */;
  logic [7:0] first[CYCLES]  /* verilator public_flat_rw */;
  logic [7:0] drain[CYCLES]  /* verilator public_flat_rw */;
  /* verilator lint_on UNUSEDSIGNAL */
  logic signed [7:0] weights[CYCLES][C]  /* verilator public_flat_rw */;
  logic [C*32-1:0] sums[CYCLES]  /* verilator public_flat_rw */;

  logic [LOG_CYCLES-1:0] now;
  logic [R*9-1:0] tap, tap_n;
  logic [C*8-1:0] weight, weight_n;
  logic [C*32-1:0] sum;
  logic first_q, drain_q;

  function automatic void feed();
    for (int unsigned r = 0; r < R; r++) tap_n[9*r+:9] = taps[now][r][8:0];
    for (int unsigned c = 0; c < C; c++) weight_n[8*c+:8] = weights[now][c];
  endfunction
  always_comb feed();

  sa_os #(
      .R(R),
      .C(C)
  ) array (
      .clk_i,
      .taps_i(tap),
      .weights_i(weight),
      .first_i(first_q),
      .drain_i(drain_q),
      .sums_o(sum)
  );

  always_ff @(posedge clk_i)
    if (reset_i) begin
      now <= '0;
      done_o <= 1'b0;
    end else begin
      now <= now + 1'b1;
      done_o <= now == LOG_CYCLES'(CYCLES - 1);
      tap <= tap_n;
      weight <= weight_n;
      first_q <= first[now][0];
      drain_q <= drain[now][0];
      sums[now] <= sum;
    end
endmodule
`default_nettype wire
