// Weight-stationary array of R x C PEs: rows are the reduction, columns the outputs.
//
// A row of activations that is on `row_i` in cycle t0 is multiplied by PE (r, c) in cycle
// t0 + r + c, and its sums are on `sums_o` in cycle t0 + R + C - 1. `swap_i` goes with a row: the
// shadow weights become the weights of that row and of those behind it.
// `weights_i` with `shift_i` is one row of weights, the array's last row first; it enters behind
// a wave front of its own, so R rows of the next tile shift in while rows of activations move
// and the period of tiles of M rows is max(M, R).
//
// Inputs must come from registers. The registers of the data path are not reset: what they hold
// before the first row never reaches a sum that is used.
`default_nettype none
module sa_ws #(
    parameter int unsigned R = 16,
    parameter int unsigned C = 16
) (
    input  wire             clk_i,
    input  wire  [ R*9-1:0] row_i,      // int9 each
    input  wire             swap_i,
    input  wire  [ C*8-1:0] weights_i,  // int8 each
    input  wire             shift_i,
    output logic [C*32-1:0] sums_o      // int32 each
);
  // A skew is a ring: entry (now - n) was written n cycles ago.
  localparam int unsigned POINTER = $clog2(R > C ? R : C);
  localparam int unsigned DEPTH = 2 ** POINTER;
  localparam int unsigned FRONT_W = $clog2(R + C + 1);

  logic [POINTER-1:0] now;
  logic signed [8:0] row[R];
  logic signed [7:0] weights[C];
  logic signed [15:0] row_ring[DEPTH][R];
  logic signed [7:0] weight_ring[DEPTH][C];
  logic signed [31:0] sum_ring[DEPTH][C];

  // Bits that go with the fronts are masks of eight, so that no PE has a condition.
  logic signed [7:0] swap_edge[DEPTH], shift_edge[DEPTH];
  logic signed [7:0] swap[R][C], swap_n[R][C], shift[R][C], shift_n[R][C];
  logic signed [15:0] act[R][C], act_n[R][C];
  logic signed [7:0] weight[R][C], shadow[R][C], pass[R][C];
  logic [FRONT_W-1:0] moving;  // cycles until the last front has left
  logic signed [31:0] sum[R][C], sum_n[R][C], sums[C], sums_n[C];

  function automatic void edges();
    swap_edge[now]  = {8{swap_i}};
    shift_edge[now] = {8{shift_i}};
    for (int unsigned r = 0; r < R; r++) row_ring[now][r] = 16'(row[r]);
    for (int unsigned c = 0; c < C; c++) weight_ring[now][c] = weights[c];
    for (int unsigned r = 0; r < R; r++) act_n[r][0] = row_ring[POINTER'(32'(now)-r)][r];
    for (int unsigned r = 0; r < R; r++)
      for (int unsigned c = 1; c < C; c++) act_n[r][c] = act[r][c-1];
  endfunction

  function automatic void fronts();
    for (int unsigned r = 0; r < R; r++) begin
      swap_n[r][0]  = swap_edge[POINTER'(32'(now)-r)];
      shift_n[r][0] = shift_edge[POINTER'(32'(now)-r)];
      for (int unsigned c = 1; c < C; c++) begin
        swap_n[r][c]  = swap[r][c-1];
        shift_n[r][c] = shift[r][c-1];
      end
    end
  endfunction

  // From the last row up, in place: a row reads the pass registers of the row above.
  function automatic void hold();
    for (int unsigned n = 1; n < R; n++)
      for (int unsigned c = 0; c < C; c++) begin
        weight[R-n][c] = (shadow[R-n][c] & swap_n[R-n][c]) | (weight[R-n][c] & ~swap_n[R-n][c]);
        pass[R-n][c] = (shadow[R-n][c] & shift_n[R-n][c]) | (pass[R-n][c] & ~shift_n[R-n][c]);
        shadow[R-n][c] = (pass[R-1-n][c] & shift_n[R-n][c])
            | (shadow[R-n][c] & ~shift_n[R-n][c]);
      end
    for (int unsigned c = 0; c < C; c++) begin
      weight[0][c] = (shadow[0][c] & swap_n[0][c]) | (weight[0][c] & ~swap_n[0][c]);
      pass[0][c] = (shadow[0][c] & shift_n[0][c]) | (pass[0][c] & ~shift_n[0][c]);
      shadow[0][c] = (weight_ring[POINTER'(32'(now)-c)][c] & shift_n[0][c])
          | (shadow[0][c] & ~shift_n[0][c]);
    end
  endfunction

  function automatic void products();
    for (int unsigned c = 0; c < C; c++) sum_n[0][c] = 32'(act_n[0][c]) * 32'(weight[0][c]);
    for (int unsigned r = 1; r < R; r++)
      for (int unsigned c = 0; c < C; c++)
        sum_n[r][c] = sum[r-1][c] + 32'(act_n[r][c]) * 32'(weight[r][c]);
  endfunction

  function automatic void step();
    edges();
    if (swap_i || shift_i || moving != 0) begin
      fronts();
      hold();
    end
    products();
    for (int unsigned c = 0; c < C; c++)
      sum_ring[POINTER'(32'(now) + C - 1 - c)][c] = sum_n[R-1][c];
    for (int unsigned c = 0; c < C; c++) sums_n[c] = sum_ring[now][c];
  endfunction

  for (genvar r = 0; r < R; r++) begin : g_row
    assign row[r] = row_i[9*r+:9];
  end
  for (genvar c = 0; c < C; c++) begin : g_column
    assign weights[c] = weights_i[8*c+:8];
    assign sums_o[32*c+:32] = sums[c];
  end

  always_ff @(posedge clk_i) begin
    step();
    now <= now + 1'b1;
    moving <= swap_i || shift_i ? FRONT_W'(R + C) : moving == 0 ? '0 : moving - 1'b1;
    if (swap_i || shift_i || moving != 0) begin
      swap  <= swap_n;
      shift <= shift_n;
    end
    act <= act_n;
    sum <= sum_n;
    sums <= sums_n;
  end
endmodule
`default_nettype wire
