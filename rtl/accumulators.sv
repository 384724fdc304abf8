// The sums that leave the array, and RQ, which reads them: a row a cycle through C requantisers.
//
// A row that entered the array's edge in cycle t arrives R + C - 1 cycles later; its place waits
// as long in a ring; sums that drain follow it a row a cycle, the last row first. RQ reads a row in the cycle of its issue, requantises it in the next and has
// it written in the one after.
`default_nettype none
module accumulators
  import tpu_isa_pkg::*;
  import requantize_pkg::*;
  import dram_pkg::*;
#(
    parameter int unsigned R = 16,
    parameter int unsigned C = 16,
    parameter int unsigned LOG_ROWS = 6,
    parameter int unsigned LOG_ENTRIES = 8,
    parameter bit OUTPUT_STATIONARY = 1'b0
) (
    input  wire                  clk_i,
    input  wire                  reset_i,
    // from the array
    input  wire                  valid_i,
    input  wire  [15:0]          acc_i,
    input  wire  [15:0]          rows_i,  // that drain
    input  wire                  add_i,
    input  wire  [C*32-1:0]      sums_i,
    // CFG of a requantise row
    input  wire                  table_i,
    input  wire  [3:0]           index_i,
    input  wire  [26:0]          moved_i,
    input  wire  [39:0]          dram_i,
    input  wire  [31:0]          count_i,
    // RQ
    input  wire  [WORD_BITS-1:0] word_i,
    input  wire                  send_i,
    output logic                 accept_o,
    output logic                 last_o,
    output logic                 write_o,
    output logic [31:0]          ub_o,
    output logic [31:0]          count_o,
    output logic [C*32-1:0]      data_o
);
  localparam int unsigned LATENCY = R + C - 1;
  localparam int unsigned POINTER = $clog2(R + C);
  localparam int unsigned COLUMN_W = $clog2(C);
  localparam int unsigned ROW_WORDS = 2 ** (LOG_ENTRIES + 1) + HEADER_WORDS;

  logic [31:0] rows[2**LOG_ROWS][C]  /* verilator public_flat_rw */;
  logic [31:0] tables[REQUANTIZE_ROWS*ROW_WORDS];
  logic [63:0] busy_cycles[1]  /* verilator public_flat_rw */;

  logic [POINTER-1:0] now;
  logic arrives[2**POINTER], adds[2**POINTER];
  logic [15:0] places[2**POINTER], counts[2**POINTER];
  logic [15:0] drained, drain_place, drain_count;  // rows that are still to come

  logic busy, raw, read, read_raw;
  logic [15:0] left, acc;
  logic [1:0] part;
  logic [11:0] cols, read_cols;
  logic [3:0] index, read_index;
  logic [31:0] ub, read_ub;
  logic [31:0] sums[C], arriving[C];

  for (genvar c = 0; c < C; c++) begin : g_column
    assign arriving[c] = sums_i[32*c+:32];
  end

  always_comb begin
    last_o   = busy && left == 1 && (!raw || part == 3);
    accept_o = !busy || last_o;
  end

  function automatic int unsigned entry(input logic [3:0] row, input int unsigned word);
    return 32'(row) * ROW_WORDS + word;
  endfunction

  function automatic void clear();
    for (int unsigned n = 0; n < 2 ** POINTER; n++) arrives[n] = 1'b0;
    drained = '0;
  endfunction

  function automatic void arrive();
    automatic logic [POINTER-1:0] then = now - POINTER'(LATENCY);
    automatic logic [LOG_ROWS-1:0] place;
    arrives[now] = valid_i;
    adds[now] = add_i;
    places[now] = acc_i;
    counts[now] = rows_i;
    if (OUTPUT_STATIONARY) begin
      if (arrives[then]) begin
        drained = 16'(R);
        drain_place = places[then];
        drain_count = counts[then];
      end
      if (drained != 0) begin
        drained = drained - 1'b1;
        if (drained < drain_count)
          for (int unsigned c = 0; c < C; c++)
            rows[LOG_ROWS'(drain_place+drained)][c] = arriving[c];
      end
    end else if (arrives[then]) begin
      place = LOG_ROWS'(places[then]);
      if (adds[then]) begin
        for (int unsigned c = 0; c < C; c++)
          rows[place][c] = rows[place][c] + arriving[c];
      end else for (int unsigned c = 0; c < C; c++) rows[place][c] = arriving[c];
    end
  endfunction

  function automatic void configure();
    automatic int unsigned at;
    for (int unsigned n = 0; n < count_i; n++) begin
      at = 32'(moved_i) + n;
      if (at < 4 * ROW_WORDS)
        tables[entry(index_i, at>>2)][8*(at&3)+:8] = dram_read(64'(dram_i) + 64'(n));
    end
  endfunction

  function automatic logic [C*32-1:0] results();
    automatic logic signed [31:0] total;
    automatic logic signed [15:0] zero, low, high;
    automatic int unsigned at;
    {low, zero} = tables[entry(read_index, 1)];
    high = tables[entry(read_index, 2)][15:0];
    results = '0;
    for (int unsigned c = 0; c < 32'(read_cols); c++) begin
      at = entry(read_index, HEADER_WORDS + 2 * c);
      total = signed'(sums[COLUMN_W'(c)] + tables[at]);
      if (read_raw) results[32*COLUMN_W'(c)+:32] = total;
      else
        results[8*COLUMN_W'(c)+:8] = 8'(requantized(total, tables[at+1], zero, low, high));
    end
  endfunction

  always_ff @(posedge clk_i) begin
    if (busy) sums <= rows[LOG_ROWS'(acc)];
    if (read) data_o <= results();
    if (!reset_i) arrive();
    if (table_i && !reset_i) configure();
    now <= now + 1'b1;
    read <= busy && (!raw || part == 3);
    read_raw <= raw;
    read_cols <= cols;
    read_index <= index;
    read_ub <= ub;
    write_o <= read;
    ub_o <= read_ub;
    count_o <= read_raw ? 32'(read_cols) << 2 : 32'(read_cols);
    if (busy) begin
      busy_cycles[0] <= busy_cycles[0] + 64'd1;
      part <= part + 1'b1;
      if (!raw || part == 3) begin
        left <= left - 1'b1;
        acc <= acc + 1'b1;
        ub <= ub + tables[entry(index, 0)];
      end
    end
    if (last_o) busy <= 1'b0;
    if (send_i) begin
      busy <= 1'b1;
      part <= '0;
      left <= word_i[RQ_LEN_L+:RQ_LEN_W];
      acc <= word_i[RQ_ACC_L+:RQ_ACC_W];
      cols <= word_i[RQ_COLS_L+:RQ_COLS_W];
      index <= word_i[RQ_TABLE_L+:RQ_TABLE_W];
      ub <= word_i[RQ_UB_L+:RQ_UB_W];
      raw <= word_i[RQ_RAW_L];
    end
    if (reset_i) begin
      busy <= 1'b0;
      read <= 1'b0;
      write_o <= 1'b0;
      busy_cycles[0] <= '0;
      clear();
    end
  end
endmodule
`default_nettype wire
