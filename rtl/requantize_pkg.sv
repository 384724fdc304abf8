// Requantisation in integers: y = rint(clamp(float32(float32(t) scale))) + zero point.
//
// Both roundings of the float32 form are kept, so the result is that of a machine with a float
// multiplier; what is built is a 25 x 24 multiplier and shifts.
package requantize_pkg;
  // How many bits a number needs; 0 for 0.
  function automatic int unsigned bit_length(input logic [63:0] x);
    automatic logic [63:0] rest = x;
    automatic int unsigned length = 0;
    for (int unsigned step = 32; step != 0; step = step / 2)
      if ((rest >> step) != 0) begin
        rest   = rest >> step;
        length = length + step;
      end
    return length + 32'(rest[0]);
  endfunction

  // x / 2^shift to the nearest integer, ties to even.
  function automatic logic [63:0] shift_to_even(input logic [63:0] x, input int unsigned shift);
    automatic logic [63:0] kept, lost, half;
    if (shift == 0) return x;
    if (shift > 63) return 0;
    kept = x >> shift;
    lost = x & ~(64'hffff_ffff_ffff_ffff << shift);
    half = 64'd1 << (shift - 1);
    if (lost > half || (lost == half && kept[0])) kept = kept + 64'd1;
    return kept;
  endfunction

  // rint(float32(float32(t) scale)), |result| at most 2^18 - 1; scale is a finite binary32.
  function automatic logic signed [31:0] scaled(
      input logic signed [31:0] t, input logic [31:0] scale);
    automatic logic [31:0] magnitude;
    automatic logic [63:0] factor, product;
    automatic int unsigned first, second, exponent;
    automatic logic signed [31:0] down, steps;
    magnitude = t < 0 ? -t : t;
    first = bit_length(64'(magnitude));
    first = first > 24 ? first - 24 : 0;
    factor = shift_to_even(64'(magnitude), first);
    exponent = 32'(scale[30:23]);
    product = factor * 64'({exponent != 0, scale[22:0]});
    second = bit_length(product);
    second = second > 24 ? second - 24 : 0;
    product = shift_to_even(product, second);
    down = 32'd150 - signed'(exponent == 0 ? 32'd1 : exponent) - signed'(first + second);
    if (down > 0) product = shift_to_even(product, unsigned'(down));
    else if (product != 0) product = down < -18 ? 64'h3_ffff : product << unsigned'(-down);
    if (product > 64'h3_ffff) product = 64'h3_ffff;
    steps = signed'(product[31:0]);
    return (t < 0) != scale[31] ? -steps : steps;
  endfunction

  // The whole: bounds are of the result, zero point included.
  function automatic logic signed [31:0] requantized(
      input logic signed [31:0] t, input logic [31:0] scale, input logic signed [15:0] zero,
      input logic signed [15:0] low, input logic signed [15:0] high);
    /* verilator no_inline_task */
    automatic logic signed [31:0] y = scaled(t, scale) + 32'(zero);
    if (y < 32'(low)) return 32'(low);
    if (y > 32'(high)) return 32'(high);
    return y;
  endfunction
endpackage
