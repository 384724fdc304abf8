// Plays products into the shift-and-add unit and keeps its sums, and when they came.
//
// Entry n of `settings` is a product: digits, parts, digit shift, signed, format, saturate,
// negative parts, and the last product or not; `shifts` the parts' shifts. Entry n of `bits` is
// one cycle's bits, which wait for their cycle in `given`; sums wait for theirs in `ready`.
// Entry n of `starts` is the cycle in which product n started, of `ends` when the unit was
// ready again; `sums` and `sent` are the sums of a turn and their cycle, `overflows` those
// products that had one.
`default_nettype none
module shift_add_bench #(
    parameter int unsigned COLUMNS = 12,
    parameter int unsigned ADCS = 4,
    parameter int unsigned CODE_W = 8,
    parameter int unsigned PARTS = 8,
    parameter int unsigned DIGITS = 8,
    parameter int unsigned SHIFT_W = 5,
    parameter int unsigned SUM_W = 32,
    parameter int unsigned LOG_PRODUCTS = 6,
    parameter int unsigned LOG_BITS = 16,
    parameter int unsigned LOG_WAITS = 10
) (
    input  wire  clk_i,
    input  wire  reset_i,
    output logic done_o
);
  /* verilator lint_off UNUSEDSIGNAL */
  logic [31:0] settings[2**LOG_PRODUCTS][8]  /* verilator public_flat_rw */;
  logic [7:0] shifts[2**LOG_PRODUCTS][PARTS]  /* verilator public_flat_rw */;
  logic [31:0] bits[2**LOG_BITS]  /* verilator public_flat_rw */;
  logic [7:0] given[2**LOG_WAITS]  /* verilator public_flat_rw */;
  logic [7:0] ready[2**LOG_WAITS]  /* verilator public_flat_rw */;
  /* verilator lint_on UNUSEDSIGNAL */
  logic [31:0] starts[2**LOG_PRODUCTS]  /* verilator public_flat_rw */;
  logic [31:0] ends[2**LOG_PRODUCTS]  /* verilator public_flat_rw */;
  logic [31:0] overflows[2**LOG_PRODUCTS]  /* verilator public_flat_rw */;
  logic signed [63:0] sums[2**LOG_BITS][ADCS]  /* verilator public_flat_rw */;
  logic [31:0] sent[2**LOG_BITS]  /* verilator public_flat_rw */;

  logic [31:0] cycle;
  logic [LOG_PRODUCTS-1:0] product;
  logic [LOG_BITS-1:0] bit_at, sum_at;
  logic running, unit_ready, bits_ready, sums_valid, overflow, bits_valid, sums_ready;
  logic [PARTS*SHIFT_W-1:0] shift;
  logic [ADCS*SUM_W-1:0] sum;

  function automatic void pack();
    for (int unsigned p = 0; p < PARTS; p++)
      shift[SHIFT_W*p+:SHIFT_W] = shifts[product][p][SHIFT_W-1:0];
  endfunction
  always_comb pack();
  assign bits_valid = given[cycle[LOG_WAITS-1:0]][0];
  assign sums_ready = ready[cycle[LOG_WAITS-1:0]][0];

  shift_add #(
      .COLUMNS(COLUMNS),
      .ADCS(ADCS),
      .CODE_W(CODE_W),
      .PARTS(PARTS),
      .DIGITS(DIGITS),
      .SHIFT_W(SHIFT_W),
      .SUM_W(SUM_W)
  ) unit (
      .clk_i,
      .reset_i,
      .start_i(!running),
      .ready_o(unit_ready),
      .digits_i($clog2(DIGITS + 1)'(settings[product][0])),
      .parts_i($clog2(PARTS + 1)'(settings[product][1])),
      .digit_shift_i(SHIFT_W'(settings[product][2])),
      .shifts_i(shift),
      .negative_i(PARTS'(settings[product][6])),
      .signed_i(settings[product][3][0]),
      .format_i(settings[product][4][1:0]),
      .saturate_i(settings[product][5][0]),
      .bits_valid_i(bits_valid),
      .bits_ready_o(bits_ready),
      .bits_i(bits[bit_at][ADCS-1:0]),
      .sums_valid_o(sums_valid),
      .sums_ready_i(sums_ready),
      .sums_o(sum),
      .overflow_o(overflow)
  );

  always_ff @(posedge clk_i)
    if (reset_i) begin
      cycle <= '0;
      product <= '0;
      bit_at <= '0;
      sum_at <= '0;
      running <= 1'b0;
      done_o <= 1'b0;
    end else begin
      cycle <= cycle + 1'b1;
      if (bits_valid && bits_ready) bit_at <= bit_at + 1'b1;
      if (sums_valid) overflows[product] <= 32'(overflow);
      if (sums_valid && sums_ready) begin
        for (int unsigned a = 0; a < ADCS; a++)
          sums[sum_at][a] <= 64'($signed(sum[SUM_W*a+:SUM_W]));
        sent[sum_at] <= cycle;
        sum_at <= sum_at + 1'b1;
      end
      if (!running) begin
        starts[product] <= cycle;
        running <= 1'b1;
      end else if (unit_ready) begin
        ends[product] <= cycle;
        running <= 1'b0;
        product <= product + 1'b1;
        done_o <= settings[product][7][0];
      end
    end
endmodule
`default_nettype wire
