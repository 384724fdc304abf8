// One PE of a weight-stationary array: five registers, one multiplier, one adder.
//
// Activation, swap and shift come from the left and go on to the right, sums and weights come
// from above and go on below. A shift puts the weight from above into the shadow register and
// what was there into the pass register, which the PE below takes in its own shift, one cycle
// later: the wave fronts of two tiles may be in the array at once.
`default_nettype none
module pe_ws (
    input  wire                clk_i,
    input  wire  signed [ 8:0] act_i,
    input  wire                swap_i,
    input  wire                shift_i,
    input  wire  signed [ 7:0] weight_i,
    input  wire  signed [31:0] sum_i,
    output logic signed [ 8:0] act_o,
    output logic               swap_o,
    output logic               shift_o,
    output logic signed [ 7:0] pass_o,
    output logic signed [31:0] sum_o
);
  logic signed [7:0] shadow, weight, weight_now;
  logic signed [16:0] product;

  always_comb begin
    weight_now = swap_i ? shadow : weight;
    product = act_i * weight_now;
  end

  always_ff @(posedge clk_i) begin
    act_o <= act_i;
    swap_o <= swap_i;
    shift_o <= shift_i;
    weight <= weight_now;
    sum_o <= sum_i + 32'(product);
    if (shift_i) begin
      pass_o <= shadow;
      shadow <= weight_i;
    end
  end

`ifdef FORMAL
  logic started = 1'b0;
  always_ff @(posedge clk_i) started <= 1'b1;
  always_ff @(posedge clk_i)
    if (started) begin
      assert (act_o == $past(act_i));
      assert (swap_o == $past(swap_i));
      assert (shift_o == $past(shift_i));
      assert (weight == ($past(swap_i) ? $past(shadow) : $past(weight)));
      assert (sum_o == $past(sum_i) + 32'($past(17'(act_i) * 17'(weight_now))));
      assert (shadow == ($past(shift_i) ? $past(weight_i) : $past(shadow)));
      assert (pass_o == ($past(shift_i) ? $past(shadow) : $past(pass_o)));
    end
`endif
endmodule
`default_nettype wire
