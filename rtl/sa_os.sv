// Output-stationary array of R x C PEs: rows are rows of activations, columns the outputs.
//
// In cycle t0 + k tap k of each row is on `taps_i` and tap k of each column on `weights_i`; PE
// (r, c) multiplies them in cycle t0 + k + r + c. `first_i` goes with a tap whose product begins
// the sum, `drain_i` with one whose product ends it. The sums of K taps then go down two drain
// registers a row, the bottom row first: row r is on `sums_o` in cycle t0 + K + C - 1 +
// 2 (R - 1) - r. Drains may follow each other after R cycles, so the period of sums of K taps is
// max(K, R).
//
// A cycle without a tap has zeros on `taps_i`. Inputs must come from registers. The registers of the data path are not reset.
`default_nettype none
module sa_os #(
    parameter int unsigned R = 16,
    parameter int unsigned C = 16
) (
    input  wire             clk_i,
    input  wire  [ R*9-1:0] taps_i,     // int9 each
    input  wire  [ C*8-1:0] weights_i,  // int8 each
    input  wire             first_i,
    input  wire             drain_i,
    output logic [C*32-1:0] sums_o      // int32 each
);
  // A skew is a ring: entry (now - n) was written n cycles ago.
  localparam int unsigned POINTER = $clog2(R > C ? R : C);
  localparam int unsigned DEPTH = 2 ** POINTER;

  logic [POINTER-1:0] now;
  logic signed [15:0] tap_ring[DEPTH][R];
  logic signed [7:0] weight_ring[DEPTH][C];
  logic signed [31:0] sum_ring[DEPTH][C];

  // Bits that go with the fronts are masks, so that no PE has a condition; int9 lies in 16 bits.
  logic signed [7:0] keep_edge[DEPTH], drain_edge[DEPTH];
  logic signed [7:0] keep[R][C], keep_n[R][C], drain[R][C], drain_n[R][C];
  logic signed [15:0] act[R][C], act_n[R][C];
  logic signed [7:0] weight[R][C], weight_n[R][C];
  logic signed [31:0] sum[R][C], sum_n[R][C];
  logic signed [31:0] out[R][C], out_n[R][C], step[R][C];

  function automatic void edges();
    keep_edge[now]  = {8{~first_i}};
    drain_edge[now] = {8{drain_i}};
    for (int unsigned r = 0; r < R; r++) tap_ring[now][r] = 16'(signed'(taps_i[9*r+:9]));
    for (int unsigned c = 0; c < C; c++) weight_ring[now][c] = weights_i[8*c+:8];
    for (int unsigned r = 0; r < R; r++) begin
      act_n[r][0]   = tap_ring[POINTER'(32'(now)-r)][r];
      keep_n[r][0]  = keep_edge[POINTER'(32'(now)-r)];
      drain_n[r][0] = drain_edge[POINTER'(32'(now)-r)];
    end
    for (int unsigned c = 0; c < C; c++) weight_n[0][c] = weight_ring[POINTER'(32'(now)-c)][c];
  endfunction

  function automatic void moves();
    for (int unsigned r = 0; r < R; r++)
      for (int unsigned c = 1; c < C; c++) begin
        act_n[r][c]   = act[r][c-1];
        keep_n[r][c]  = keep[r][c-1];
        drain_n[r][c] = drain[r][c-1];
      end
    for (int unsigned r = 1; r < R; r++)
      for (int unsigned c = 0; c < C; c++) weight_n[r][c] = weight[r-1][c];
  endfunction

  function automatic void products();
    for (int unsigned r = 0; r < R; r++)
      for (int unsigned c = 0; c < C; c++)
        sum_n[r][c] = (sum[r][c] & 32'(keep_n[r][c])) + 32'(act_n[r][c]) * 32'(weight_n[r][c]);
    for (int unsigned c = 0; c < C; c++) out_n[0][c] = sum_n[0][c];
    for (int unsigned r = 1; r < R; r++)
      for (int unsigned c = 0; c < C; c++)
        out_n[r][c] = (sum_n[r][c] & 32'(drain_n[r][c])) | (step[r-1][c] & ~32'(drain_n[r][c]));
  endfunction

  function automatic void next();
    edges();
    moves();
    products();
    for (int unsigned c = 0; c < C; c++)
      sum_ring[POINTER'(32'(now) + C - 1 - c)][c] = out_n[R-1][c];
  endfunction

  function automatic logic [C*32-1:0] aligned();
    for (int unsigned c = 0; c < C; c++) aligned[32*c+:32] = sum_ring[now][c];
  endfunction

  always_ff @(posedge clk_i) begin
    next();
    now <= now + 1'b1;
    keep <= keep_n;
    drain <= drain_n;
    act <= act_n;
    weight <= weight_n;
    sum <= sum_n;
    out <= out_n;
    step <= out;
    sums_o <= aligned();
  end
endmodule
`default_nettype wire
