// One requantiser: sum plus bias (int32, wraps) to a result, a cycle later.
`default_nettype none
module requantize
  import requantize_pkg::*;
(
    input  wire                clk_i,
    input  wire  signed [31:0] sum_i,
    input  wire  signed [31:0] bias_i,
    input  wire         [31:0] scale_i,  // binary32
    input  wire  signed [15:0] zero_i,
    input  wire  signed [15:0] low_i,
    input  wire  signed [15:0] high_i,
    output logic signed [15:0] result_o
);
  always_ff @(posedge clk_i)
    result_o <= 16'(requantized(sum_i + bias_i, scale_i, zero_i, low_i, high_i));
endmodule
`default_nettype wire
