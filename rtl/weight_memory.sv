// Slots of R x C weights: filled by transfers, shifted into the array by LW, last row first.
// Where the outputs are stationary LW only points at a slot, and MM streams its rows, a tap each.
`default_nettype none
module weight_memory
  import tpu_isa_pkg::*;
  import dram_pkg::*;
#(
    parameter int unsigned R = 16,
    parameter int unsigned C = 16,
    parameter int unsigned LOG_SLOTS = 2,
    parameter bit OUTPUT_STATIONARY = 1'b0,
    localparam int unsigned WIDEST = R > C ? R : C
) (
    input  wire                  clk_i,
    input  wire                  reset_i,
    /* verilator lint_off UNUSEDSIGNAL */
    input  wire  [WORD_BITS-1:0] word_i,
    /* verilator lint_on UNUSEDSIGNAL */
    input  wire                  send_i,
    output logic                 accept_o,
    output logic                 last_o,
    input  wire                  stream_i,    // MM issues
    input  wire                  mm_i,        // MM is sent
    input  wire                  fill_i,
    input  wire                  first_i,
    input  wire  [39:0]          dram_i,
    input  wire  [31:0]          count_i,
    /* verilator lint_off UNUSEDSIGNAL */
    input  wire  [15:0]          slot_i,
    /* verilator lint_on UNUSEDSIGNAL */
    input  wire  [11:0]          cols_i,
    input  wire                  nibbles_i,
    // LUW: row `number` of a window
    input  wire                  window_i,
    /* verilator lint_off UNUSEDSIGNAL */
    input  wire  [15:0]          number_i,
    /* verilator lint_on UNUSEDSIGNAL */
    input  wire  [WIDEST*8-1:0]  window_row_i,
    output logic [C*8-1:0]       weights_o,
    output logic                 shift_o
);
  localparam int unsigned ROW_W = $clog2(R);
  logic [7:0] slots[2**LOG_SLOTS][R][C]  /* verilator public_flat_rw */;
  logic [63:0] busy_cycles[1]  /* verilator public_flat_rw */;

  logic busy, windows, turned, turned_q;
  logic [11:0] left;  // cycles of this instruction
  logic [LOG_SLOTS-1:0] slot, slot_q, current, streamed;
  logic [ROW_W-1:0] row;  // that leaves in this cycle
  logic [11:0] fill_row, fill_col;
  logic [7:0] leaving[C];

  always_comb begin
    last_o   = busy && left == 1;
    accept_o = !busy || last_o;
  end

  function automatic void put(input logic [7:0] value);
    if (fill_col < cols_i)
      slots[LOG_SLOTS'(slot_i)][ROW_W'(fill_row)][$clog2(C)'(fill_col)] = value;
    fill_col = fill_col + 1'b1;
  endfunction

  function automatic void fill();
    automatic logic [7:0] value;
    if (first_i) begin
      fill_row = '0;
      fill_col = '0;
      for (int unsigned r = 0; r < R; r++)
        for (int unsigned c = 0; c < C; c++) slots[LOG_SLOTS'(slot_i)][r][c] = '0;
    end
    for (int unsigned n = 0; n < count_i; n++) begin
      value = dram_read(64'(dram_i) + 64'(n));
      if (nibbles_i) begin
        put({{4{value[3]}}, value[3:0]});
        put({{4{value[7]}}, value[7:4]});
      end else put(value);
      if (fill_col >= cols_i) begin
        fill_col = '0;
        fill_row = fill_row + 1'b1;
      end
    end
  endfunction

  // LUW: `slot_q` and `turned_q` are those of the row's issue.
  function automatic void take();
    if (number_i == 0)
      for (int unsigned r = 0; r < R; r++)
        for (int unsigned c = 0; c < C; c++) slots[slot_q][r][c] = '0;
    if (turned_q)
      for (int unsigned r = 0; r < R; r++)
        slots[slot_q][r][$clog2(C)'(number_i)] = window_row_i[8*r+:8];
    else
      for (int unsigned c = 0; c < C; c++)
        slots[slot_q][ROW_W'(number_i)][c] = window_row_i[8*c+:8];
  endfunction

  for (genvar c = 0; c < C; c++) begin : g_column
    assign weights_o[8*c+:8] = leaving[c];
  end

  always_ff @(posedge clk_i) begin
    if (fill_i && !reset_i) fill();
    if (window_i && !reset_i) take();
    if (OUTPUT_STATIONARY ? stream_i : busy) leaving <= slots[OUTPUT_STATIONARY ? current : slot][row];
    if (reset_i) begin
      busy <= 1'b0;
      shift_o <= 1'b0;
      busy_cycles[0] <= '0;
    end else begin
      shift_o <= busy && !windows;
      slot_q <= slot;
      turned_q <= turned;
      if (busy) left <= left - 1'b1;
      if (busy) busy_cycles[0] <= busy_cycles[0] + 64'd1;
      if (!OUTPUT_STATIONARY && busy) row <= row - 1'b1;
      if (OUTPUT_STATIONARY && stream_i) row <= row + 1'b1;
      if (OUTPUT_STATIONARY && mm_i) begin
        row <= '0;
        if (word_i[MM_SWAP_L]) current <= streamed;
      end
      if (last_o) busy <= 1'b0;
      if (send_i) begin
        busy <= 1'b1;
        windows <= word_i[3:0] == OP_LUW;
        turned <= word_i[LUW_TRANSPOSE_L];
        if (word_i[3:0] == OP_LUW) begin
          slot <= LOG_SLOTS'(word_i[LUW_SLOT_L+:LUW_SLOT_W]);
          left <= word_i[LUW_ROWS_L+:LUW_ROWS_W];
          if (word_i[LUW_TRANSPOSE_L]
              && word_i[LUW_COLS_L+:LUW_COLS_W] > word_i[LUW_ROWS_L+:LUW_ROWS_W])
            left <= word_i[LUW_COLS_L+:LUW_COLS_W];
        end else begin
          slot <= LOG_SLOTS'(word_i[LW_SLOT_L+:LW_SLOT_W]);
          streamed <= LOG_SLOTS'(word_i[LW_SLOT_L+:LW_SLOT_W]);
          left <= OUTPUT_STATIONARY ? 12'd1 : 12'(R);
          if (!OUTPUT_STATIONARY) row <= ROW_W'(R - 1);
        end
      end
    end
  end
endmodule
`default_nettype wire
