// The error register: an instruction that is illegal, or that touches what one before it has not
// finished with, stops the machine in the cycle of its dispatch, before it does anything.
//
// The rules are those of the static check, in its order: hazards of table entries, what is
// legal, hazards of memories. In flight is what has been sent and has not retired.
`default_nettype none
module error_register
  import tpu_isa_pkg::*;
  import dram_pkg::*;
#(
    parameter int unsigned R = 16,
    parameter int unsigned C = 16,
    parameter int unsigned LOG_FLIGHTS = 10,
    parameter int unsigned LOG_PLACES = 4,
    parameter int unsigned LOG_SLOTS = 2,
    parameter int unsigned COUNT_W = 20,
    parameter bit OUTPUT_STATIONARY = 1'b0
) (
    input  wire                             clk_i,
    input  wire                             reset_i,
    input  wire                             dispatched_i,
    input  wire  [31:0]                     number_i,
    input  wire  [WORD_BITS-1:0]            word_i,
    /* verilator lint_off UNUSEDSIGNAL */
    input  wire  [NAMED_BITS-1:0]           named_i,
    input  wire  [DESCRIPTORS*32*32-1:0]    descriptors_i,
    /* verilator lint_on UNUSEDSIGNAL */
    input  wire  [ENGINES-1:0][COUNT_W-1:0] outstanding_i,
    // CFG of a requantise row, whose stride is kept here too
    input  wire                             table_i,
    input  wire  [3:0]                      index_i,
    input  wire  [26:0]                     moved_i,
    input  wire  [39:0]                     dram_i,
    input  wire  [31:0]                     count_i,
    output logic                            stop_o
);
  typedef logic signed [63:0] number_t;
  localparam int unsigned ACCESSES = 5, DEPTH = 2 ** LOG_FLIGHTS, SLOTS = 2 ** LOG_SLOTS;
  localparam number_t ADD = 3, DEPTHWISE = 5, LOOKUP = 6, COPY = 7, CLAMP = 4;

  number_t error[5]  /* verilator public_flat_rw */;  // code, instruction, value, bound, which
  number_t limits[LIMITS]  /* verilator public_flat_rw */;
  // of a routine: writes, end, start, as 1, 32 and 31 bits
  logic [63:0] places[2**LOG_PLACES]  /* verilator public_flat_rw */;

  // what has been written so far
  logic slots[SLOTS], descriptors[DESCRIPTORS], rows[REQUANTIZE_ROWS];
  logic shadow, weights, begun;
  logic [15:0] shadow_slot, stream;
  number_t columns[REQUANTIZE_ROWS];
  logic [31:0] strides[REQUANTIZE_ROWS];

  // in flight, by engine: the latest lies before `sent`
  logic [LOG_FLIGHTS-1:0] sent[ENGINES];
  logic [31:0] flight_number[ENGINES][DEPTH];
  logic [31:0] flight_count[ENGINES][DEPTH], flight_place[ENGINES][DEPTH];
  logic flight_hosted[ENGINES][DEPTH];
  logic [3:0] flight_memory[ENGINES][DEPTH][ACCESSES];  // writes, memory
  number_t flight_first[ENGINES][DEPTH][ACCESSES], flight_end[ENGINES][DEPTH][ACCESSES];

  // of the instruction that is dispatched
  logic [31:0] count;
  logic [3:0] memory[ACCESSES];
  number_t first[ACCESSES], beyond[ACCESSES];
  logic [2:0] engine;
  number_t early;  // number of the first instruction that it should wait for; -1 without

  function automatic void refuse(
      input number_t code, input number_t value, input number_t bound, input number_t which);
    if (error[0] != 0) return;
    error[0] = code;
    error[1] = number_t'(number_i);
    error[2] = value;
    error[3] = bound;
    error[4] = which;
  endfunction

  function automatic void most(
      input number_t code, input number_t value, input number_t bound, input number_t which);
    if (value > bound) refuse(code, value, bound, which);
  endfunction

  function automatic void needed(input number_t code, input logic there, input number_t which);
    if (!there) refuse(code, '0, '0, which);
  endfunction

  // A word of a descriptor, without and with its sign.
  function automatic number_t field(input logic [3:0] index, input int unsigned word);
    return number_t'({32'd0, descriptors_i[1024*32'(index)+32*word+:32]});
  endfunction

  function automatic number_t signed_field(input logic [3:0] index, input int unsigned word);
    return 64'(signed'(descriptors_i[1024*32'(index)+32*word+:32]));
  endfunction

  function automatic number_t taps_of(input logic [3:0] index);
    return field(index, D_KERNEL_H) * field(index, D_KERNEL_W);
  endfunction

  // From the start of an image to the end of its last pixel.
  function automatic number_t image_bytes(input logic [3:0] index);
    automatic number_t height = field(index, D_HEIGHT), width = field(index, D_WIDTH);
    if (height == 0) height = 1;
    if (width == 0) width = 1;
    return (height - 1) * field(index, D_ROW_STRIDE) + (width - 1) * field(index, D_PIXEL_STRIDE)
        + field(index, D_CHANNELS);
  endfunction

  // Where the image of a row starts.
  function automatic number_t image_start(input logic [3:0] index, input number_t row);
    return field(index, D_BASE) + row / (field(index, D_OUT_H) * field(index, D_OUT_W))
        * field(index, D_IMAGE_STRIDE);
  endfunction

  function automatic number_t step_of(input logic [3:0] index);
    return field(index, D_OUT_STRIDE) != 0 ? field(index, D_OUT_STRIDE) : field(index, D_CHANNELS);
  endfunction

  function automatic void window(
      input logic [3:0] index, input number_t taps, input number_t row, input number_t rows_read);
    automatic number_t which = number_t'({60'd0, index});
    needed(F_DESCRIPTOR_UNWRITTEN, descriptors[index], which);
    if (error[0] != 0) return;
    if (field(index, D_CHANNELS) == 0 || taps_of(index) == 0 || field(index, D_OUT_H) == 0
        || field(index, D_OUT_W) == 0) refuse(F_EMPTY, '0, '0, which);
    if (error[0] != 0) return;
    most(F_TAP_MOST, taps, taps_of(index) * field(index, D_CHANNELS), '0);
    most(F_WINDOW_MOST, image_start(index, row + rows_read - 1) + image_bytes(index),
         limits[LIMIT_BUFFER], which);
  endfunction

  function automatic number_t operand(input int unsigned low, input int unsigned width);
    return number_t'(64'(word_i >> low) & ~(64'hffff_ffff_ffff_ffff << width));
  endfunction

  // What the static check asks of each operation, in its order.
  function automatic void legal_move();
    automatic number_t dram = operand(LDA_DRAM_L, LDA_DRAM_W);
    automatic number_t bytes = operand(LDA_BYTES_L, LDA_BYTES_W);
    automatic logic own = dram < limits[LIMIT_CONSTANTS];
    if (bytes == 0) refuse(F_BYTES_LEAST, '0, '0, '0);
    most(F_UB_MOST, operand(LDA_UB_L, LDA_UB_W) + bytes, limits[LIMIT_BUFFER], '0);
    if (own && word_i[3:0] == OP_ST) refuse(F_CONSTANT, dram, limits[LIMIT_CONSTANTS], '0);
    most(F_DRAM_MOST, dram + bytes, own ? limits[LIMIT_CONSTANTS] : limits[LIMIT_DRAM], '0);
  endfunction

  function automatic void legal_slot(
      input number_t slot, input number_t height, input number_t width);
    if (height == 0) refuse(F_ROWS_LEAST, '0, '0, '0);
    if (width == 0) refuse(F_COLS_LEAST, '0, '0, '0);
    most(F_ROWS_MOST, height, number_t'(R), '0);
    most(F_COLS_MOST, width, number_t'(C), '0);
    most(F_SLOT_MOST, slot, limits[LIMIT_SLOTS] - 1, '0);
  endfunction

  function automatic number_t tile_bytes();
    automatic number_t width = operand(LDW_COLS_L, LDW_COLS_W);
    if (word_i[LDW_FMT_L+:LDW_FMT_W] == 3'd2) width = (width + 1) / 2;
    return operand(LDW_ROWS_L, LDW_ROWS_W) * width;
  endfunction

  // How many output rows LUW reads, and how many taps of each.
  function automatic number_t window_rows();
    return word_i[LUW_TRANSPOSE_L] ? operand(LUW_COLS_L, LUW_COLS_W)
        : operand(LUW_ROWS_L, LUW_ROWS_W);
  endfunction

  function automatic void legal_window();
    automatic logic [3:0] index = word_i[LUW_DESC_L+:4];
    automatic number_t taps = word_i[LUW_TRANSPOSE_L] ? operand(LUW_ROWS_L, LUW_ROWS_W)
        : operand(LUW_COLS_L, LUW_COLS_W);
    automatic number_t zero = signed_field(index, D_ZERO_X);
    automatic number_t pad = signed_field(index, D_PAD_VALUE) - zero;
    automatic logic plain = descriptors_i[1024*32'(index)+32*D_FLAGS];
    legal_slot(operand(LUW_SLOT_L, LUW_SLOT_W), operand(LUW_ROWS_L, LUW_ROWS_W),
               operand(LUW_COLS_L, LUW_COLS_W));
    window(index, operand(LUW_K_L, LUW_K_W) + taps, operand(LUW_ROW_L, LUW_ROW_W),
           window_rows());
    if (plain && zero != 128) refuse(F_ZERO_UNSIGNED, zero, 64'sd128, '0);
    if (!plain && zero != 0) refuse(F_ZERO_SIGNED, zero, '0, '0);
    if (pad < -128 || pad > 127) refuse(F_PAD_WEIGHT, pad, '0, '0);
  endfunction

  function automatic void legal_product();
    automatic number_t length = operand(MM_LEN_L, MM_LEN_W);
    automatic number_t lanes = operand(MM_LANES_L, MM_LANES_W);
    if (length == 0) refuse(F_LEN_LEAST, '0, '0, '0);
    if (lanes == 0) refuse(F_LANES_LEAST, '0, '0, '0);
    if (word_i[MM_SWAP_L]) needed(F_SHADOW_UNWRITTEN, shadow, '0);
    needed(F_WEIGHTS_UNWRITTEN, word_i[MM_SWAP_L] ? shadow : weights, '0);
    most(F_LANES_MOST, lanes, number_t'(R), '0);
    most(F_ACC_MOST, operand(MM_ACC_L, MM_ACC_W) + length, limits[LIMIT_SUMS], '0);
    window(word_i[MM_DESC_L+:4], operand(MM_K_L, MM_K_W) + lanes, operand(MM_ROW_L, MM_ROW_W),
           length);
    if (!OUTPUT_STATIONARY && word_i[MM_DRAIN_L]) refuse(F_DRAIN, '0, '0, '0);
    if (OUTPUT_STATIONARY) begin
      most(F_LEN_MOST, length, number_t'(R), '0);
      if (word_i[MM_ACCUMULATE_L] && !begun) refuse(F_BEGUN, '0, '0, '0);
    end
  endfunction

  // Bytes from the first to the last that RQ writes.
  function automatic number_t result_bytes();
    return (operand(RQ_LEN_L, RQ_LEN_W) - 1)
        * number_t'({32'd0, strides[word_i[RQ_TABLE_L+:4]]})
        + operand(RQ_COLS_L, RQ_COLS_W) * (word_i[RQ_RAW_L] ? 4 : 1);
  endfunction

  function automatic void legal_requantize();
    automatic logic [3:0] index = word_i[RQ_TABLE_L+:4];
    automatic number_t width = operand(RQ_COLS_L, RQ_COLS_W);
    if (operand(RQ_LEN_L, RQ_LEN_W) == 0) refuse(F_LEN_LEAST, '0, '0, '0);
    if (width == 0) refuse(F_COLS_LEAST, '0, '0, '0);
    needed(F_ROW_UNWRITTEN, rows[index], number_t'({60'd0, index}));
    most(F_COLS_MOST, width, columns[index] < number_t'(C) ? columns[index] : number_t'(C), '0);
    most(F_ACC_MOST, operand(RQ_ACC_L, RQ_ACC_W) + operand(RQ_LEN_L, RQ_LEN_W),
         limits[LIMIT_SUMS], '0);
    most(F_UB_MOST, operand(RQ_UB_L, RQ_UB_W) + result_bytes(), limits[LIMIT_BUFFER], '0);
  endfunction

  function automatic number_t vector_bytes();
    automatic logic [3:0] a = word_i[VE_A_L+:4];
    return (operand(VE_LEN_L, VE_LEN_W) - 1) * step_of(a) + field(a, D_CHANNELS);
  endfunction

  function automatic void legal_sum(input logic [3:0] a, input logic [3:0] b);
    if (field(b, D_CHANNELS) != field(a, D_CHANNELS) || taps_of(a) != 1 || taps_of(b) != 1)
      refuse(F_PIXELS, '0, '0, '0);
    if (signed_field(a, D_PAD_VALUE) < -256 || signed_field(a, D_PAD_VALUE) > 255)
      refuse(F_PAD_SUM, signed_field(a, D_PAD_VALUE), '0, '0);
    if (signed_field(b, D_PAD_VALUE) < -256 || signed_field(b, D_PAD_VALUE) > 255)
      refuse(F_PAD_SUM, signed_field(b, D_PAD_VALUE), '0, '0);
  endfunction

  function automatic void legal_vector();
    automatic number_t func = operand(VE_FUNC_L, VE_FUNC_W);
    automatic logic [3:0] a = word_i[VE_A_L+:4], b = word_i[VE_B_L+:4];
    automatic number_t length = operand(VE_LEN_L, VE_LEN_W), row = operand(VE_ROW_L, VE_ROW_W);
    if (length == 0) refuse(F_LEN_LEAST, '0, '0, '0);
    if (error[0] == 0) window(a, '0, row, length);
    if (error[0] == 0 && func == ADD) window(b, '0, row, length);
    if (error[0] != 0) return;
    if (func == ADD) legal_sum(a, b);
    else if ((func == CLAMP || func == LOOKUP || func == COPY) && taps_of(a) != 1)
      refuse(F_PIXEL, taps_of(a), '0, '0);
    if (func == LOOKUP)
      most(F_TABLE_MOST, field(a, D_WEIGHTS) + 256, limits[LIMIT_BUFFER], '0);
    if (func == DEPTHWISE) begin
      needed(F_ROW_UNWRITTEN, rows[b], number_t'({60'd0, b}));
      most(F_CHANNELS_MOST, field(a, D_CHANNELS), columns[b], '0);
      most(F_WEIGHTS_MOST, field(a, D_WEIGHTS) + taps_of(a) * field(a, D_CHANNELS),
           limits[LIMIT_BUFFER], '0);
    end
    most(F_UB_MOST, operand(VE_UB_L, VE_UB_W) + vector_bytes(), limits[LIMIT_BUFFER], '0);
  endfunction

  function automatic number_t named(input int unsigned word);
    return number_t'(named_i[64*word+:64]);
  endfunction

  function automatic number_t index_bytes();
    return named(G_COUNT) * (named(G_WIDE) != 0 ? 8 : 4);
  endfunction

  function automatic void legal_gather();
    automatic number_t table_bytes = named(G_ROWS) * named(G_ROW_BYTES);
    automatic number_t number = operand(GTH_ROUTINE_L, GTH_ROUTINE_W);
    automatic logic own = named(G_DRAM) < limits[LIMIT_CONSTANTS];
    if (number >= limits[LIMIT_GATHERS]) refuse(F_ROUTINE, number, limits[LIMIT_GATHERS], '0);
    if (error[0] != 0) return;
    if (named(G_COUNT) < 1 || named(G_ROWS) < 1 || named(G_ROW_BYTES) < 1)
      refuse(F_GATHER_LEAST, '0, '0, '0);
    most(F_DRAM_MOST, named(G_DRAM) + table_bytes,
         own ? limits[LIMIT_CONSTANTS] : limits[LIMIT_DRAM], '0);
    most(F_INDICES_MOST, named(G_INDICES) + index_bytes(), limits[LIMIT_BUFFER], '0);
    most(F_UB_MOST, named(G_UB) + named(G_COUNT) * named(G_ROW_BYTES), limits[LIMIT_BUFFER],
         '0);
  endfunction

  function automatic void legal_entry();
    automatic number_t bytes = operand(CFG_BYTES_L, CFG_BYTES_W);
    automatic logic row = word_i[CFG_KIND_L];
    automatic number_t least = row ? 4 * HEADER_WORDS : 128;
    most(F_INDEX_MOST, operand(CFG_INDEX_L, CFG_INDEX_W), 64'sd15, '0);
    most(F_DRAM_MOST, operand(CFG_DRAM_L, CFG_DRAM_W) + bytes, limits[LIMIT_CONSTANTS], '0);
    if (bytes < least) refuse(F_ENTRY_BYTES, bytes, least, '0);
    if (row && (bytes == least || bytes[2:0] != 0)) refuse(F_ENTRY_STEP, bytes, '0, '0);
  endfunction

  function automatic void legal_here();
    automatic number_t number = number_t'({32'd0, number_i});
    automatic number_t slot = operand(LW_SLOT_L, LW_SLOT_W);
    automatic number_t routine = operand(VX_ROUTINE_L, VX_ROUTINE_W);
    if (number == 0 && word_i[3:0] != OP_MARK) refuse(F_BEGIN, '0, '0, '0);
    if (number >= limits[LIMIT_WORDS]
        || (word_i[3:0] == OP_HALT && number != limits[LIMIT_WORDS] - 1))
      refuse(F_END, '0, '0, '0);
    if (error[0] != 0) return;
    case (word_i[3:0])
      OP_MARK: most(F_ID_MOST, operand(MARK_ID_L, MARK_ID_W), limits[LIMIT_LAYERS] - 1, '0);
      OP_LDW: begin
        legal_slot(operand(LDW_SLOT_L, LDW_SLOT_W), operand(LDW_ROWS_L, LDW_ROWS_W),
                   operand(LDW_COLS_L, LDW_COLS_W));
        most(F_DRAM_MOST, operand(LDW_DRAM_L, LDW_DRAM_W) + tile_bytes(),
             limits[LIMIT_CONSTANTS], '0);
      end
      OP_LDA, OP_ST: legal_move();
      OP_LW:
      needed(F_SLOT_UNWRITTEN, slot < limits[LIMIT_SLOTS] && slots[LOG_SLOTS'(slot)], slot);
      OP_LUW: legal_window();
      OP_MM: legal_product();
      OP_RQ: legal_requantize();
      OP_VE: legal_vector();
      OP_CFG: legal_entry();
      OP_GTH: legal_gather();
      OP_VX:
      if (routine >= limits[LIMIT_ROUTINES])
        refuse(F_ROUTINE, routine, limits[LIMIT_ROUTINES], '0);
      else if (named(V_LEGAL) == 0) refuse(F_PLACES, '0, '0, routine);
      default: ;
    endcase
  endfunction

  // What an instruction reads and writes: entries of tables, then the rest.
  function automatic void table_accesses();
    case (word_i[3:0])
      OP_CFG:
      entry({1'b1, word_i[CFG_KIND_L] ? M_ROW : M_DESCRIPTOR},
            operand(CFG_INDEX_L, CFG_INDEX_W));
      OP_MM: entry({1'b0, M_DESCRIPTOR}, operand(MM_DESC_L, MM_DESC_W));
      OP_LUW: entry({1'b0, M_DESCRIPTOR}, operand(LUW_DESC_L, LUW_DESC_W));
      OP_RQ: entry({1'b0, M_ROW}, operand(RQ_TABLE_L, RQ_TABLE_W));
      OP_VE: begin
        entry({1'b0, M_DESCRIPTOR}, operand(VE_A_L, VE_A_W));
        if (operand(VE_FUNC_L, VE_FUNC_W) == ADD)
          entry({1'b0, M_DESCRIPTOR}, operand(VE_B_L, VE_B_W));
        if (operand(VE_FUNC_L, VE_FUNC_W) == DEPTHWISE)
          entry({1'b0, M_ROW}, operand(VE_B_L, VE_B_W));
      end
      default: ;
    endcase
  endfunction

  function automatic void entry(input logic [3:0] what, input number_t number);
    touch(what, number, number + 1);
  endfunction

  function automatic void part(
      input logic [3:0] what, input number_t start, input number_t size);
    touch(what, start, start + size);
  endfunction

  function automatic void images(
      input logic [3:0] index, input number_t row, input number_t rows_read);
    touch({1'b0, M_BUFFER}, image_start(index, row),
          image_start(index, row + rows_read - 1) + image_bytes(index));
  endfunction

  function automatic void product_accesses();
    automatic number_t slot = number_t'({48'd0, word_i[MM_SWAP_L] ? shadow_slot : stream});
    images(word_i[MM_DESC_L+:4], operand(MM_ROW_L, MM_ROW_W), operand(MM_LEN_L, MM_LEN_W));
    if (word_i[MM_SWAP_L]) entry({1'b0, M_SHADOW}, '0);
    if (OUTPUT_STATIONARY) entry({1'b0, M_SLOT}, slot);
    if (!OUTPUT_STATIONARY || word_i[MM_DRAIN_L])
      part({1'b1, M_SUMS}, operand(MM_ACC_L, MM_ACC_W), operand(MM_LEN_L, MM_LEN_W));
  endfunction

  function automatic void vector_accesses();
    automatic number_t func = operand(VE_FUNC_L, VE_FUNC_W);
    automatic logic [3:0] a = word_i[VE_A_L+:4];
    automatic number_t length = operand(VE_LEN_L, VE_LEN_W), row = operand(VE_ROW_L, VE_ROW_W);
    images(a, row, length);
    if (func == ADD) images(word_i[VE_B_L+:4], row, length);
    if (func == DEPTHWISE)
      part({1'b0, M_BUFFER}, field(a, D_WEIGHTS), taps_of(a) * field(a, D_CHANNELS));
    if (func == LOOKUP) part({1'b0, M_BUFFER}, field(a, D_WEIGHTS), 64'sd256);
    part({1'b1, M_BUFFER}, operand(VE_UB_L, VE_UB_W), vector_bytes());
  endfunction

  function automatic void memory_accesses();
    automatic number_t dram = operand(LDA_DRAM_L, LDA_DRAM_W);
    automatic number_t ub = operand(LDA_UB_L, LDA_UB_W);
    automatic number_t bytes = operand(LDA_BYTES_L, LDA_BYTES_W);
    case (word_i[3:0])
      OP_LDW: begin
        part({1'b0, M_DRAM}, dram, tile_bytes());
        entry({1'b1, M_SLOT}, operand(LDW_SLOT_L, LDW_SLOT_W));
      end
      OP_LDA: begin
        part({1'b0, M_DRAM}, dram, bytes);
        part({1'b1, M_BUFFER}, ub, bytes);
      end
      OP_ST: begin
        part({1'b0, M_BUFFER}, ub, bytes);
        part({1'b1, M_DRAM}, dram, bytes);
      end
      OP_CFG: part({1'b0, M_DRAM}, dram, operand(CFG_BYTES_L, CFG_BYTES_W));
      OP_GTH: begin
        part({1'b0, M_BUFFER}, named(G_INDICES), index_bytes());
        part({1'b0, M_DRAM}, named(G_DRAM), named(G_ROWS) * named(G_ROW_BYTES));
        part({1'b1, M_BUFFER}, named(G_UB), named(G_COUNT) * named(G_ROW_BYTES));
      end
      OP_LW: begin
        if (!OUTPUT_STATIONARY) entry({1'b0, M_SLOT}, operand(LW_SLOT_L, LW_SLOT_W));
        entry({1'b1, M_SHADOW}, '0);
      end
      OP_LUW: begin
        images(word_i[LUW_DESC_L+:4], operand(LUW_ROW_L, LUW_ROW_W), window_rows());
        entry({1'b1, M_SLOT}, operand(LUW_SLOT_L, LUW_SLOT_W));
      end
      OP_MM: product_accesses();
      OP_RQ: begin
        part({1'b0, M_SUMS}, operand(RQ_ACC_L, RQ_ACC_W), operand(RQ_LEN_L, RQ_LEN_W));
        part({1'b1, M_BUFFER}, operand(RQ_UB_L, RQ_UB_W), result_bytes());
      end
      OP_VE: vector_accesses();
      default: ;
    endcase
  endfunction

  // What those behind it may use from now on.
  function automatic void written();
    case (word_i[3:0])
      OP_LDW: slots[word_i[LDW_SLOT_L+:LOG_SLOTS]] = 1'b1;
      OP_LUW: slots[word_i[LUW_SLOT_L+:LOG_SLOTS]] = 1'b1;
      OP_LW: begin
        shadow = 1'b1;
        shadow_slot = word_i[LW_SLOT_L+:LW_SLOT_W];
      end
      OP_MM: begin
        weights = 1'b1;
        begun = 1'b1;
        if (word_i[MM_SWAP_L]) stream = shadow_slot;
      end
      OP_CFG:
      if (word_i[CFG_KIND_L]) begin
        rows[word_i[CFG_INDEX_L+:4]] = 1'b1;
        columns[word_i[CFG_INDEX_L+:4]]
            = (operand(CFG_BYTES_L, CFG_BYTES_W) - 4 * HEADER_WORDS) / 8;
      end else descriptors[word_i[CFG_INDEX_L+:4]] = 1'b1;
      default: ;
    endcase
  endfunction

  function automatic void touch(
      input logic [3:0] what, input number_t start, input number_t end_);
    memory[count] = what;
    first[count] = start;
    beyond[count] = end_;
    count = count + 1;
  endfunction

  function automatic logic meets(
      input logic own, input logic [3:0] held, input logic [3:0] wanted);
    if (held[2:0] != wanted[2:0]) return 1'b0;
    if (!own) return held[3] || (wanted[3] && wanted[2:0] != M_SHADOW);
    if (held[2:0] != M_BUFFER && held[2:0] != M_DRAM) return 1'b0;
    return held[3] ? !wanted[3]
        : wanted[3] && 32'(engine) == ENGINE_DMA && held[2:0] == M_BUFFER;
  endfunction

  // Whether an access meets those in flight: `early` becomes the first instruction's number.
  function automatic void meet(
      input logic [3:0] wanted, input number_t start, input number_t end_);
    automatic logic [LOG_FLIGHTS-1:0] at;
    automatic logic [63:0] place;
    automatic logic [3:0] held;
    automatic number_t held_first, held_end;
    early = -1;
    for (int unsigned e = 0; e < ENGINES; e++)
      for (int unsigned n = 1; n <= 32'(outstanding_i[e]); n++) begin
        at = sent[e] - LOG_FLIGHTS'(n);
        for (int unsigned a = 0; a < flight_count[e][at]; a++) begin
          if (flight_hosted[e][at]) begin
            place = places[LOG_PLACES'(flight_place[e][at]+a)];
            held = {place[63], M_BUFFER};
            held_first = number_t'({33'd0, place[30:0]});
            held_end = number_t'({32'd0, place[62:31]});
          end else begin
            held = flight_memory[e][at][a];
            held_first = flight_first[e][at][a];
            held_end = flight_end[e][at][a];
          end
          if (held_first < end_ && start < held_end && meets(32'(engine) == e, held, wanted)
              && (early < 0 || number_t'(flight_number[e][at]) < early))
            early = number_t'(flight_number[e][at]);
        end
      end
    if (early >= 0) refuse(F_HAZARD + number_t'(wanted[2:0]), '0, '0, early);
  endfunction

  // The accesses from `from` on; a routine's are its places.
  function automatic void meet_all(input logic [31:0] from);
    automatic logic [63:0] place;
    if (limits[LIMIT_WATCH] == 0) return;
    if (word_i[3:0] == OP_VX)
      for (int unsigned n = 0; n < named_i[64*V_PLACES+:32]; n++) begin
        place = places[LOG_PLACES'(named_i[64*V_FIRST+:32]+n)];
        meet({place[63], M_BUFFER}, number_t'({33'd0, place[30:0]}),
             number_t'({32'd0, place[62:31]}));
      end
    else for (int unsigned n = from; n < count; n++) meet(memory[n], first[n], beyond[n]);
  endfunction

  function automatic void send();
    automatic logic [LOG_FLIGHTS-1:0] at = sent[engine];
    flight_number[engine][at] = number_i;
    flight_hosted[engine][at] = word_i[3:0] == OP_VX;
    flight_count[engine][at] = word_i[3:0] == OP_VX ? named_i[64*V_PLACES+:32] : count;
    flight_place[engine][at] = named_i[64*V_FIRST+:32];
    flight_memory[engine][at] = memory;
    flight_first[engine][at] = first;
    flight_end[engine][at] = beyond;
    sent[engine] = at + 1'b1;
  endfunction

  function automatic void check();
    automatic logic [31:0] entries;
    engine = engine_of(word_i[3:0]);
    count = '0;
    table_accesses();
    entries = count;
    if (32'(engine) != NO_ENGINE && word_i[3:0] != OP_VX) meet_all(0);
    if (error[0] == 0) legal_here();
    if (error[0] != 0 || 32'(engine) == NO_ENGINE) return;
    memory_accesses();
    meet_all(entries);
    if (error[0] == 0) begin
      written();
      send();
    end
  endfunction

  function automatic void configure();
    for (int unsigned n = 0; n < count_i; n++)
      if (32'(moved_i) + n < 4)
        strides[index_i][8*((32'(moved_i)+n)&3)+:8] = dram_read(64'(dram_i) + 64'(n));
  endfunction

  function automatic void clear();
    for (int unsigned n = 0; n < 5; n++) error[n] = '0;
    for (int unsigned n = 0; n < SLOTS; n++) slots[n] = 1'b0;
    for (int unsigned n = 0; n < DESCRIPTORS; n++) descriptors[n] = 1'b0;
    for (int unsigned n = 0; n < REQUANTIZE_ROWS; n++) rows[n] = 1'b0;
    for (int unsigned e = 0; e < ENGINES; e++) sent[e] = '0;
    shadow = 1'b0;
    weights = 1'b0;
    begun = 1'b0;
  endfunction

  always_ff @(posedge clk_i)
    if (reset_i) begin
      stop_o <= 1'b0;
      clear();
    end else begin
      if (table_i) configure();
      if (dispatched_i) begin
        check();
        stop_o <= error[0] != 0;
      end
    end
endmodule
`default_nettype wire
