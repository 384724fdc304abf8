// The transfers' clock: one at a time, `bytes x cycles per byte` cycles each, rounded up.
//
// Cycles per byte is the fraction cost / pay of the link: a transfer owes bytes x cost and pays
// `pay` a cycle, which is exact. Its bytes move `beat` a cycle from the first one, so all have
// moved when it has paid; its latency only delays when others may rely on them.
`default_nettype none
module dma
  import tpu_isa_pkg::*;
#(
    parameter int unsigned CYCLE_W = 40
) (
    input  wire                  clk_i,
    input  wire                  reset_i,
    input  wire  [WORD_BITS-1:0] word_i,
    input  wire  [NAMED_BITS-1:0] named_i,
    input  wire                  send_i,
    output logic                 accept_o,
    output logic                 last_o,
    output logic [CYCLE_W-1:0]   latency_o,
    output logic                 load_o,    // DRAM to the unified buffer
    output logic                 store_o,   // and back
    output logic                 tile_o,    // to the weight memory
    output logic                 first_o,   // of a transfer's beats
    output logic                 table_o,   // to a table
    output logic [39:0]          dram_o,
    output logic [31:0]          ub_o,
    output logic [31:0]          count_o,   // bytes of this beat
    output logic [26:0]          moved_o,   // before it
    output logic [15:0]          entry_o,   // slot, or kind and index of a table
    output logic [11:0]          cols_o,
    output logic                 nibbles_o,  // int4, two a byte
    // a gather's next index, there in the next cycle
    output logic                 index_read_o,
    output logic                 index_wide_o,
    output logic [31:0]          index_at_o,
    input  wire  [63:0]          index_i
);
  // for DRAM, then for the host: cost, pay, latency in cycles, beat in bytes
  logic [63:0] links[8]  /* verilator public_flat_rw */;
  logic [63:0] busy_cycles[1]  /* verilator public_flat_rw */;

  logic [63:0] link[8];  // the same since reset: what is written from outside feeds no logic
  logic busy, host;
  logic [3:0] opcode;
  logic [63:0] owed;
  logic [31:0] left;
  logic [31:0] bytes;
  logic to_host;
  logic [39:0] dram;
  // a gather: a row of its table after the other
  logic gathers, fresh, wide, paid, begins;
  logic [63:0] row_bytes;
  logic [31:0] rows_left, index_at;
  logic [39:0] first_row;
  logic signed [63:0] last_row, index;

  always_comb begin
    to_host = 1'b0;
    case (word_i[3:0])
      OP_LDW:
      bytes = 32'(word_i[LDW_ROWS_L+:LDW_ROWS_W])
          * (word_i[LDW_FMT_L+:LDW_FMT_W] == 3'd2
             ? (32'(word_i[LDW_COLS_L+:LDW_COLS_W]) + 32'd1) >> 1
             : 32'(word_i[LDW_COLS_L+:LDW_COLS_W]));
      OP_CFG: bytes = 32'(word_i[CFG_BYTES_L+:CFG_BYTES_W]);
      OP_GTH: bytes = named_i[64*G_ROW_BYTES+:32];
      default: begin
        bytes   = 32'(word_i[LDA_BYTES_L+:LDA_BYTES_W]);
        to_host = word_i[LDA_HOST_L];
      end
    endcase
    paid = busy && owed <= link[{host, 2'd1}];
    last_o = paid && (!gathers || rows_left == 1);
    index = signed'(index_i) < 0 ? signed'(index_i) + last_row + 1 : signed'(index_i);
    if (index < 0) index = '0;
    if (index > last_row) index = last_row;
    dram_o = gathers && fresh ? first_row + 40'(unsigned'(index) * row_bytes) : dram;
    accept_o = !busy || last_o;
    latency_o = CYCLE_W'(link[{host, 2'd2}]);
    count_o = left < 32'(link[{host, 2'd3}]) ? left : 32'(link[{host, 2'd3}]);
    load_o = busy && (opcode == OP_LDA || gathers);
    store_o = busy && opcode == OP_ST;
    tile_o = busy && opcode == OP_LDW;
    table_o = busy && opcode == OP_CFG;
  end

  always_comb begin
    begins = send_i && word_i[3:0] == OP_GTH;
    index_read_o = begins || (paid && gathers);
    index_wide_o = begins ? named_i[64*G_WIDE] : wide;
    index_at_o = begins ? named_i[64*G_INDICES+:32] : index_at;
  end

  always_ff @(posedge clk_i)
    if (reset_i) begin
      link <= links;
      busy <= 1'b0;
      busy_cycles[0] <= '0;
    end else begin
      if (busy) begin
        busy_cycles[0] <= busy_cycles[0] + 64'd1;
        owed <= owed - link[{host, 2'd1}];
        left <= left - count_o;
        dram <= dram_o + 40'(count_o);
        ub_o <= ub_o + count_o;
        moved_o <= moved_o + 27'(count_o);
        first_o <= 1'b0;
        fresh <= 1'b0;
        if (paid && gathers) begin
          owed <= row_bytes * link[0];
          left <= 32'(row_bytes);
          rows_left <= rows_left - 1'b1;
          fresh <= 1'b1;
        end
      end
      if (index_read_o) index_at <= index_at_o + (index_wide_o ? 32'd8 : 32'd4);
      if (last_o) busy <= 1'b0;
      if (send_i) begin
        busy <= 1'b1;
        opcode <= word_i[3:0];
        host <= to_host;
        owed <= 64'(bytes) * link[{to_host, 2'd0}];
        left <= bytes;
        dram <= word_i[LDA_DRAM_L+:LDA_DRAM_W];
        ub_o <= begins ? named_i[64*G_UB+:32] : word_i[LDA_UB_L+:LDA_UB_W];
        gathers <= begins;
        fresh <= 1'b1;
        wide <= named_i[64*G_WIDE];
        row_bytes <= named_i[64*G_ROW_BYTES+:64];
        rows_left <= named_i[64*G_COUNT+:32];
        first_row <= named_i[64*G_DRAM+:40];
        last_row <= named_i[64*G_ROWS+:64] - 64'd1;
        moved_o <= '0;
        first_o <= 1'b1;
        cols_o <= word_i[LDW_COLS_L+:LDW_COLS_W];
        nibbles_o <= word_i[LDW_FMT_L+:LDW_FMT_W] == 3'd2;
        entry_o <= word_i[3:0] == OP_CFG
            ? 16'({word_i[CFG_KIND_L+:CFG_KIND_W], word_i[CFG_INDEX_L+:CFG_INDEX_W]})
            : word_i[LDW_SLOT_L+:LDW_SLOT_W];
      end
    end
endmodule
`default_nettype wire
