// IEEE binary32, round to nearest even, for the vector unit's pooling and sums. No NaN arises
// from the finite numbers that the tables hold; an overflow is infinite.
package float32_pkg;
  import requantize_pkg::*;

  // sign x significand x 2^exponent; the last bit of the significand may stand for all below it.
  typedef struct packed {
    logic               sign;
    logic signed [31:0] exponent;
    logic [63:0]        significand;
  } exact_t;

  function automatic exact_t unpacked(input logic [31:0] x);
    automatic exact_t y;
    y.sign = x[31];
    y.exponent = (x[30:23] == 0 ? 32'sd1 : signed'(32'(x[30:23]))) - 32'sd150;
    y.significand = 64'({x[30:23] != 0, x[22:0]});
    return y;
  endfunction

  function automatic exact_t integer_of(input logic signed [31:0] x);
    automatic exact_t y;
    y.sign = x < 0;
    y.exponent = 0;
    y.significand = 64'(unsigned'(x < 0 ? -x : x));
    return y;
  endfunction

  function automatic logic [31:0] rounded(input exact_t x);
    automatic logic signed [31:0] shift = signed'(bit_length(x.significand)) - 32'sd24;
    automatic logic signed [31:0] exponent;
    automatic logic [63:0] kept;
    if (shift < -32'sd149 - x.exponent) shift = -32'sd149 - x.exponent;
    kept = shift > 0 ? shift_to_even(x.significand, unsigned'(shift))
                     : x.significand << unsigned'(-shift);
    exponent = x.exponent + shift + 32'sd150;
    if (kept[24]) begin
      kept = kept >> 1;
      exponent = exponent + 1;
    end
    if (!kept[23]) return {x.sign, 8'd0, kept[22:0]};
    if (exponent > 254) return {x.sign, 8'hff, 23'd0};
    return {x.sign, exponent[7:0], kept[22:0]};
  endfunction

  function automatic exact_t product(input exact_t x, input exact_t y);
    automatic exact_t z;
    z.sign = x.sign != y.sign;
    z.exponent = x.exponent + y.exponent;
    z.significand = x.significand * y.significand;
    return z;
  endfunction

  // For significands of at most 33 bits: exact, or odd where bits are lost, which leaves the
  // rounding to 24 bits that of the exact sum.
  function automatic exact_t sum(input exact_t x, input exact_t y);
    automatic exact_t a, b;
    automatic int unsigned apart;
    automatic logic [63:0] lost;
    if (x.significand == 0) return y;
    if (y.significand == 0) return x;
    a = x.exponent >= y.exponent ? x : y;
    b = x.exponent >= y.exponent ? y : x;
    apart = unsigned'(a.exponent - b.exponent);
    if (apart > 28) begin
      lost = apart - 28 > 63 ? b.significand
          : b.significand & ~(64'hffff_ffff_ffff_ffff << (apart - 28));
      b.significand = (apart - 28 > 63 ? 64'd0 : b.significand >> (apart - 28));
      if (lost != 0) b.significand = b.significand | 64'd1;
      apart = 28;
    end
    a.significand = a.significand << apart;
    a.exponent = a.exponent - signed'(apart);
    if (a.sign == b.sign) a.significand = a.significand + b.significand;
    else if (a.significand >= b.significand) a.significand = a.significand - b.significand;
    else begin
      a.significand = b.significand - a.significand;
      a.sign = b.sign;
    end
    if (a.significand == 0) a.sign = 1'b0;
    return a;
  endfunction

  function automatic logic [31:0] multiply(input logic [31:0] x, input logic [31:0] y);
    /* verilator no_inline_task */
    return rounded(product(unpacked(x), unpacked(y)));
  endfunction

  function automatic logic [31:0] add(input logic [31:0] x, input logic [31:0] y);
    /* verilator no_inline_task */
    return rounded(sum(unpacked(x), unpacked(y)));
  endfunction

  // For normal numbers and zero; y is not zero.
  function automatic logic [31:0] divide(input logic [31:0] x, input logic [31:0] y);
    /* verilator no_inline_task */
    automatic exact_t a = unpacked(x), b = unpacked(y);
    automatic logic [63:0] dividend = a.significand << 39;
    a.significand = dividend / b.significand;
    if (a.significand * b.significand != dividend) a.significand = a.significand | 64'd1;
    a.exponent = a.exponent - b.exponent - 32'sd39;
    a.sign = a.sign != b.sign;
    return rounded(a);
  endfunction

  // x y + z with one rounding, x an integer of at most nine bits.
  function automatic logic [31:0] fused(
      input logic signed [31:0] x, input logic [31:0] y, input logic [31:0] z);
    /* verilator no_inline_task */
    return rounded(sum(product(integer_of(x), unpacked(y)), unpacked(z)));
  endfunction

  function automatic logic [31:0] from_integer(input logic signed [31:0] x);
    /* verilator no_inline_task */
    return rounded(integer_of(x));
  endfunction

  // rint(x), at most 2^18 - 1 in magnitude.
  function automatic logic signed [31:0] steps(input logic [31:0] x);
    /* verilator no_inline_task */
    automatic exact_t y = unpacked(x);
    automatic logic [63:0] whole;
    if (y.exponent >= 0) whole = y.significand == 0 ? 64'd0 : 64'h3_ffff;
    else whole = shift_to_even(y.significand, unsigned'(-y.exponent));
    if (whole > 64'h3_ffff) whole = 64'h3_ffff;
    return y.sign ? -signed'(whole[31:0]) : signed'(whole[31:0]);
  endfunction
endpackage
