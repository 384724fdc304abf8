// The vector unit: LANES channels of one pixel of a window a cycle, all pixels of a window before
// the next channels, all channels before the next row.
//
// A pixel is read in the cycle of its issue, taken in the next, and a window's result written in
// the one after.
`default_nettype none
module vector_unit
  import tpu_isa_pkg::*;
  import requantize_pkg::*;
  import float32_pkg::*;
  import dram_pkg::*;
#(
    parameter int unsigned LANES = 16,
    parameter int unsigned LOG_ENTRIES = 8
) (
    input  wire                          clk_i,
    input  wire                          reset_i,
    input  wire  [DESCRIPTORS*32*32-1:0] descriptors_i,
    // CFG of a requantise row
    input  wire                          table_i,
    input  wire  [3:0]                   index_i,
    input  wire  [26:0]                  moved_i,
    input  wire  [39:0]                  dram_i,
    input  wire  [31:0]                  count_i,
    // VE
    /* verilator lint_off UNUSEDSIGNAL */
    input  wire  [WORD_BITS-1:0]         word_i,
    input  wire  [NAMED_BITS-1:0]        named_i,
    /* verilator lint_on UNUSEDSIGNAL */
    input  wire                          send_i,
    output logic                         accept_o,
    output logic                         last_o,
    output logic                         request_o,  // whoever runs this computes a routine
    // the unified buffer
    output logic                         read_o,
    output logic [31:0]                  a_o,
    output logic [31:0]                  b_o,
    output logic [31:0]                  w_o,
    input  wire  [LANES*8-1:0]           a_i,
    input  wire  [LANES*8-1:0]           b_i,
    input  wire  [LANES*8-1:0]           w_i,
    output logic                         look_o,
    output logic [31:0]                  table_o,
    output logic [LANES*8-1:0]           index_o,
    output logic                         write_o,
    output logic                         looked_o,
    output logic [31:0]                  ub_o,
    output logic [31:0]                  count_o,
    output logic [LANES*8-1:0]           data_o
);
  localparam logic [7:0] MAX = 8'd0, AVERAGE = 8'd1, GLOBAL_AVERAGE = 8'd2, ADD = 8'd3,
      CLAMP = 8'd4, DEPTHWISE = 8'd5, LOOKUP = 8'd6;
  localparam int unsigned ROW_WORDS = 2 ** (LOG_ENTRIES + 1) + HEADER_WORDS;
  typedef logic [31:0] word_t;
  typedef struct packed {
    word_t ox;
    word_t oy;
    word_t image;  // address
  } place_t;
  typedef struct packed {
    logic  valid;
    logic  first;
    logic  last;
    logic  in_image;
    word_t ub;
    word_t count;
    word_t channel;
  } pixel_t;

  word_t tables[REQUANTIZE_ROWS*ROW_WORDS];
  logic [63:0] busy_cycles[1]  /* verilator public_flat_rw */;

  // the routine that is asked for, and whether it is still due
  logic [31:0] requested[2]  /* verilator public_flat_rw */;

  logic busy, hosted, last_pixel, last_group;
  logic [39:0] hosted_left;
  logic [31:0] routine;
  logic b_plain_q;  // uint8
  logic [7:0] func, func_q;
  logic [3:0] row, row_q;
  logic [23:0] left;
  logic [1023:0] a, b, a_q;
  place_t at_a, at_b;
  word_t kx, ky, weights, group, ub, stride, y, x;
  pixel_t now, then;
  word_t held[LANES];  // int32 or binary32
  word_t in_image;

  /* verilator lint_off UNUSEDSIGNAL */
  function automatic place_t start_of(input logic [1023:0] d, input word_t m);
    start_of.ox = m % d[32*D_OUT_W+:32];
    start_of.oy = (m / d[32*D_OUT_W+:32]) % d[32*D_OUT_H+:32];
    start_of.image = d[32*D_BASE+:32]
        + (m / (d[32*D_OUT_W+:32] * d[32*D_OUT_H+:32])) * d[32*D_IMAGE_STRIDE+:32];
  endfunction

  function automatic place_t after(input logic [1023:0] d, input place_t p);
    after = p;
    after.ox = p.ox + 1;
    if (after.ox == d[32*D_OUT_W+:32]) begin
      after.ox = 0;
      after.oy = p.oy + 1;
      if (after.oy == d[32*D_OUT_H+:32]) begin
        after.oy = 0;
        after.image = p.image + d[32*D_IMAGE_STRIDE+:32];
      end
    end
  endfunction

  function automatic word_t address(
      input logic [1023:0] d, input word_t image, input word_t down, input word_t right);
    return image + down * d[32*D_ROW_STRIDE+:32] + right * d[32*D_PIXEL_STRIDE+:32] + group;
  endfunction

  /* verilator lint_on UNUSEDSIGNAL */

  function automatic void issue();
    y = at_a.oy * a[32*D_STRIDE_Y+:32] - a[32*D_PAD_TOP+:32] + ky * a[32*D_DILATION_Y+:32];
    x = at_a.ox * a[32*D_STRIDE_X+:32] - a[32*D_PAD_LEFT+:32] + kx * a[32*D_DILATION_X+:32];
    a_o = address(a, at_a.image, y, x);
    b_o = address(
        b, at_b.image, at_b.oy * b[32*D_STRIDE_Y+:32] - b[32*D_PAD_TOP+:32],
        at_b.ox * b[32*D_STRIDE_X+:32] - b[32*D_PAD_LEFT+:32]);
    w_o = weights + group;
    last_pixel = func == ADD
        || (kx + 1 == a[32*D_KERNEL_W+:32] && ky + 1 == a[32*D_KERNEL_H+:32]);
    last_group = group + LANES >= a[32*D_CHANNELS+:32];
    now.valid = 1'b1;
    now.first = func == ADD || (kx == 0 && ky == 0);
    now.last = last_pixel;
    now.in_image = y < a[32*D_HEIGHT+:32] && x < a[32*D_WIDTH+:32];
    now.ub = ub + group;
    now.channel = group;
    now.count = a[32*D_CHANNELS+:32] - group;
    if (now.count > LANES) now.count = LANES;
  endfunction

  always_comb begin
    now = '0;
    {a_o, b_o, w_o, y, x, last_pixel, last_group} = '0;
    if (busy && !hosted) issue();
    read_o = busy && !hosted;
    last_o = busy && (hosted ? hosted_left == 1 : left == 1 && last_group && last_pixel);
    accept_o = !busy || last_o;
  end

  function automatic void advance();
    kx = kx + 1;
    weights = weights + a[32*D_CHANNELS+:32];
    if (kx == a[32*D_KERNEL_W+:32]) begin
      kx = 0;
      ky = ky + 1;
    end
    if (last_pixel) begin
      kx = 0;
      ky = 0;
      weights = a[32*D_WEIGHTS+:32];
      group = group + LANES;
      if (last_group) begin
        group = 0;
        ub = ub + stride;
        left = left - 1'b1;
        at_a = after(a, at_a);
        at_b = after(b, at_b);
      end
    end
  endfunction

  function automatic void start();
    func = word_i[VE_FUNC_L+:VE_FUNC_W];
    row = word_i[VE_B_L+:VE_B_W];
    a = descriptors_i[1024*word_i[VE_A_L+:VE_A_W]+:1024];
    b = descriptors_i[1024*word_i[VE_B_L+:VE_B_W]+:1024];
    left = word_i[VE_LEN_L+:VE_LEN_W];
    ub = word_i[VE_UB_L+:VE_UB_W];
    stride = a[32*D_OUT_STRIDE+:32] == 0 ? a[32*D_CHANNELS+:32] : a[32*D_OUT_STRIDE+:32];
    at_a = start_of(a, 32'(word_i[VE_ROW_L+:VE_ROW_W]));
    at_b = func == ADD ? start_of(b, 32'(word_i[VE_ROW_L+:VE_ROW_W])) : '0;
    {kx, ky, group} = '0;
    weights = a[32*D_WEIGHTS+:32];
  endfunction

  function automatic void configure();
    automatic int unsigned word;
    for (int unsigned n = 0; n < count_i; n++) begin
      word = (32'(moved_i) + n) >> 2;
      if (word < ROW_WORDS)
        tables[32'(index_i)*ROW_WORDS+word][8*((32'(moved_i)+n)&3)+:8]
            = dram_read(64'(dram_i) + 64'(n));
    end
  endfunction

  function automatic logic signed [31:0] widened(input logic plain, input logic [7:0] byte_);
    return plain ? signed'(32'(byte_)) : 32'(signed'(byte_));
  endfunction

  function automatic logic [7:0] saturated(input logic signed [31:0] v);
    automatic logic signed [31:0] low = a_q[32*D_FLAGS] ? 32'sd0 : -32'sd128;
    automatic logic signed [31:0] high = a_q[32*D_FLAGS] ? 32'sd255 : 32'sd127;
    return v < low ? low[7:0] : v > high ? high[7:0] : v[7:0];
  endfunction

  // Takes a pixel's channel `n`; what a window's last pixel gives is its result.
  function automatic logic [7:0] taken(input int unsigned n);
    automatic logic signed [31:0] v = widened(a_q[32*D_FLAGS], a_i[8*n+:8]), zero, low, high;
    automatic word_t so_far = then.first ? '0 : held[n], real_;
    automatic logic signed [15:0] row_zero, row_low, row_high;
    automatic int unsigned entry;
    zero = signed'(a_q[32*D_ZERO_X+:32]);
    low  = signed'(a_q[32*D_LOW+:32]);
    high = signed'(a_q[32*D_HIGH+:32]);
    if (!then.in_image) v = signed'(a_q[32*D_PAD_VALUE+:32]);
    case (func_q)
      MAX: begin
        if (!then.in_image) v = a_q[32*D_FLAGS] ? 32'sd0 : -32'sd128;
        if (!then.first && signed'(so_far) > v) v = signed'(so_far);
        held[n] = v;
        return v[7:0];
      end
      AVERAGE: begin
        real_ = multiply(from_integer(v - zero), a_q[32*D_P0+:32]);
        held[n] = add(so_far, then.in_image ? real_ : 32'd0);
        if (!then.last) return '0;
        real_ = divide(
            held[n], from_integer(signed'(a_q[32*D_FLAGS+1]
                ? a_q[32*D_KERNEL_H+:32] * a_q[32*D_KERNEL_W+:32] : in_image)));
        real_ = divide(real_, a_q[32*D_P1+:32]);
        return saturated(
            steps(add(real_, from_integer(signed'(a_q[32*D_ZERO_Y+:32])))));
      end
      GLOBAL_AVERAGE: begin
        held[n] = so_far + v - zero;
        if (!then.last) return '0;
        return saturated(
            steps(multiply(from_integer(signed'(held[n])), a_q[32*D_P0+:32]))
            + signed'(a_q[32*D_ZERO_Y+:32]));
      end
      ADD: begin
        real_ = fused(widened(b_plain_q, b_i[8*n+:8]), a_q[32*D_P1+:32], a_q[32*D_P2+:32]);
        return saturated(
            steps(fused(widened(a_q[32*D_FLAGS], a_i[8*n+:8]), a_q[32*D_P0+:32], real_)));
      end
      CLAMP: return v < low ? low[7:0] : v > high ? high[7:0] : v[7:0];
      DEPTHWISE: begin
        held[n] = so_far + v * 32'(signed'(w_i[8*n+:8]));
        entry = 32'(row_q) * ROW_WORDS;
        {row_low, row_zero} = tables[entry+1];
        row_high = tables[entry+2][15:0];
        entry = entry + HEADER_WORDS + 2 * (then.channel + n);
        v = requantized(
            signed'(held[n] + tables[entry]), tables[entry+1], row_zero, row_low, row_high);
        return v[7:0];
      end
      default: return v[7:0];
    endcase
  endfunction

  function automatic logic [LANES*8-1:0] all_taken();
    if (then.first) in_image = '0;
    if (then.in_image) in_image = in_image + 1;
    all_taken = '0;
    for (int unsigned n = 0; n < then.count; n++) all_taken[8*n+:8] = taken(n);
  endfunction

  always_comb begin
    look_o  = then.valid && func_q == LOOKUP;
    table_o = a_q[32*D_WEIGHTS+:32];
    index_o = then.in_image ? a_i : {LANES{a_q[32*D_PAD_VALUE+:8]}};
  end

  always_ff @(posedge clk_i) begin
    if (then.valid) data_o <= all_taken();
    write_o <= then.valid && then.last;
    looked_o <= func_q == LOOKUP;
    ub_o <= then.ub;
    count_o <= then.count;
    then <= now;
    if (busy) begin
      a_q <= a;
      b_plain_q <= b[32*D_FLAGS];
      func_q <= func;
      row_q <= row;
      busy_cycles[0] <= busy_cycles[0] + 64'd1;
      hosted_left <= hosted_left - 1'b1;
      if (!hosted) advance();
    end
    request_o <= last_o && hosted;
    if (last_o) busy <= 1'b0;
    if (last_o && hosted) begin
      requested[0] <= routine;
      requested[1] <= 32'd1;
    end
    if (send_i) begin
      busy <= 1'b1;
      hosted <= word_i[3:0] == OP_VX;
      if (word_i[3:0] == OP_VX) begin
        hosted_left <= named_i[64*V_CYCLES+:40];
        routine <= 32'(word_i[VX_ROUTINE_L+:VX_ROUTINE_W]);
      end else start();
    end
    if (table_i && !reset_i) configure();
    if (reset_i) begin
      busy <= 1'b0;
      request_o <= 1'b0;
      then.valid <= 1'b0;
      write_o <= 1'b0;
      busy_cycles[0] <= '0;
    end
  end
endmodule
`default_nettype wire
