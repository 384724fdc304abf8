// Entry t of `results` is the requantiser's answer to entry t of the vectors.
`default_nettype none
module requantize_bench #(
    parameter int unsigned LOG_CYCLES = 16
) (
    input  wire  clk_i,
    input  wire  reset_i,
    output logic done_o
);
  localparam int unsigned CYCLES = 2 ** LOG_CYCLES;
  logic signed [31:0] sums[CYCLES]  /* verilator public_flat_rw */;
  logic signed [31:0] biases[CYCLES]  /* verilator public_flat_rw */;
  logic [31:0] scales[CYCLES]  /* verilator public_flat_rw */;
  logic signed [15:0] ranges[CYCLES][4]  /* verilator public_flat_rw */;
  logic signed [15:0] results[CYCLES]  /* verilator public_flat_rw */;

  logic [LOG_CYCLES:0] now;
  logic signed [31:0] sum, bias;
  logic [31:0] scale;
  logic signed [15:0] zero, low, high, result;

  requantize unit (
      .clk_i,
      .sum_i(sum),
      .bias_i(bias),
      .scale_i(scale),
      .zero_i(zero),
      .low_i(low),
      .high_i(high),
      .result_o(result)
  );

  always_ff @(posedge clk_i)
    if (reset_i) begin
      now <= '0;
      done_o <= 1'b0;
    end else begin
      now <= now + 1'b1;
      done_o <= now == (LOG_CYCLES + 1)'(CYCLES + 1);
      sum <= sums[now[LOG_CYCLES-1:0]];
      bias <= biases[now[LOG_CYCLES-1:0]];
      scale <= scales[now[LOG_CYCLES-1:0]];
      zero <= ranges[now[LOG_CYCLES-1:0]][0];
      low <= ranges[now[LOG_CYCLES-1:0]][1];
      high <= ranges[now[LOG_CYCLES-1:0]][2];
      if (now >= 2) results[LOG_CYCLES'(now - 2)] <= result;
    end
endmodule
`default_nettype wire
