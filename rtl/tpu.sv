// The systolic machine: dispatcher, five engines, the memories between them and the array.
`default_nettype none
module tpu
  import tpu_isa_pkg::*;
#(
    parameter int unsigned R = 16,
    parameter int unsigned C = 16,
    parameter int unsigned LANES = 16,
    parameter int unsigned LOG_WORDS = 12,
    parameter int unsigned LOG_NAMED = 2,
    parameter int unsigned LOG_PLACES = 2,
    parameter int unsigned LOG_MARKS = 10,
    parameter int unsigned LOG_BYTES = 16,
    parameter int unsigned LOG_SLOTS = 2,
    parameter int unsigned LOG_ROWS = 6,
    parameter int unsigned LOG_ENTRIES = 8,
    parameter int unsigned LOG_LATENCY = 10,
    parameter bit OUTPUT_STATIONARY = 1'b0
) (
    input  wire  clk_i,
    input  wire  reset_i,
    output logic done_o  // at the end, and in a cycle that asks for a routine
);
  localparam int unsigned CYCLE_W = 40, COUNT_W = 20;

  logic [WORD_BITS-1:0] word;
  logic [NAMED_BITS-1:0] named;
  logic ended, request, stop, dispatched;
  logic [31:0] number;
  logic [ENGINES-1:0] accept, send, last;
  logic [ENGINES-1:0][COUNT_W-1:0] outstanding;
  logic [ENGINES-1:0][CYCLE_W-1:0] latency;
  logic [CYCLE_W-1:0] cycle;
  logic [CYCLE_W-1:0] transfer_latency;
  logic known;

  logic index_read, index_wide, window;
  logic [31:0] index_at;
  logic [63:0] gather_index;
  logic [15:0] window_number;
  logic [(R > C ? R : C)*8-1:0] window_row;

  logic load, store, tile, first, entry, to_row, to_descriptor, nibbles;
  logic [39:0] dram;
  logic [31:0] transfer_ub, transfer_count;
  logic [26:0] moved;
  logic [15:0] slot;
  logic [11:0] tile_cols;
  logic [DESCRIPTORS*32*32-1:0] held;

  logic [R*9-1:0] row;
  logic [C*8-1:0] weights;
  logic [C*32-1:0] sums, results;
  // one of the two arrays takes swap and shift, the other begins
  /* verilator lint_off UNUSEDSIGNAL */
  logic swap, shift, begins;
  /* verilator lint_on UNUSEDSIGNAL */
  logic valid, add, write, streams, drains;
  logic [15:0] acc, drained_rows;
  logic [31:0] result_ub, result_count;

  logic read, look, vector_write, looked;
  logic [31:0] a_at, b_at, w_at, table_at, vector_ub, vector_count;
  logic [LANES*8-1:0] a, b, w, index, vector_data;

  // This configuration multiplies int8 on one array.
  always_comb
    case (word[3:0])
      OP_LDW:
      known = (word[LDW_FMT_L+:LDW_FMT_W] == 3'd0 || word[LDW_FMT_L+:LDW_FMT_W] == 3'd2)
          && !word[LDW_SPARSE_L];
      OP_MM: known = word[MM_FMT_L+:MM_FMT_W] == 3'd0;
      OP_RQ: known = word[RQ_FMT_L+:RQ_FMT_W] == 3'd0 && !word[RQ_TRANSPOSED_L];
      OP_LUW: known = word[LUW_FMT_L+:LUW_FMT_W] == 3'd0;
      default: known = 1'b1;
    endcase

  always_comb begin
    latency[ENGINE_LW] = '0;
    latency[ENGINE_MM] = !OUTPUT_STATIONARY ? CYCLE_W'(R + C)
        : drains ? CYCLE_W'(32'(2 * R + C - 1)) : '0;
    latency[ENGINE_RQ] = CYCLE_W'(2);
    latency[ENGINE_VE] = CYCLE_W'(2);
    latency[ENGINE_DMA] = transfer_latency;
    done_o = ended || request || stop;
    to_row = entry && slot[8];
    to_descriptor = entry && !slot[8];
  end

  dispatcher #(
      .LOG_WORDS(LOG_WORDS),
      .LOG_NAMED(LOG_NAMED),
      .LOG_MARKS(LOG_MARKS),
      .CYCLE_W(CYCLE_W),
      .COUNT_W(COUNT_W)
  ) dispatcher (
      .clk_i,
      .reset_i,
      .accept_i(accept),
      .outstanding_i(outstanding),
      .known_i(known),
      .word_o(word),
      .number_o(number),
      .dispatched_o(dispatched),
      .named_o(named),
      .send_o(send),
      .cycle_o(cycle),
      .done_o(ended)
  );

  for (genvar e = 0; e < ENGINES; e++) begin : g_engine
    retirement #(
        .LOG_DEPTH(LOG_LATENCY),
        .CYCLE_W(CYCLE_W),
        .COUNT_W(COUNT_W)
    ) retirement (
        .clk_i,
        .reset_i,
        .cycle_i(cycle),
        .sent_i(send[e]),
        .last_i(last[e]),
        .latency_i(latency[e]),
        .outstanding_o(outstanding[e])
    );
  end

  retire_trace #(
      .LOG_WORDS(LOG_WORDS),
      .CYCLE_W(CYCLE_W),
      .COUNT_W(COUNT_W)
  ) retire_trace (
      .clk_i,
      .reset_i,
      .cycle_i(cycle),
      .sent_i(send),
      .outstanding_i(outstanding)
  );

  error_register #(
      .R(R),
      .C(C),
      .LOG_FLIGHTS(LOG_LATENCY),
      .LOG_PLACES(LOG_PLACES),
      .LOG_SLOTS(LOG_SLOTS),
      .COUNT_W(COUNT_W),
      .OUTPUT_STATIONARY(OUTPUT_STATIONARY)
  ) error_register (
      .clk_i,
      .reset_i,
      .dispatched_i(dispatched),
      .number_i(number),
      .word_i(word),
      .named_i(named),
      .outstanding_i(outstanding),
      .descriptors_i(held),
      .table_i(to_row),
      .index_i(slot[3:0]),
      .moved_i(moved),
      .dram_i(dram),
      .count_i(transfer_count),
      .stop_o(stop)
  );

  dma #(
      .CYCLE_W(CYCLE_W)
  ) dma (
      .clk_i,
      .reset_i,
      .word_i(word),
      .named_i(named),
      .send_i(send[ENGINE_DMA]),
      .accept_o(accept[ENGINE_DMA]),
      .last_o(last[ENGINE_DMA]),
      .latency_o(transfer_latency),
      .load_o(load),
      .store_o(store),
      .tile_o(tile),
      .first_o(first),
      .table_o(entry),
      .dram_o(dram),
      .ub_o(transfer_ub),
      .count_o(transfer_count),
      .moved_o(moved),
      .entry_o(slot),
      .cols_o(tile_cols),
      .nibbles_o(nibbles),
      .index_read_o(index_read),
      .index_wide_o(index_wide),
      .index_at_o(index_at),
      .index_i(gather_index)
  );

  descriptors descriptors (
      .clk_i,
      .reset_i,
      .table_i(to_descriptor),
      .index_i(slot[3:0]),
      .moved_i(moved),
      .dram_i(dram),
      .count_i(transfer_count),
      .descriptors_o(held)
  );

  weight_memory #(
      .R(R),
      .C(C),
      .LOG_SLOTS(LOG_SLOTS),
      .OUTPUT_STATIONARY(OUTPUT_STATIONARY)
  ) weight_memory (
      .clk_i,
      .reset_i,
      .word_i(word),
      .send_i(send[ENGINE_LW]),
      .accept_o(accept[ENGINE_LW]),
      .last_o(last[ENGINE_LW]),
      .stream_i(streams),
      .mm_i(send[ENGINE_MM]),
      .fill_i(tile),
      .first_i(first),
      .dram_i(dram),
      .count_i(transfer_count),
      .slot_i(slot),
      .cols_i(tile_cols),
      .nibbles_i(nibbles),
      .window_i(window),
      .number_i(window_number),
      .window_row_i(window_row),
      .weights_o(weights),
      .shift_o(shift)
  );

  unified_buffer #(
      .R(R),
      .C(C),
      .LANES(LANES),
      .LOG_BYTES(LOG_BYTES),
      .OUTPUT_STATIONARY(OUTPUT_STATIONARY)
  ) unified_buffer (
      .clk_i,
      .reset_i,
      .descriptors_i(held),
      .word_i(word),
      .send_i(send[ENGINE_MM]),
      .accept_o(accept[ENGINE_MM]),
      .last_o(last[ENGINE_MM]),
      .row_o(row),
      .busy_o(streams),
      .drains_o(drains),
      .swap_o(swap),
      .first_o(begins),
      .valid_o(valid),
      .acc_o(acc),
      .rows_o(drained_rows),
      .add_o(add),
      .fill_i(send[ENGINE_LW] && word[3:0] == OP_LUW),
      .fill_valid_o(window),
      .fill_number_o(window_number),
      .fill_row_o(window_row),
      .index_read_i(index_read),
      .index_wide_i(index_wide),
      .index_at_i(index_at),
      .gather_index_o(gather_index),
      .load_i(load),
      .store_i(store),
      .dram_i(dram),
      .ub_i(transfer_ub),
      .count_i(transfer_count),
      .read_i(read),
      .a_i(a_at),
      .b_i(b_at),
      .w_i(w_at),
      .a_o(a),
      .b_o(b),
      .w_o(w),
      .look_i(look),
      .table_i(table_at),
      .index_i(index),
      .vector_write_i(vector_write),
      .looked_i(looked),
      .vector_ub_i(vector_ub),
      .vector_count_i(vector_count),
      .vector_data_i(vector_data),
      .write_i(write),
      .write_ub_i(result_ub),
      .write_count_i(result_count),
      .write_data_i(results)
  );

  if (OUTPUT_STATIONARY) begin : g_output_stationary
    sa_os #(
        .R(R),
        .C(C)
    ) array (
        .clk_i,
        .taps_i(row),
        .weights_i(weights),
        .first_i(begins),
        .drain_i(valid),
        .sums_o(sums)
    );
  end else begin : g_weight_stationary
    sa_ws #(
        .R(R),
        .C(C)
    ) array (
        .clk_i,
        .row_i(row),
        .swap_i(swap),
        .weights_i(weights),
        .shift_i(shift),
        .sums_o(sums)
    );
  end

  accumulators #(
      .R(R),
      .C(C),
      .LOG_ROWS(LOG_ROWS),
      .LOG_ENTRIES(LOG_ENTRIES),
      .OUTPUT_STATIONARY(OUTPUT_STATIONARY)
  ) accumulators (
      .clk_i,
      .reset_i,
      .valid_i(valid),
      .acc_i(acc),
      .rows_i(drained_rows),
      .add_i(add),
      .sums_i(sums),
      .table_i(to_row),
      .index_i(slot[3:0]),
      .moved_i(moved),
      .dram_i(dram),
      .count_i(transfer_count),
      .word_i(word),
      .send_i(send[ENGINE_RQ]),
      .accept_o(accept[ENGINE_RQ]),
      .last_o(last[ENGINE_RQ]),
      .write_o(write),
      .ub_o(result_ub),
      .count_o(result_count),
      .data_o(results)
  );

  vector_unit #(
      .LANES(LANES),
      .LOG_ENTRIES(LOG_ENTRIES)
  ) vector_unit (
      .clk_i,
      .reset_i,
      .descriptors_i(held),
      .table_i(to_row),
      .index_i(slot[3:0]),
      .moved_i(moved),
      .dram_i(dram),
      .count_i(transfer_count),
      .word_i(word),
      .named_i(named),
      .send_i(send[ENGINE_VE]),
      .accept_o(accept[ENGINE_VE]),
      .last_o(last[ENGINE_VE]),
      .request_o(request),
      .read_o(read),
      .a_o(a_at),
      .b_o(b_at),
      .w_o(w_at),
      .a_i(a),
      .b_i(b),
      .w_i(w),
      .look_o(look),
      .table_o(table_at),
      .index_o(index),
      .write_o(vector_write),
      .looked_o(looked),
      .ub_o(vector_ub),
      .count_o(vector_count),
      .data_o(vector_data)
  );
endmodule
`default_nettype wire
