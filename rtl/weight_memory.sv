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
    parameter bit OUTPUT_STATIONARY = 1'b0
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
    output logic [C*8-1:0]       weights_o,
    output logic                 shift_o
);
  localparam int unsigned ROW_W = $clog2(R);
  logic [7:0] slots[2**LOG_SLOTS][R][C]  /* verilator public_flat_rw */;
  logic [63:0] busy_cycles[1]  /* verilator public_flat_rw */;

  logic busy;
  logic [LOG_SLOTS-1:0] slot, current;
  logic [ROW_W-1:0] row;  // that leaves in this cycle
  logic [11:0] fill_row, fill_col;

  always_comb begin
    last_o   = busy && (OUTPUT_STATIONARY || row == 0);
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

  function automatic logic [C*8-1:0] leaving();
    /* verilator unroll_full */
    for (int unsigned c = 0; c < C; c++) leaving[8*c+:8] = slots[OUTPUT_STATIONARY ? current : slot][row][c];
  endfunction

  always_ff @(posedge clk_i) begin
    if (fill_i) fill();
    if (OUTPUT_STATIONARY ? stream_i : busy) weights_o <= leaving();
    if (reset_i) begin
      busy <= 1'b0;
      shift_o <= 1'b0;
      busy_cycles[0] <= '0;
    end else begin
      shift_o <= busy;
      if (busy) busy_cycles[0] <= busy_cycles[0] + 64'd1;
      if (!OUTPUT_STATIONARY && busy) row <= row - 1'b1;
      if (OUTPUT_STATIONARY && stream_i) row <= row + 1'b1;
      if (OUTPUT_STATIONARY && mm_i) begin
        row <= '0;
        if (word_i[MM_SWAP_L]) current <= slot;
      end
      if (last_o) busy <= 1'b0;
      if (send_i) begin
        busy <= 1'b1;
        slot <= LOG_SLOTS'(word_i[LW_SLOT_L+:LW_SLOT_W]);
        if (!OUTPUT_STATIONARY) row <= ROW_W'(R - 1);
      end
    end
  end
endmodule
`default_nettype wire
