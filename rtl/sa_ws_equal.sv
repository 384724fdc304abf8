// For a proof: `sa_ws` and the array of PEs with the same inputs have the same sums.
//
// Operands are narrow, so that a solver gets through: the highest bits of an int9 or int8, zeros
// below. So the lowest numbers are among them.
`default_nettype none
module sa_ws_equal #(
    parameter int unsigned R = 2,
    parameter int unsigned C = 2,
    parameter int unsigned BITS = 2
) (
    input wire              clk_i,
    input wire [R*BITS-1:0] row_i,
    input wire              swap_i,
    input wire [C*BITS-1:0] weights_i,
    input wire              shift_i
);
  logic [ R*9-1:0] row;
  logic [ C*8-1:0] weights;
  logic [C*32-1:0] sums, wanted;

  for (genvar r = 0; r < R; r++) begin : g_row
    assign row[9*r+:9] = {row_i[BITS*r+:BITS], {(9 - BITS) {1'b0}}};
  end
  for (genvar c = 0; c < C; c++) begin : g_weight
    assign weights[8*c+:8] = {weights_i[BITS*c+:BITS], {(8 - BITS) {1'b0}}};
  end

  sa_ws #(
      .R(R),
      .C(C)
  ) loops (
      .clk_i,
      .row_i(row),
      .swap_i,
      .weights_i(weights),
      .shift_i,
      .sums_o(sums)
  );

  sa_ws_structural #(
      .R(R),
      .C(C)
  ) structural (
      .clk_i,
      .row_i(row),
      .swap_i,
      .weights_i(weights),
      .shift_i,
      .sums_o(wanted)
  );

  always_comb assert (sums == wanted);
endmodule
`default_nettype wire
