// The unified buffer and, at its port to the array, the systolic data set-up.
//
// MM's row is read through an access descriptor: the lanes hold where their taps lie within the
// window (`down`, `right`, `offset`), a row says where the window lies, and a lane whose pixel is
// in the padding gets the padding's value. So no column image is ever made. Where the outputs are
// stationary it is the other way round: a lane holds a row's window, and each cycle is a tap.
// All reads of a cycle see the memory before its writes.
`default_nettype none
module unified_buffer
  import tpu_isa_pkg::*;
  import dram_pkg::*;
#(
    parameter int unsigned R = 16,
    parameter int unsigned C = 16,
    parameter int unsigned LANES = 16,
    parameter int unsigned LOG_BYTES = 16,
    parameter bit OUTPUT_STATIONARY = 1'b0,
    localparam int unsigned WIDEST = R > C ? R : C
) (
    input  wire                            clk_i,
    input  wire                            reset_i,
    input  wire  [DESCRIPTORS*32*32-1:0]   descriptors_i,
    // MM
    input  wire  [WORD_BITS-1:0]           word_i,
    input  wire                            send_i,
    output logic                           accept_o,
    output logic                           last_o,
    output logic [R*9-1:0]                 row_o,
    output logic                           busy_o,
    output logic                           drains_o,  // the instruction that issues
    output logic                           swap_o,
    output logic                           first_o,   // with its first tap: sums begin
    output logic                           valid_o,   // sums of what is on row_o go to ...
    output logic [15:0]                    acc_o,     // ... this accumulator row
    output logic [15:0]                    rows_o,    // and so many from there, where they drain
    output logic                           add_o,
    // LUW: a row of a window each cycle, a cycle later there
    input  wire                            fill_i,
    output logic                           fill_valid_o,
    output logic [15:0]                    fill_number_o,
    output logic [WIDEST*8-1:0]            fill_row_o,
    // a gather's index, likewise
    input  wire                            index_read_i,
    input  wire                            index_wide_i,
    input  wire  [31:0]                    index_at_i,
    output logic [63:0]                    gather_index_o,
    // transfers
    input  wire                            load_i,
    input  wire                            store_i,
    input  wire  [39:0]                    dram_i,
    input  wire  [31:0]                    ub_i,
    input  wire  [31:0]                    count_i,
    // vector unit: reads (data a cycle later), a table look-up of what was read, writes
    input  wire                            read_i,
    input  wire  [31:0]                    a_i,
    input  wire  [31:0]                    b_i,
    input  wire  [31:0]                    w_i,
    output logic [LANES*8-1:0]             a_o,
    output logic [LANES*8-1:0]             b_o,
    output logic [LANES*8-1:0]             w_o,
    input  wire                            look_i,
    input  wire  [31:0]                    table_i,
    input  wire  [LANES*8-1:0]             index_i,
    input  wire                            vector_write_i,
    input  wire                            looked_i,
    input  wire  [31:0]                    vector_ub_i,
    input  wire  [31:0]                    vector_count_i,
    input  wire  [LANES*8-1:0]             vector_data_i,
    // requantiser's writes
    input  wire                            write_i,
    input  wire  [31:0]                    write_ub_i,
    input  wire  [31:0]                    write_count_i,
    input  wire  [C*32-1:0]                write_data_i
);
  typedef logic [31:0] word_t;
  logic [7:0] bytes[2**LOG_BYTES]  /* verilator public_flat_rw */;
  logic [63:0] busy_cycles[1]  /* verilator public_flat_rw */;

  logic busy, is_signed, swap, begins, add, drain, spaced;
  logic [15:0] left, acc, rows;
  logic [15:0] spacing;  // cycles until a drain may be issued
  word_t ox, oy, out_w, out_h, height, width, base, image_base, top, side;
  word_t channels, kernel_w, c, kx, ky, dilation_y, dilation_x;
  word_t stride_y, stride_x, pad_top, pad_left, image_stride, row_stride, pixel_stride;
  logic [8:0] pad;
  word_t down[R], right[R], offset[R];
  logic [8:0] fed[R];  // 0 or -1
  logic [8:0] lanes[R], lanes_n[R];
  logic [LANES*8-1:0] looked;

  logic fills;
  /* verilator lint_off UNUSEDSIGNAL */
  logic [1023:0] fill_d;
  /* verilator lint_on UNUSEDSIGNAL */
  word_t fill_row, fill_k;
  logic [15:0] fill_number, fill_count, fill_lanes;

  for (genvar r = 0; r < R; r++) begin : g_row
    assign row_o[9*r+:9] = lanes[r];
  end

  always_comb begin
    last_o   = busy && left == 1;
    busy_o = busy;
    drains_o = drain;
    spaced = !OUTPUT_STATIONARY || !word_i[MM_DRAIN_L]
        || 16'(word_i[MM_LANES_L+:MM_LANES_W]) >= (last_o && drain ? 16'(R) : spacing);
    accept_o = (!busy || last_o) && spaced;
  end

  function automatic void gather();
    automatic word_t y, x;
    automatic logic [8:0] outside;
    automatic logic [8:0] value;
    for (int unsigned r = 0; r < R; r++) begin
      y = top + down[r];
      x = side + right[r];
      outside = (y >= height || x >= width) ? 9'h1ff : 9'h000;
      value = 9'(bytes[LOG_BYTES'(base+offset[r])]);
      value[8] = value[7] & is_signed;
      lanes_n[r] = ((value & ~outside) | (pad & outside)) & fed[r];
    end
  endfunction

  // Where a row's window lies, without its taps, and where a tap lies, without its row.
  function automatic void row_place();
    top  = oy * stride_y - pad_top;
    side = ox * stride_x - pad_left;
    base = image_base + top * row_stride + side * pixel_stride;
  endfunction

  function automatic void tap_place();
    top  = ky * dilation_y;
    side = kx * dilation_x;
    base = c + top * row_stride + side * pixel_stride;
  endfunction

  function automatic void next_row();
    ox = ox + 1;
    if (ox == out_w) begin
      ox = 0;
      oy = oy + 1;
      if (oy == out_h) begin
        oy = 0;
        image_base = image_base + image_stride;
      end
    end
  endfunction

  function automatic void next_tap();
    c = c + 1;
    if (c == channels) begin
      c  = 0;
      kx = kx + 1;
      if (kx == kernel_w) begin
        kx = 0;
        ky = ky + 1;
      end
    end
  endfunction

  function automatic void advance();
    if (OUTPUT_STATIONARY) begin
      next_tap();
      tap_place();
    end else begin
      next_row();
      row_place();
    end
  endfunction

  function automatic void set_up();
    automatic logic [3:0] desc = word_i[MM_DESC_L+:MM_DESC_W];
    automatic logic [1023:0] d = descriptors_i[1024*desc+:1024];
    automatic word_t row = 32'(word_i[MM_ROW_L+:MM_ROW_W]);
    automatic word_t k = 32'(word_i[MM_K_L+:MM_K_W]);
    automatic word_t used = OUTPUT_STATIONARY ? 32'(word_i[MM_LEN_L+:MM_LEN_W])
        : 32'(word_i[MM_LANES_L+:MM_LANES_W]);
    channels = d[32*D_CHANNELS+:32];
    kernel_w = d[32*D_KERNEL_W+:32];
    height = d[32*D_HEIGHT+:32];
    width = d[32*D_WIDTH+:32];
    out_w = d[32*D_OUT_W+:32];
    out_h = d[32*D_OUT_H+:32];
    stride_y = d[32*D_STRIDE_Y+:32];
    stride_x = d[32*D_STRIDE_X+:32];
    dilation_y = d[32*D_DILATION_Y+:32];
    dilation_x = d[32*D_DILATION_X+:32];
    pad_top = d[32*D_PAD_TOP+:32];
    pad_left = d[32*D_PAD_LEFT+:32];
    image_stride = d[32*D_IMAGE_STRIDE+:32];
    row_stride = d[32*D_ROW_STRIDE+:32];
    pixel_stride = d[32*D_PIXEL_STRIDE+:32];
    pad = d[32*D_PAD_VALUE+:9];
    is_signed = !d[32*D_FLAGS];
    ox = row % out_w;
    oy = (row / out_w) % out_h;
    image_base = d[32*D_BASE+:32] + (row / (out_w * out_h)) * image_stride;
    c  = k % channels;
    kx = (k / channels) % kernel_w;
    ky = k / (channels * kernel_w);
    for (int unsigned r = 0; r < R; r++) begin
      fed[r] = r < used ? 9'h1ff : 9'h000;
      if (OUTPUT_STATIONARY) row_place();
      else tap_place();
      down[r] = top;
      right[r] = side;
      offset[r] = base;
      if (OUTPUT_STATIONARY) next_row();
      else next_tap();
    end
    if (OUTPUT_STATIONARY) tap_place();
    else row_place();
  endfunction

  // Row `fill_row` of a window, from tap `fill_k` on, less its zero point.
  function automatic logic [WIDEST*8-1:0] filled();
    automatic word_t w = fill_d[32*D_OUT_W+:32], h = fill_d[32*D_OUT_H+:32];
    automatic word_t wide = fill_d[32*D_KERNEL_W+:32], deep = fill_d[32*D_CHANNELS+:32];
    automatic word_t first_y = ((fill_row / w) % h) * fill_d[32*D_STRIDE_Y+:32]
        - fill_d[32*D_PAD_TOP+:32];
    automatic word_t first_x = (fill_row % w) * fill_d[32*D_STRIDE_X+:32]
        - fill_d[32*D_PAD_LEFT+:32];
    automatic word_t image = fill_d[32*D_BASE+:32]
        + (fill_row / (w * h)) * fill_d[32*D_IMAGE_STRIDE+:32];
    automatic word_t at_c = fill_k % deep, at_x = (fill_k / deep) % wide;
    automatic word_t at_y = fill_k / (deep * wide), y, x;
    automatic logic [7:0] value;
    filled = '0;
    for (int unsigned n = 0; n < 32'(fill_lanes); n++) begin
      y = first_y + at_y * fill_d[32*D_DILATION_Y+:32];
      x = first_x + at_x * fill_d[32*D_DILATION_X+:32];
      value = y < fill_d[32*D_HEIGHT+:32] && x < fill_d[32*D_WIDTH+:32]
          ? bytes[LOG_BYTES'(image + y * fill_d[32*D_ROW_STRIDE+:32]
              + x * fill_d[32*D_PIXEL_STRIDE+:32] + at_c)] : fill_d[32*D_PAD_VALUE+:8];
      filled[8*n+:8] = value - fill_d[32*D_ZERO_X+:8];
      at_c = at_c + 1;
      if (at_c == deep) begin
        at_c = 0;
        at_x = at_x + 1;
        if (at_x == wide) begin
          at_x = 0;
          at_y = at_y + 1;
        end
      end
    end
  endfunction

  function automatic logic [63:0] gather_index();
    for (int unsigned n = 0; n < 8; n++)
      gather_index[8*n+:8] = bytes[LOG_BYTES'(index_at_i+n)];
    if (!index_wide_i) gather_index = 64'(signed'(gather_index[31:0]));
  endfunction

  function automatic logic [LANES*8-1:0] pixel(input word_t address);
    for (int unsigned n = 0; n < LANES; n++) pixel[8*n+:8] = bytes[LOG_BYTES'(address+n)];
  endfunction

  function automatic logic [LANES*8-1:0] looked_up();
    for (int unsigned n = 0; n < LANES; n++)
      looked_up[8*n+:8] = bytes[LOG_BYTES'(table_i+32'(index_i[8*n+:8]))];
  endfunction

  function automatic void writes();
    if (write_i)
      for (int unsigned n = 0; n < write_count_i; n++)
        bytes[LOG_BYTES'(write_ub_i+n)] = write_data_i[8*n+:8];
    if (vector_write_i)
      for (int unsigned n = 0; n < vector_count_i; n++)
        bytes[LOG_BYTES'(vector_ub_i+n)] = looked_i ? looked[8*n+:8] : vector_data_i[8*n+:8];
    if (store_i)
      for (int unsigned n = 0; n < count_i; n++)
        dram_write(64'(dram_i) + 64'(n), bytes[LOG_BYTES'(ub_i+n)]);
    if (load_i)
      for (int unsigned n = 0; n < count_i; n++)
        bytes[LOG_BYTES'(ub_i+n)] = dram_read(64'(dram_i) + 64'(n));
  endfunction

  always_ff @(posedge clk_i) begin
    if (busy) begin
      gather();
      lanes <= lanes_n;
      advance();
    end else if (OUTPUT_STATIONARY)
      for (int unsigned r = 0; r < R; r++) lanes[r] <= '0;  // the PEs go on adding
    if (send_i) set_up();
    if (read_i) begin
      a_o <= pixel(a_i);
      b_o <= pixel(b_i);
      w_o <= pixel(w_i);
    end
    if (look_i) looked <= looked_up();
    if (index_read_i) gather_index_o <= gather_index();
    fill_valid_o <= fills;
    fill_number_o <= fill_number;
    if (fills) begin
      fill_row_o <= filled();
      fill_number <= fill_number + 1'b1;
      fill_row <= fill_row + 1;
      if (fill_number + 1'b1 == fill_count) fills <= 1'b0;
    end
    if (fill_i) begin
      fills <= 1'b1;
      fill_number <= '0;
      fill_d <= descriptors_i[1024*word_i[LUW_DESC_L+:LUW_DESC_W]+:1024];
      fill_row <= 32'(word_i[LUW_ROW_L+:LUW_ROW_W]);
      fill_k <= 32'(word_i[LUW_K_L+:LUW_K_W]);
      fill_count <= 16'(word_i[LUW_TRANSPOSE_L]
          ? word_i[LUW_COLS_L+:LUW_COLS_W] : word_i[LUW_ROWS_L+:LUW_ROWS_W]);
      fill_lanes <= 16'(word_i[LUW_TRANSPOSE_L]
          ? word_i[LUW_ROWS_L+:LUW_ROWS_W] : word_i[LUW_COLS_L+:LUW_COLS_W]);
    end
    if (!reset_i) writes();  // memories survive a reset
    if (reset_i) begin
      busy <= 1'b0;
      fills <= 1'b0;
      fill_valid_o <= 1'b0;
      valid_o <= 1'b0;
      swap_o <= 1'b0;
      spacing <= '0;
      busy_cycles[0] <= '0;
    end else begin
      valid_o <= OUTPUT_STATIONARY ? last_o && drain : busy;
      swap_o <= busy && swap;
      first_o <= busy && begins;
      acc_o <= acc;
      rows_o <= rows;
      add_o <= add;
      if (last_o && drain) spacing <= 16'(R - 1);
      else if (spacing != 0) spacing <= spacing - 1'b1;
      if (busy) begin
        busy_cycles[0] <= busy_cycles[0] + 64'd1;
        swap <= 1'b0;
        begins <= 1'b0;
        left <= left - 1'b1;
        if (!OUTPUT_STATIONARY) acc <= acc + 1'b1;
      end
      if (last_o) busy <= 1'b0;
      if (send_i) begin
        busy <= 1'b1;
        left <= OUTPUT_STATIONARY ? 16'(word_i[MM_LANES_L+:MM_LANES_W])
            : word_i[MM_LEN_L+:MM_LEN_W];
        rows <= word_i[MM_LEN_L+:MM_LEN_W];
        begins <= !word_i[MM_ACCUMULATE_L];
        drain <= word_i[MM_DRAIN_L];
        acc <= word_i[MM_ACC_L+:MM_ACC_W];
        swap <= word_i[MM_SWAP_L];
        add <= word_i[MM_ACCUMULATE_L];
      end
    end
  end
endmodule
`default_nettype wire
